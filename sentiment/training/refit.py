"""The refit: settings that were chosen, trained once more on train and validation together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sentiment.config import Config
from sentiment.data.corpus import Corpus, EncodedSplit, text_key
from sentiment.embeddings.sources import VectorSpec
from sentiment.ngrams.blend import Blend
from sentiment.ngrams.fit import Regularization, load_ngrams, ngram_key
from sentiment.training.prepared_data import PreparedData
from sentiment.training.trainer import BLEND, PRIOR, STRENGTH


def refit_config(config: Config, best_examples: int, train_size: int) -> Config:
    """Return the settings of a refit: as many passes over the texts as were best, or more.

    Under a cosine schedule a training that ends early learns less than another had learnt up to
    there: it takes as many passes as add up to the same learning rates.

    Args:
        config: of the model that was chosen.
        best_examples: training examples that its best checkpoint had seen.
        train_size: texts of its train split.
    """
    epochs = best_examples / train_size
    if config.training.schedule == "cosine":
        # The same sum of learning rates: over the best part of the first training they were high,
        # those of a training that ends there fall to zero.
        share = min(1.0, epochs / config.training.epochs)
        epochs += config.training.epochs * math.sin(math.pi * share) / math.pi
    return config.replace(epochs=epochs, evaluations_per_epoch=1, early_evaluations=0)


def refit_data(
    prepared: PreparedData,
    chosen: Sequence[tuple[Config, Mapping[str, Any]]],
    progress: Callable[[str], None] | None = None,
) -> PreparedData:
    """Return the data of refits: train holds the texts of validation too, which is left out.

    Vocabulary, word vectors and pretrained layers stay those of train. The n-gram branch is counted
    and trained anew, with the regularization and the blend that validation chose.

    Args:
        prepared: data that the models were chosen on.
        chosen: the settings of each refit, and the metadata of the bundle that was chosen.
        progress: receives a line when work begins.
    """
    corpora: dict[str, Corpus] = {}
    vectors, ngrams, blends = {}, {}, {}
    for config, metadata in chosen:
        key = text_key(config.text)
        if key not in corpora:
            corpora[key] = _whole(prepared.corpora[key])
        of_model = key, VectorSpec.of_config(config)
        vectors[of_model] = prepared.vectors[of_model]
        branch = ngram_key(config)
        if branch is not None:
            # A model of an earlier version was pulled to the whole of naive Bayes.
            held = Regularization(float(metadata[STRENGTH]), float(metadata.get(PRIOR, 1.0)))
            ngrams[branch] = load_ngrams(corpora[key], config, progress, held)
            blends[config.fingerprint] = Blend(*metadata[BLEND])
    return replace(prepared, corpora=corpora, vectors=vectors, ngrams=ngrams, blends=blends)


def _whole(corpus: Corpus) -> Corpus:
    """Return a corpus whose train split holds validation too."""
    splits = {name: split for name, split in corpus.splits.items() if name != "valid"}
    splits["train"] = joined(corpus.splits["train"], corpus.splits["valid"])
    return replace(corpus, splits=splits)


def joined(first: EncodedSplit, second: EncodedSplit) -> EncodedSplit:
    """Return the texts of two splits, one after the other."""
    return EncodedSplit(
        np.concatenate([first.tokens, second.tokens]),
        np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
        np.concatenate([first.labels, second.labels]),
        None
        if first.groups is None or second.groups is None
        else np.concatenate([first.groups, second.groups]),
    )
