"""A small task whose answer is known: texts in which a word or more gives the label away."""

import numpy as np

from sentiment.config import Config
from sentiment.data.corpus import Corpus, EncodedSplit

WORDS = ("the", "film", "good", "bad", "plot", "fine", "poor", "was")
GOOD, BAD = (2, 5), (3, 6)


def split_of(count, seed, classes=2):
    """Texts of random words among which one or more give the label away."""
    random = np.random.default_rng(seed)
    tokens, labels = [], []
    for index in range(count):
        label = index % classes
        text = random.choice([0, 1, 4, 7, -1], size=random.integers(1, 14)).tolist()
        telling = (BAD, GOOD, (4, 4))[label]
        text.insert(int(random.integers(0, len(text) + 1)), int(random.choice(telling)))
        tokens.append(text)
        labels.append(label)
    return EncodedSplit(
        np.array([rank for text in tokens for rank in text], dtype=np.int32),
        np.cumsum([0, *map(len, tokens)]).astype(np.int64),
        np.array(labels, dtype=np.int64),
    )


def corpus_of(classes=2):
    names = ("neg", "pos", "other")[:classes]
    splits = {"train": split_of(300, 1, classes), "valid": split_of(90, 2, classes)}
    return Corpus(WORDS, np.arange(80, 0, -10), splits, names, "toy", "0" * 64)


def config_of(**settings):
    return Config.from_flat(
        {
            "embedding": "random",
            "embedding_dim": 6,
            "hidden_dim": 8,
            "dropout": 0.1,
            "epochs": 4,
            "batch_size": 16,
            "learning_rate": 0.02,
            "evaluations_per_epoch": 1,
            "precision": "float32",
            **settings,
        }
    )
