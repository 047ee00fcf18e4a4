"""A linear model over the n-grams that a text holds.

Shapes: n texts, G n-grams, K outputs: 1 for two classes under one logit, else one a class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from sentiment.data.corpus import EncodedSplit
from sentiment.ngrams.table import NgramTable

PREFIX = "ngrams."
"""Start of the names of the branch's tensors among a saved model's weights."""


@dataclass(frozen=True)
class NgramModel:
    """Weights of n-grams; they read the whole text, whatever the RNN's maximum length.

    Attributes:
        table: the n-grams.
        weights: float32 (G, K), what an n-gram adds to the logits before the division by the
            square root of the number of the text's n-grams.
        bias: float32 (K,).
    """

    table: NgramTable
    weights: np.ndarray
    bias: np.ndarray

    def logits(self, split: EncodedSplit) -> np.ndarray:
        """Return float32 logits (n, K); a text's do not depend on the others."""
        return self.logits_of(self.table.features(split))

    def logits_of(self, features: sparse.csr_array) -> np.ndarray:
        """Return float32 logits (n, K) of texts by their features, see `NgramTable.features`."""
        total = features @ self._exact_weights
        return (total / root_counts(features)[:, None] + self.bias).astype(np.float32)

    @cached_property
    def _exact_weights(self) -> np.ndarray:
        """The weights in float64: a copy for each text would take as long as its look-ups."""
        return self.weights.astype(np.float64)

    def scaled(self, factor: float) -> NgramModel:
        """Return the model whose logits are `factor` times as large."""
        factor32 = np.float32(factor)
        return replace(self, weights=self.weights * factor32, bias=self.bias * factor32)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the model under the names that it has among a saved model's weights."""
        keys = {f"{PREFIX}keys.{n}": each for n, each in enumerate(self.table.keys, start=1)}
        arrays = {**keys, f"{PREFIX}weight": self.weights, f"{PREFIX}bias": self.bias}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, torch.Tensor], longest: int, vocabulary_size: int, outputs: int
    ) -> NgramModel:
        """Read what `tensors` gave, and check that its parts fit each other.

        Args:
            tensors: those of the branch alone.
            longest: words of the longest n-grams.
            vocabulary_size: words of the vocabulary.
            outputs: K.

        Raises:
            ValueError: a tensor is missing, too many, or does not fit the others.
        """
        names = [*(f"{PREFIX}keys.{n}" for n in range(1, longest + 1)), f"{PREFIX}weight"]
        names.append(f"{PREFIX}bias")
        for name in (*names, *tensors):
            if name not in tensors or name not in names:
                what = "is missing" if name in names else "belongs to no n-gram branch of its size"
                raise ValueError(f"{name} {what}")
        keys = [tensors[name].numpy() for name in names[:longest]]
        before = 1
        for name, each in zip(names, keys, strict=False):
            if each.dtype != np.int64 or each.ndim != 1:
                raise ValueError(f"{name} is not a list of 64-bit keys")
            if len(each) and (
                each[0] < 0 or each[-1] >= before * vocabulary_size or (np.diff(each) <= 0).any()
            ):
                raise ValueError(f"{name} holds keys out of order or out of range")
            before = len(each)
        table = NgramTable(vocabulary_size, tuple(keys))
        weights, bias = tensors[f"{PREFIX}weight"], tensors[f"{PREFIX}bias"]
        for name, value, shape in (
            (f"{PREFIX}weight", weights, (len(table), outputs)),
            (f"{PREFIX}bias", bias, (outputs,)),
        ):
            if value.dtype != torch.float32 or tuple(value.shape) != shape:
                raise ValueError(f"{name} is not of shape {shape} in float32")
        return cls(table, weights.numpy(), bias.numpy())


def root_counts(features: sparse.csr_array) -> np.ndarray:
    """Return the square root of the number of n-grams of each text (n,); 1 where it has none."""
    return np.sqrt(np.maximum(np.diff(features.indptr), 1))
