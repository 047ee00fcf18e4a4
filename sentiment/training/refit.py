"""The refit: settings that were chosen, trained once more on train and validation together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """Return the settings of a refit: as many passes over the texts as were best.

    Args:
        config: of the model that was chosen.
        best_examples: training examples that its best checkpoint had seen.
        train_size: texts of its train split.
    """
    return config.replace(
        epochs=best_examples / train_size, evaluations_per_epoch=1, early_evaluations=0
    )


def refit_data(
    prepared: PreparedData,
    config: Config,
    metadata: Mapping[str, Any],
    progress: Callable[[str], None] | None = None,
) -> PreparedData:
    """Return the data of a refit: train holds the texts of validation too, which is left out.

    Vocabulary and word vectors stay those of train. The n-gram branch is counted and trained anew,
    with the regularization and the blend that validation chose.

    Args:
        prepared: data that the model was chosen on.
        config: of the model.
        metadata: of its bundle.
        progress: receives a line when work begins.
    """
    key = text_key(config.text)
    corpus = prepared.corpora[key]
    splits = {name: split for name, split in corpus.splits.items() if name != "valid"}
    splits["train"] = joined(corpus.splits["train"], corpus.splits["valid"])
    whole: Corpus = replace(corpus, splits=splits)
    vectors = key, VectorSpec.of(config.model)
    branch, ngrams = ngram_key(config), {}
    if branch is not None:
        # A model of an earlier version was pulled to the whole of naive Bayes.
        chosen = Regularization(float(metadata[STRENGTH]), float(metadata.get(PRIOR, 1.0)))
        fitted = load_ngrams(whole, config, progress, chosen)
        ngrams[branch] = replace(fitted, blend=Blend(*metadata[BLEND]))
    return PreparedData(
        prepared.dataset, {key: whole}, {vectors: prepared.vectors[vectors]}, ngrams=ngrams
    )


def joined(first: EncodedSplit, second: EncodedSplit) -> EncodedSplit:
    """Return the texts of two splits, one after the other."""
    return EncodedSplit(
        np.concatenate([first.tokens, second.tokens]),
        np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
        np.concatenate([first.labels, second.labels]),
    )
