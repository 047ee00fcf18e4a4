"""A saved model with random weights whose words, and n-grams, are those of given texts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from sentiment.config import Config
from sentiment.data.tokenizer import tokenizer
from sentiment.data.vocabulary import SPECIALS, Vocabulary
from sentiment.inference.bundle import Bundle
from sentiment.ngrams.model import NgramModel
from sentiment.ngrams.table import count_ngrams
from sentiment.nn.classifier import Classifier


def toy_bundle(
    texts: list[str], classes: int = 2, words: int = 500, ngrams: int = 0, **settings: object
) -> Bundle:
    """Make a model that knows the commonest words of texts; the others are `<unk>`."""
    torch.manual_seed(5)
    config = Config.from_flat({"hidden_dim": 7, "ngrams": ngrams, **settings})
    split = tokenizer(config.text)
    counts = Counter(token for text in texts for token in split(text))
    known = [word for word, _ in counts.most_common(words) if word not in SPECIALS]
    vocabulary = Vocabulary((*SPECIALS, *known))
    matrix = torch.randn(len(vocabulary), 6)
    model = Classifier(config.model, len(vocabulary), 6, classes, matrix)
    with torch.no_grad():
        for parameter in [*model.recurrent.parameters(), *model.head.parameters()]:
            parameter *= 2
    labels = ("neg", "pos", "neutral", "mixed")[:classes]
    bundle = Bundle(config, vocabulary, labels, dict(model.state_dict()), {"dataset": "toy"})
    if ngrams:
        encoded = bundle.encode([split(text) for text in texts])
        table, _ = count_ngrams(encoded, ngrams, 1, vocabulary.size)
        random, outputs = np.random.default_rng(5), model.head.out_features
        weights = random.normal(size=(len(table), outputs)).astype(np.float32)
        branch = NgramModel(table, weights, random.normal(size=outputs).astype(np.float32))
        bundle.weights |= branch.tensors()
    return bundle
