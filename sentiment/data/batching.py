"""Batches of like lengths, in packed order, made by array operations alone.

Shapes: B texts of a batch, N tokens of theirs, n texts of a split.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sentiment.config import TextConfig
from sentiment.data.corpus import EncodedSplit
from sentiment.data.packed_layout import PackedLayout
from sentiment.data.vocabulary import SPECIALS, UNK_ID

FIRST_WORD_ID = len(SPECIALS)
POOL_BATCHES = 100
"""Batches of a pool: texts are sorted by length within a pool, so its batches waste few steps."""


@dataclass(frozen=True)
class Batch:
    """Texts in packed order.

    Attributes:
        ids: (N,) int64 word ids.
        layout: which of them is which token of which text.
        labels: (B,) int64.
    """

    ids: torch.Tensor
    layout: PackedLayout
    labels: torch.Tensor


class TextDataset:
    """A split as one model reads it: its vocabulary and its truncation over the shared arrays.

    The corpus holds frequency ranks of whole texts; a vocabulary of fewer words and a maximum
    length are index arithmetic over them, so nothing is copied for a trial. On a GPU the arrays
    are moved there once, and a batch costs no copy from the host.
    """

    def __init__(
        self,
        split: EncodedSplit,
        config: TextConfig,
        vocabulary_size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Take a split's arrays.

        Args:
            split: ranks of whole texts, -1 for a word outside train.
            config: maximum length and truncation.
            vocabulary_size: words of the vocabulary, `<unk>` and `<pad>` not counted.
            device: where batches are made.
        """
        full = np.diff(split.offsets)
        limit = config.max_length or int(full.max(initial=1))
        kept = np.minimum(full, limit)
        dropped = full - kept
        head = {"head": kept, "tail": np.zeros_like(kept), "head_tail": (kept + 1) // 2}
        self.size = len(full)
        self.lengths = kept
        """(n,) int64 numpy: tokens of each text after truncation."""
        self.vocabulary_size = vocabulary_size
        self.device = torch.device(device)
        self._tokens = _as_tensor(split.tokens).to(self.device)
        self._labels = _as_tensor(split.labels).to(self.device)
        self._starts = _as_tensor(split.offsets[:-1]).to(self.device)
        self._kept = torch.from_numpy(kept).to(self.device)
        self._head = torch.from_numpy(head[config.truncation]).to(self.device)
        self._dropped = torch.from_numpy(dropped).to(self.device)
        self._truncated = config.truncation != "head" and bool(dropped.any())

    def batches(self, plan: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Batch]]:
        """Gather the batches of a plan, one after the other.

        The plan goes to the device as a whole, so that no step waits for a copy.

        Args:
            plan: indexes of texts, each in packed order.

        Yields:
            Each index with its batch.
        """
        if not plan:
            return
        chosen = torch.from_numpy(np.concatenate(plan)).to(self.device)
        for index, texts in zip(plan, chosen.split([len(index) for index in plan]), strict=True):
            lengths = self.lengths[index]
            layout = PackedLayout(self._kept[texts], int(lengths[0]), int(lengths.sum()))
            yield index, self._gather(texts, layout)

    def epoch(self, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Plan an epoch: every text once, batches of like lengths in packed order, shuffled.

        The plan depends on nothing but its arguments, so a position in it can be returned to.
        """
        random = np.random.default_rng((seed, epoch))
        order = random.permutation(self.size)
        pool = batch_size * POOL_BATCHES
        batches = [
            batch
            for start in range(0, self.size, pool)
            for batch in _sorted_batches(order[start : start + pool], self.lengths, batch_size)
        ]
        return [batches[i] for i in random.permutation(len(batches))]

    def in_order_of_length(self, tokens: int, most: int = 512) -> Iterator[np.ndarray]:
        """Yield every text once for evaluation, in batches of about `tokens` tokens."""
        order = np.argsort(-self.lengths, kind="stable")
        start = 0
        while start < self.size:
            size = max(1, min(most, tokens // max(1, int(self.lengths[order[start]]))))
            yield order[start : start + size]
            start += size

    def _gather(self, texts: torch.Tensor, layout: PackedLayout) -> Batch:
        """Make the batch of texts (B,), given in packed order."""
        ranks = self._tokens[self._positions(layout.step, texts[layout.sequence])].long()
        known = (ranks >= 0) & (ranks < self.vocabulary_size)
        ids = torch.where(known, ranks + FIRST_WORD_ID, UNK_ID)
        return Batch(ids, layout, self._labels[texts])

    def read_positions(self) -> torch.Tensor:
        """Return the place, among all tokens of the split, of each that is kept, text by text."""
        texts = torch.arange(self.size, device=self.device).repeat_interleave(self._kept)
        first = (self._kept.cumsum(0) - self._kept)[texts]
        return self._positions(torch.arange(len(texts), device=self.device) - first, texts)

    def _positions(self, step: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return the place among the split's tokens of the steps (N,) of texts (N,)."""
        position = step + self._starts[text]
        if self._truncated:
            position += torch.where(step >= self._head[text], self._dropped[text], 0)
        return position


def _sorted_batches(index: np.ndarray, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut an index into batches of like lengths, each in packed order."""
    ordered = index[np.argsort(-lengths[index], kind="stable")]
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _as_tensor(array: np.ndarray) -> torch.Tensor:
    """Share an array with torch; arrays from the object store are read-only and stay unwritten."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
