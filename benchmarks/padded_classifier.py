"""Reviews and a classifier by torch's own layers on padded batches, for a sweep by stock parts.

Never a PackedSequence, whose cost grows with the square of the length. A direction is a module of
its own, and the backward one reads each review from its last token on: so padding comes after all
that counts, and reaches neither a state that is used nor a gradient.

Shapes: N tokens of a split, T steps, B reviews, E embedding size, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

UNKNOWN, PADDING = 0, 1
_CELLS: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {
    "rnn": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}
_POOL_BATCHES = 100
"""Batches' worth of reviews that are sorted together, as torchtext's BucketIterator has it."""
_TOKENS_AT_ONCE = 16_384
"""Of a batch without gradients."""


class Reviews:
    """A split as padded batches."""

    def __init__(self, tokens: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> None:
        """Take the ids of all reviews in one row, (N,), and the length and label of each."""
        self.tokens, self.lengths, self.labels = tokens, lengths, labels
        self._starts = np.cumsum(lengths) - lengths

    def batch(self, chosen: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids (T, B), lengths (B,) and labels (B,) of the chosen reviews."""
        lengths = self.lengths[chosen]
        step = np.arange(lengths.max())[:, None]
        ids = self.tokens[self._starts[chosen] + np.minimum(step, lengths - 1)]
        ids[step >= lengths] = PADDING
        return tuple(map(torch.from_numpy, (ids, lengths, self.labels[chosen])))  # type: ignore[return-value]

    def epoch(self, size: int, draw: np.random.Generator) -> list[np.ndarray]:
        """Divide all reviews into batches of like lengths, in random order."""
        order = draw.permutation(len(self.lengths))
        batches = []
        for start in range(0, len(order), size * _POOL_BATCHES):
            pool = order[start : start + size * _POOL_BATCHES]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[at : at + size] for at in range(0, len(pool), size)]
        return [batches[number] for number in draw.permutation(len(batches))]

    def by_length(self) -> Iterator[np.ndarray]:
        """Divide all reviews into batches for evaluation, the longest reviews first."""
        order = np.argsort(-self.lengths, kind="stable")
        while len(order):
            size = max(1, _TOKENS_AT_ONCE // int(self.lengths[order[0]]))
            yield order[:size]
            order = order[size:]


class _Reorder(torch.autograd.Function):
    """Rows in an order that is its own inverse, so that no gradient has to be added up."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return gradient.index_select(0, order), None


class Dropout(nn.Module):
    """Dropout by one random byte an element, which costs a fraction of torch's own mask.

    The rate is rounded to 256ths, and what is left scaled by the rounded one.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._below = round(256 * rate)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self._below:
            return values
        draws = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.uint8)[: values.numel()].view_as(values) >= self._below
        return values * kept.to(values.dtype).mul_(256 / (256 - self._below))


class PaddedClassifier(nn.Module):
    """Embedding, torch's layers on the padded batch, pooling over a review's own steps, head."""

    def __init__(self, matrix: Tensor, settings: dict[str, Any]) -> None:
        """Make the model; `matrix` (words, E) holds the first values of the embedding."""
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(
            matrix,
            freeze=False,
            padding_idx=PADDING,
            # Plain SGD leaves a row without a gradient as it is: nothing is lost.
            sparse=settings["optimizer"] == "sgd",
        )
        hidden, directions = settings["hidden_dim"], 1 + settings["bidirectional"]
        widths = [matrix.shape[1]] + [hidden * directions] * (settings["layers"] - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(_CELLS[settings["cell"]](width, hidden) for _ in range(directions))
            for width in widths
        )
        self.head = nn.Linear(hidden * directions, 1)
        self.dropout = Dropout(settings["dropout"])
        self.pooling = settings["pooling"]

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (B,) of ids (T, B)."""
        steps, texts = ids.shape
        step, column = torch.arange(steps)[:, None], torch.arange(texts)
        inside = step < lengths
        mirrored = (torch.where(inside, lengths - 1 - step, step) * texts + column).flatten()

        def reverse(rows: Tensor) -> Tensor:
            return _Reorder.apply(rows.flatten(0, 1), mirrored).view_as(rows)

        outputs = self.embedding(ids)
        for number, layer in enumerate(self.layers, 1):
            read = self.dropout(outputs)
            parts = [layer[0](read)[0]]  # type: ignore[index]
            if len(layer) == 2:  # type: ignore[arg-type]
                parts.append(layer[1](reverse(read))[0])  # type: ignore[index]
            if number < len(self.layers):
                outputs = torch.cat([*parts[:1], *map(reverse, parts[1:])], 2)
        pooled = torch.cat([self._pool(part, inside, lengths) for part in parts], 1)
        return self.head(self.dropout(pooled)).squeeze(1)

    def _pool(self, outputs: Tensor, inside: Tensor, lengths: Tensor) -> Tensor:
        """Turn a direction's outputs (T, B, H), in its own order, into (B, H)."""
        if self.pooling == "max":
            return outputs.masked_fill(~inside[..., None], -torch.inf).amax(0)
        if self.pooling == "mean":
            return (outputs * inside[..., None]).sum(0) / lengths[:, None]
        return outputs[lengths - 1, torch.arange(len(lengths))]
