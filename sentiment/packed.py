"""RNN, GRU and LSTM over batches in packed order: every sequence ends at its own length.

torch's modules leave their fast kernels for a `PackedSequence`. The same mathematics needs no
packed kernel: over a batch of like lengths the padded kernel runs in reading order, the backward
direction reads each sequence reversed within its own length, and what stands after a sequence's
end is never looked at, so it gets no gradient.

Shapes: T steps, B sequences, E features, H hidden units, D directions.
"""

from __future__ import annotations

import contextlib
import math

import torch
from torch import nn

from sentiment import recurrence

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


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
        """Precision of the matrix products where it is not the parameters' own."""
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

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        """Run all layers.

        Args:
            inputs: (T, B, E); what stands after a sequence's end does not matter.
            lengths: (B,) int64, at least 1, the longest is T.

        Returns:
            The last layer's outputs, (T, B, H) a direction, each in that direction's own reading
            order: at step t of the backward direction stands its state after the t + 1 last
            tokens of the sequence. So a sequence's last state is at its length - 1 in both, and
            a maximum or mean over a sequence's own steps needs no reordering. Steps after a
            sequence's end hold numbers without meaning.
        """
        flip = _reversal(lengths, inputs.shape[0]) if self.directions == 2 else None
        for layer in range(self.layers):
            outputs = []
            for suffix in self._suffixes(layer):
                backward = suffix.endswith("_reverse")
                read = _Flip.apply(inputs, flip) if backward else inputs
                outputs.append(self._direction(read, suffix))
            if layer == self.layers - 1:
                return outputs
            if flip is not None:
                outputs[1] = _Flip.apply(outputs[1], flip)
            inputs = torch.cat(outputs, dim=2) if flip is not None else outputs[0]
            inputs = nn.functional.dropout(inputs, self.dropout, self.training)
        raise AssertionError("there is at least one layer")

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self.directions]

    def _direction(self, inputs: torch.Tensor, suffix: str) -> torch.Tensor:
        """Run one layer in one direction: (T, B, E) to (T, B, H)."""
        weights = [
            getattr(self, f"{kind}_{suffix}")
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        if self.cell != "lstm" and inputs.device.type == "cpu" and torch.is_grad_enabled():
            # torch's own loops record each step of these for autograd.
            own = recurrence.gru if self.cell == "gru" else recurrence.rnn
            return own(inputs, weights, self.compute_dtype or inputs.dtype)
        start = inputs.new_zeros(1, inputs.shape[1], self.hidden_size)
        options = (True, 1, 0.0, self.training, False, False)
        with self._precision(inputs.device):
            if self.cell == "lstm":
                outputs = torch.lstm(inputs, [start, start], weights, *options)[0]
            else:
                kernel = torch.gru if self.cell == "gru" else torch.rnn_tanh
                outputs = kernel(inputs, start, weights, *options)[0]
        return outputs.to(inputs.dtype)

    def _precision(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        if self.compute_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.compute_dtype)


class _Flip(torch.autograd.Function):
    """Reverse each sequence within its own length; the map is its own inverse."""

    @staticmethod
    def forward(ctx, inputs: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(flip)
        return inputs.reshape(-1, inputs.shape[2]).index_select(0, flip).view(inputs.shape)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[no-untyped-def]
        # An index_select again: the gradient that autograd derives is a slower scattered sum.
        (flip,) = ctx.saved_tensors
        flat = gradient.reshape(-1, gradient.shape[2])
        return flat.index_select(0, flip).view(gradient.shape), None


def _reversal(lengths: torch.Tensor, steps: int) -> torch.Tensor:
    """Return where each of T * B rows comes from; rows after a sequence's end stay."""
    step = torch.arange(steps, device=lengths.device).unsqueeze(1)
    source = torch.where(step < lengths, lengths - 1 - step, step)
    return (source * len(lengths) + torch.arange(len(lengths), device=lengths.device)).flatten()


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape))
