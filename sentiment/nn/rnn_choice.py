"""Which way recurrent layers go on this CPU: compiled, by loops in Python, or by oneDNN's LSTM."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from sentiment.data.packed_layout import PackedLayout
from sentiment.nn import rnn_cpu
from sentiment.nn.compiled_rnn import CompiledRNN
from sentiment.nn.matmul import precision_name
from sentiment.nn.native_library import NotCompiledError, load_library

SWITCH = "SENTIMENT_COMPILED"
"""Environment variable: where it is 0, nothing that is compiled here is taken."""
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}
"""Largest difference from what float32 gives otherwise, relative to a tensor's largest value."""
WIDEST = {"rnn": 256, "gru": 256, "lstm": 256}
"""Hidden units up to which the compiled layers are the faster way in float32: docs/benchmarks.md.
In bfloat16 they are taken at every width."""
WIDEST_OF_THREADS = {"rnn": 128, "gru": 128, "lstm": 64}
"""Those up to which they are where torch has several threads, of which they use one."""

_logger = logging.getLogger(__name__)


class Compiled(NamedTuple):
    """The compiled layers, or why there are none."""

    layers: CompiledRNN | None
    reason: str


@cache
def compiled(dtype: torch.dtype) -> Compiled:
    """Return the compiled layers of a precision, float32 or bfloat16, if this machine has them.

    That is found out once a process. The first process of a machine that asks compiles them, which
    takes some seconds.
    """
    try:
        if os.environ.get(SWITCH) == "0":
            raise NotCompiledError(f"{SWITCH}=0")
        layers = _load(dtype)
        difference = largest_difference(layers)
        if not difference < TOLERANCE[dtype]:
            raise NotCompiledError(f"the compiled layers are wrong by {difference:.1e}")
    except NotCompiledError as error:
        _logger.info("recurrent layers in %s are not compiled: %s", precision_name(dtype), error)
        return Compiled(None, str(error))
    return Compiled(layers, "")


def compiled_for(cell: str, hidden: int, dtype: torch.dtype) -> CompiledRNN | None:
    """Return the compiled layers where they are the faster way.

    Args:
        cell: rnn, gru or lstm.
        hidden: units of the layer.
        dtype: precision of its products; inputs and weights are in float32.
    """
    widest = (WIDEST if torch.get_num_threads() == 1 else WIDEST_OF_THREADS)[cell]
    if dtype == torch.bfloat16 or (dtype == torch.float32 and hidden <= widest):
        return compiled(dtype).layers
    return None


def recurrence(precision: str = "float32") -> str:
    """Return how this process runs recurrent layers on the CPU: `compiled`, or `python: why`.

    Args:
        precision: of their products, `float32` or `bfloat16`.
    """
    layers, reason = compiled(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    return "python: " + reason[:200] if layers is None else "compiled"


def largest_difference(layers: CompiledRNN) -> float:
    """Compare with the loops in Python, and torch's LSTM, on a few rows: outputs and gradients.

    Returns:
        The largest difference, relative to the largest value of each tensor; not a number where
        one has none.
    """
    # The first caller may be in inference mode.
    with torch.inference_mode(False), torch.enable_grad():
        return _largest_difference(layers)


def _load(dtype: torch.dtype) -> CompiledRNN:
    if dtype == torch.float32:
        return CompiledRNN(load_library())
    if not torch.cpu.get_capabilities().get("avx512_bf16"):
        raise NotCompiledError("this CPU has no products in bfloat16")
    layers = CompiledRNN(load_library("BFLOAT16"), dtype)
    # oneDNN has it whatever the compiler, and is faster with it than these are without.
    if torch.cpu.get_capabilities().get("amx_bf16") and not layers.by_tiles:
        raise NotCompiledError("AMX can't be used: the compiler or the kernel has none")
    return layers


def _largest_difference(layers: CompiledRNN) -> float:
    random = torch.Generator().manual_seed(1)
    # More than a block of sequences, and in the second steps of few.
    layout = PackedLayout.of(torch.tensor([7, 5, *[4] * 20, *[3] * 13, 2, 2, 1]))
    inputs, hidden = torch.randn(layout.rows, 3, generator=random), 40
    differences = []
    for cell, gates in (("rnn", 1), ("gru", 3), ("lstm", 4)):
        shapes = (gates * hidden, 3), (gates * hidden, hidden), (gates * hidden,)
        weights = [
            [torch.randn(shape, generator=random) / 4 for shape in (*shapes, shapes[2])]
            for _ in range(2)
        ]
        gradient = torch.randn(layout.rows, 2, hidden, generator=random)
        ours = partial(layers.layer, cell, sizes=layout.sizes, reversed_index=layout.reversed_index)
        results = [
            _results(layer, inputs, weights, gradient)
            for layer in (ours, partial(_BY_CELL[cell], layout))
        ]
        for value, expected in zip(*results, strict=True):
            differences.append((value - expected).abs().max() / expected.abs().max())
    return float(torch.stack(differences).max())


def _by_loops(
    loops: Callable[..., Tensor],
    layout: PackedLayout,
    inputs: Tensor,
    weights: Sequence[Sequence[Tensor]],
) -> Tensor:
    return loops(_read(layout, inputs), layout.sizes, weights, torch.float32)


def _by_torch(layout: PackedLayout, inputs: Tensor, weights: Sequence[Sequence[Tensor]]) -> Tensor:
    """Run an LSTM by torch's packed kernel."""
    zeros = inputs.new_zeros(1, layout.sequences, weights[0][1].shape[1])
    sizes = torch.tensor(layout.sizes)
    directions = [
        torch.lstm(read, sizes, [zeros, zeros], list(own), True, 1, 0.0, True, False)[0]
        for read, own in zip(_read(layout, inputs), weights, strict=True)
    ]
    return torch.stack(directions, dim=1)


def _read(layout: PackedLayout, inputs: Tensor) -> list[Tensor]:
    return [inputs, inputs[layout.reversed_index]]


_BY_CELL: dict[str, Callable[..., Tensor]] = {
    "rnn": partial(_by_loops, rnn_cpu.rnn),
    "gru": partial(_by_loops, rnn_cpu.gru),
    "lstm": _by_torch,
}


def _results(
    layer: Callable[..., Tensor],
    inputs: Tensor,
    weights: Sequence[Sequence[Tensor]],
    gradient: Tensor,
) -> list[Tensor]:
    """Return a layer's outputs, and the gradients of its inputs and weights."""
    inputs = inputs.clone().requires_grad_()
    own = [[weight.clone().requires_grad_() for weight in each] for each in weights]
    outputs = layer(inputs=inputs, weights=own)
    flat = [inputs, *(weight for each in own for weight in each)]
    # To give `grad` the gradient would import sympy: half a second in each process that trains.
    return [outputs.detach(), *torch.autograd.grad((outputs * gradient).sum(), flat)]
