"""RNN, GRU and LSTM over batches in packed order: every sequence ends at its own length.

torch's modules leave their fast kernels for a `PackedSequence`. The same mathematics needs no
packed kernel of theirs. On the CPU all cells run over the packed rows, compiled where that is
faster (`rnn_choice`), else RNN and GRU by loops of our own. Other LSTMs, and every cell on a GPU,
run by torch's padded kernel: each direction reads its sequences from their own start, the backward
one reversed within their own length, and what the kernel makes after a sequence's end is never
looked at, so it gets no gradient. Of what is not compiled, batches of so few steps that the
overhead of loops in Python shows, and an LSTM's single sequence, go to torch's packed kernel on the
CPU.

Shapes: N rows in packed order (see `layout`), T steps, B sequences, E features, H hidden units,
D directions.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from sentiment.data.packed_layout import PackedLayout
from sentiment.nn import rnn_cpu
from sentiment.nn.compiled_rnn import CompiledRNN
from sentiment.nn.dropout import dropout
from sentiment.nn.rnn_choice import compiled_for

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_KERNELS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "rnn": torch.rnn_tanh,
    "gru": torch.gru,
    "lstm": torch.lstm,
}
FEW_STEPS = 16
"""Steps up to which torch's packed kernel is as fast as loops in Python: see docs/benchmarks.md."""
FEW_SEQUENCES = 4
"""Sequences up to which it is faster than they without gradients: see docs/benchmarks.md."""


class PackedRNN(nn.Module):
    """Recurrent layers with the semantics of `nn.RNN/GRU/LSTM` on a `PackedSequence`.

    Names and shapes of the parameters are torch's, so a state dict goes either way.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """Make the layers.

        Args:
            cell: rnn (tanh), gru or lstm.
            input_size: E.
            hidden_size: H.
            layers: recurrent layers.
            bidirectional: D = 2 where true, else 1.
            dropout: on the outputs of every layer but the last.

        Raises:
            ValueError: the cell is unknown.
        """
        super().__init__()
        if cell not in GATES:
            raise ValueError(f"cell {cell!r} is none of {', '.join(GATES)}")
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.layers = layers
        self.directions = 2 if bidirectional else 1
        self.dropout = dropout
        self.compute_dtype: torch.dtype | None = None
        """Precision of the matrix products where it is not the parameters' own.

        An LSTM on a CPU that has none in bfloat16 keeps the parameters' own."""
        self.few_steps = FEW_STEPS
        """Steps up to which what is not compiled takes torch's packed kernel; none does with 0."""
        rows = GATES[cell] * hidden_size
        for layer in range(layers):
            columns = input_size if layer == 0 else hidden_size * self.directions
            for suffix in self._suffixes(layer):
                self.register_parameter(f"weight_ih_{suffix}", _parameter(rows, columns))
                self.register_parameter(f"weight_hh_{suffix}", _parameter(rows, hidden_size))
                self.register_parameter(f"bias_ih_{suffix}", _parameter(rows))
                self.register_parameter(f"bias_hh_{suffix}", _parameter(rows))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-1/sqrt(H), 1/sqrt(H)), as torch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, inputs: Tensor, layout: PackedLayout) -> Tensor:
        """Run all layers.

        Args:
            inputs: (N, E).
            layout: which row is which token.

        Returns:
            The last layer's outputs, (N, D, H), each direction in its own reading order: at step
            t of the backward direction stands its state after the t + 1 last tokens of the
            sequence. So a sequence's last state is in its last row in both, and a maximum or
            mean over a sequence's own steps needs no reordering.
        """
        for layer in range(self.layers):
            outputs = self._layer(inputs, layout, layer)
            if layer == self.layers - 1:
                return outputs
            inputs = outputs[:, 0]
            if self.directions == 2:
                backward = _Select.apply(
                    outputs[:, 1], layout.reversed_index, layout.reversed_index
                )
                inputs = torch.cat([inputs, backward], dim=1)
            inputs = dropout(inputs, self.dropout, self.training)
        raise AssertionError("there is at least one layer")

    def _layer(self, inputs: Tensor, layout: PackedLayout, layer: int) -> Tensor:
        """Run one layer: (N, E) to (N, D, H)."""
        weights = [
            [
                getattr(self, f"{kind}_{suffix}")
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            for suffix in self._suffixes(layer)
        ]
        library = self._library(inputs)
        if library is not None:
            order = layout.reversed_index if self.directions == 2 else None
            return library.layer(self.cell, inputs, layout.sizes, order, weights)
        few = self._takes_torchs_packed(inputs, layout)
        if few or self.cell == "lstm" or inputs.device.type != "cpu":
            way = self._packed if few else self._padded
            directions = [
                way(inputs, layout, own, reverse=direction == 1)
                for direction, own in enumerate(weights)
            ]
            return torch.stack(directions, dim=1)
        read = [inputs]
        if self.directions == 2:
            read.append(_Select.apply(inputs, layout.reversed_index, layout.reversed_index))
        own = rnn_cpu.gru if self.cell == "gru" else rnn_cpu.rnn
        return own(read, layout.sizes, weights, self.compute_dtype or inputs.dtype)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self.directions]

    def _library(self, inputs: Tensor) -> CompiledRNN | None:
        """Return the compiled layers where they are the fastest way, however small the batch."""
        if inputs.device.type != "cpu" or inputs.dtype != torch.float32:
            return None
        return compiled_for(self.cell, self.hidden_size, self.compute_dtype or inputs.dtype)

    def _takes_torchs_packed(self, inputs: Tensor, layout: PackedLayout) -> bool:
        """Return whether torch's packed kernel has the least overhead for a batch this small."""
        if inputs.device.type != "cpu" or self.compute_dtype is not None or not self.few_steps:
            return False
        if self.cell == "lstm":
            return layout.sequences == 1
        few_sequences = not self.training and layout.sequences <= FEW_SEQUENCES
        return few_sequences or layout.steps <= self.few_steps

    def _packed(
        self, inputs: Tensor, layout: PackedLayout, weights: list[Tensor], reverse: bool
    ) -> Tensor:
        """Run one layer in one direction by torch's packed kernel."""
        if reverse:
            inputs = _Select.apply(inputs, layout.reversed_index, layout.reversed_index)
        options = (True, 1, 0.0, self.training, False)
        start = self._start(inputs, layout)
        return _KERNELS[self.cell](inputs, torch.tensor(layout.sizes), start, weights, *options)[0]

    def _start(self, inputs: Tensor, layout: PackedLayout) -> Tensor | list[Tensor]:
        """Return the state before the first step, as torch's kernel of the cell takes it."""
        zeros = inputs.new_zeros(1, layout.sequences, self.hidden_size)
        return [zeros, zeros] if self.cell == "lstm" else zeros

    def _padded(
        self, inputs: Tensor, layout: PackedLayout, weights: list[Tensor], reverse: bool
    ) -> Tensor:
        """Run one layer in one direction by torch's padded kernel."""
        shape = (layout.steps, layout.sequences)
        if reverse:
            rows, cells = (
                layout.reversed_index[layout.padded],
                layout.padded_index[layout.reversed_index],
            )
            inputs = _Select.apply(inputs, rows, cells)
        elif not layout.rectangular:
            inputs = _Select.apply(inputs, layout.padded, layout.padded_index)
        options = (True, 1, 0.0, self.training, False, False)
        start = self._start(inputs, layout)
        with self._precision(inputs.device):
            outputs = _KERNELS[self.cell](inputs.view(*shape, -1), start, weights, *options)[0]
        outputs = outputs.flatten(0, 1)
        if not layout.rectangular:
            outputs = gather(outputs, layout.padded_index)
        return outputs.to(inputs.dtype)

    def _precision(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        # Only the LSTM comes here on the CPU, and torch asks oneDNN for bfloat16 whatever it has.
        if self.compute_dtype is None or (device.type == "cpu" and not has_bfloat16_lstm()):
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.compute_dtype)


@cache
def has_bfloat16_lstm() -> bool:
    """Return whether oneDNN has an LSTM in bfloat16 for this CPU, which needs AVX-512 or AMX."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Select(torch.autograd.Function):
    """Select rows; given where each input row went, the gradient is a selection as well.

    An input row selected more than once gets the gradient of one place, `inverse`: the others
    must have none. What autograd derives is a slower scattered sum.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return inputs.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


def gather(inputs: Tensor, index: Tensor) -> Tensor:
    """Select rows (N,) of (M, F), each at most once."""
    gathered: Tensor = _Gather.apply(inputs, index)
    return gathered


class _Gather(torch.autograd.Function):
    """Select rows, each at most once; the others get no gradient."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(inputs)
        return inputs.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        result = gradient.new_zeros(ctx.rows, gradient.shape[1])
        return result.index_copy_(0, index, gradient), None


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape))
