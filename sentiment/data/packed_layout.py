"""The packed order of a batch: which row holds which token of which sequence.

Sequences are sorted by falling length. First come the first tokens of all of them, then the second
tokens of those that have one, and so on: no padding, and the rows of a step lie side by side.
It is the order of torch's `PackedSequence`.

Shapes: T steps, B sequences, N rows (tokens of all sequences), F features.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class PackedLayout:
    """The place of each token of a batch. All tensors are on one device; none waits for it."""

    def __init__(self, lengths: Tensor, steps: int, rows: int) -> None:
        """Describe a batch.

        Args:
            lengths: (B,) int64, falling, at least 1.
            steps: T, the first of them.
            rows: N, their sum.
        """
        self.lengths = lengths
        self.steps = steps
        self.rows = rows
        self.sequences = len(lengths)

    @classmethod
    def of(cls, lengths: Tensor) -> PackedLayout:
        """Describe a batch by lengths that lie on the CPU."""
        return cls(lengths, int(lengths[0]), int(lengths.sum()))

    @property
    def rectangular(self) -> bool:
        """Whether all sequences have the same length."""
        return self.rows == self.steps * self.sequences

    def to_padded(self) -> PackedLayout:
        """Return the layout in which every sequence is as long as the longest."""
        lengths = torch.full_like(self.lengths, self.steps)
        return PackedLayout(lengths, self.steps, self.steps * self.sequences)

    @cached_property
    def sizes(self) -> list[int]:
        """Rows of each step, falling; waits for the device."""
        return self._sizes.tolist()

    @cached_property
    def step(self) -> Tensor:
        """(N,) the step of each row."""
        steps = torch.arange(self.steps, device=self.lengths.device)
        return steps.repeat_interleave(self._sizes, output_size=self.rows)

    @cached_property
    def sequence(self) -> Tensor:
        """(N,) the sequence of each row."""
        return torch.arange(self.rows, device=self.lengths.device) - self._starts[self.step]

    @cached_property
    def reversed_index(self) -> Tensor:
        """(N,) the row as far from its sequence's end as this one is from its start."""
        return self.row(self.lengths[self.sequence] - 1 - self.step, self.sequence)

    @cached_property
    def last(self) -> Tensor:
        """(B,) the row of each sequence's last token."""
        return self.row(self.lengths - 1, torch.arange(self.sequences, device=self.lengths.device))

    @cached_property
    def padded_index(self) -> Tensor:
        """(N,) index of each row in a padded (T, B) array, flattened."""
        return self.step * self.sequences + self.sequence

    @cached_property
    def padded(self) -> Tensor:
        """(T * B,) the row for each cell of a padded array; past its end a sequence's last."""
        device = self.lengths.device
        step = torch.arange(self.steps, device=device).unsqueeze(1).minimum(self.lengths - 1)
        return self.row(step, torch.arange(self.sequences, device=device)).flatten()

    def row(self, step: Tensor, sequence: Tensor) -> Tensor:
        """Return the rows of tokens given by step and sequence."""
        return self._starts[step] + sequence

    @cached_property
    def _sizes(self) -> Tensor:
        steps = torch.arange(self.steps, device=self.lengths.device)
        return (self.lengths > steps.unsqueeze(1)).sum(dim=1)

    @cached_property
    def _starts(self) -> Tensor:
        """(T,) the first row of each step."""
        return self._sizes.cumsum(0) - self._sizes
