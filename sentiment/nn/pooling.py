"""One vector a sequence from the outputs of a recurrent layer, over its own steps alone.

On the CPU a step's rows are still in its caches when they are reduced, several times faster than
torch's reductions over a padded array; elsewhere the array is padded, since each step would cost
a kernel's start.

Shapes: N rows in packed order, B sequences, H features: the hidden units of all directions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sentiment.data.packed_layout import PackedLayout


def last(outputs: Tensor, layout: PackedLayout) -> Tensor:
    """Return each sequence's last row: (N, H) to (B, H)."""
    return outputs.index_select(0, layout.last)


def maximum(outputs: Tensor, layout: PackedLayout) -> Tensor:
    """Return each feature's maximum: (N, H) to (B, H).

    Of equal values the first gets the gradient.
    """
    if outputs.device.type == "cpu":
        return _Maximum.apply(outputs, layout)
    padded = outputs.new_full((layout.steps * layout.sequences, outputs.shape[1]), -torch.inf)
    padded = padded.index_copy(0, layout.padded_index, outputs)
    return padded.view(layout.steps, layout.sequences, -1).max(dim=0).values


def mean(outputs: Tensor, layout: PackedLayout) -> Tensor:
    """Return each feature's mean: (N, H) to (B, H)."""
    if outputs.device.type == "cpu":
        total = _Sum.apply(outputs, layout)
    else:
        total = outputs.new_zeros(layout.sequences, outputs.shape[1])
        total = total.index_add(0, layout.sequence, outputs)
    return total / layout.lengths.unsqueeze(1)


POOLINGS = {"last": last, "max": maximum, "mean": mean}


class _Maximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, layout: PackedLayout) -> Tensor:
        steps = outputs.split(layout.sizes)
        best = steps[0].clone()
        reached = torch.zeros_like(best, dtype=torch.int32)
        higher = torch.empty_like(best, dtype=torch.bool)
        for step, (size, rows) in enumerate(zip(layout.sizes, steps, strict=True)):
            torch.gt(rows, best[:size], out=higher[:size])
            torch.maximum(best[:size], rows, out=best[:size])
            reached[:size].masked_fill_(higher[:size], step)
        ctx.layout, ctx.rows = layout, len(outputs)
        ctx.save_for_backward(reached)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (reached,) = ctx.saved_tensors
        sequence = torch.arange(len(reached)).unsqueeze(1)
        rows = ctx.layout.row(reached.long(), sequence)
        result = gradient.new_zeros(ctx.rows, gradient.shape[1])
        return result.scatter_(0, rows, gradient), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, layout: PackedLayout) -> Tensor:
        steps = outputs.split(layout.sizes)
        total = steps[0].clone()
        for size, rows in zip(layout.sizes[1:], steps[1:], strict=True):
            total[:size] += rows
        ctx.layout = layout
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.layout.sequence), None
