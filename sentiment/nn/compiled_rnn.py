"""Recurrent layers on the CPU by a compiled library: `recurrence.c` on the tensors' own memory.

A layer in one or both directions, in float32, or with its products in bfloat16. What need not go
step by step is one large product for both directions: the library reads and writes the rows of the
backward one in the inputs' order.

Shapes: T steps, N rows in packed order, D directions, E features, H hidden units.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sentiment.nn.matmul import filled_up, padded_rows, product, zero_from
from sentiment.nn.native_library import NotCompiledError


class CompiledRNN:
    """The layers that a library computes; on the calling thread, without Python's lock."""

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype = torch.float32) -> None:
        """Take the functions of a library that was built from `recurrence.c`.

        Args:
            library: the functions.
            dtype: precision that they were built for, float32 or bfloat16.

        Raises:
            NotCompiledError: it lacks one.
        """
        try:
            self.rnn_forward = library.rnn_forward
            self.rnn_backward = library.rnn_backward
            self.gru_forward = library.gru_forward
            self.gru_backward = library.gru_backward
            self.lstm_forward = library.lstm_forward
            self.lstm_backward = library.lstm_backward
            self._room_floats = library.room_floats
            self.by_tiles = False
            """Whether step by step products are made by AMX."""
            if dtype == torch.bfloat16:
                self.by_tiles = bool(library.use_tiles())
                self._transpose = library.transpose
        except AttributeError as error:
            raise NotCompiledError(str(error)) from error
        self.dtype = dtype
        self._room_floats.argtypes, self._room_floats.restype = [ctypes.c_int64], ctypes.c_int64

    def layer(
        self,
        cell: str,
        inputs: Tensor,
        sizes: Sequence[int],
        reversed_index: Tensor | None,
        weights: Sequence[Sequence[Tensor]],
    ) -> Tensor:
        """Run a layer from a zero state, as `rnn_cpu` does.

        Args:
            cell: lstm, gru or rnn.
            inputs: (N, E) float32, whatever the direction.
            sizes: rows of each step, falling, N in all.
            reversed_index: (N,) int64, the row that the backward direction reads at each row;
                None where there is one direction.
            weights: of each direction, float32, as `rnn_cpu` takes them.

        Returns:
            The states after each step, (N, D, H) float32, each direction in its reading order.
        """
        flat = (tensor for own in weights for tensor in own)
        return _FUNCTIONS[cell].apply(self, sizes, reversed_index, inputs, *flat)

    def transposed(self, matrix: Tensor) -> Tensor:
        """Return the transpose of a matrix in bfloat16, whose rows may be apart, in order.

        torch takes ten times as long, and a product that reads a factor transposed twice as long.
        """
        rows, columns = matrix.shape
        result = matrix.new_empty(columns, rows)
        self._transpose(
            *(ctypes.c_int64(size) for size in (rows, columns, matrix.stride(0))),
            *(ctypes.c_void_p(each.data_ptr()) for each in (matrix, result)),
        )
        return result

    def call(
        self,
        function: Callable[..., None],
        sizes: Sequence[int],
        order: Tensor | None,
        weights: Sequence[Sequence[Tensor]],
        *tensors: Tensor,
        strided: Sequence[Tensor] = (),
    ) -> None:
        """Call one of the functions, with the room that it needs.

        Args:
            function: of the library.
            sizes: rows of each step.
            order: as `layer` takes it.
            weights: of each direction.
            tensors: what the function takes after the recurrent matrices.
            strided: those of them whose rows have a stride.
        """
        matrices = torch.stack([own[1].to(self.dtype) for own in weights])
        hidden = matrices.shape[2]
        room = torch.empty(self._room_floats(hidden), dtype=torch.float32)
        function(
            ctypes.c_int64(len(sizes)),
            (ctypes.c_int64 * len(sizes))(*sizes),
            ctypes.c_int64(len(weights)),
            ctypes.c_int64(hidden),
            None if order is None else ctypes.c_void_p(order.data_ptr()),
            *(ctypes.c_int64(each.stride(0)) for each in strided),
            *(ctypes.c_void_p(each.data_ptr()) for each in (matrices, *tensors, room)),
        )


class _RNN(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        library: CompiledRNN,
        sizes: Sequence[int],
        order: Tensor | None,
        inputs: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        weights = _by_direction(tensors)
        rows, inputs = len(inputs), _factor(library, inputs)
        gates = inputs.new_empty(len(inputs), len(weights) * len(weights[0][1]))
        _project(inputs, weights, gates)
        bias = torch.cat([b_ih + b_hh for _, _, b_ih, b_hh in weights])
        # With one direction each state takes the place of what it is computed from.
        in_place = order is None and gates.dtype == torch.float32
        states = gates if in_place else bias.new_empty(rows, gates.shape[1])
        library.call(library.rnn_forward, sizes, order, weights, bias, gates, states)
        ctx.library, ctx.sizes, ctx.rows = library, sizes, rows
        states = states.view(rows, len(weights), -1)
        ctx.save_for_backward(order, inputs, *tensors, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        order, inputs, *tensors, states = ctx.saved_tensors
        weights = _by_direction(tensors)
        rows, directions, hidden = states.shape
        deltas = _rows_apart(inputs, directions * hidden)
        sums = states.new_zeros(directions, hidden)
        before = inputs.new_empty(len(inputs), directions, hidden)
        zero_from(rows, deltas, before)
        given = gradient.contiguous(), states, deltas, sums, before
        ctx.library.call(
            ctx.library.rnn_backward, ctx.sizes, order, weights, *given, strided=[deltas]
        )
        of_inputs, parameters = _products(ctx, inputs, weights, deltas, sums, before)
        return (None, None, None, of_inputs, *parameters)


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        library: CompiledRNN,
        sizes: Sequence[int],
        order: Tensor | None,
        inputs: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        biases = []
        for _, w_hh, b_ih, b_hh in _by_direction(tensors):
            hidden = w_hh.shape[1]
            both = b_ih[:-hidden] + b_hh[:-hidden]
            biases += [both, b_ih[-hidden:], b_hh[-hidden:]]
        run = library.gru_forward
        bias = torch.cat(biases)
        return _gated_forward(ctx, library, run, sizes, order, inputs, tensors, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        deltas, sums, before = _gated_backward(ctx, ctx.library.gru_backward, gradient)
        order, inputs, *tensors = ctx.saved_tensors[:-3]
        weights = _by_direction(tensors)
        directions, hidden = before.shape[1:]
        # Columns of the deltas, n' what the reset gate scales: n, r, z, n' of one direction, or
        # n', r, z, n, n, r, z, n' of both: what each product takes lies side by side.
        of_sums = deltas[:, : 3 * hidden] if order is None else deltas[:, hidden : 7 * hidden]
        recurrent = [deltas[:, -3 * hidden :], deltas[:, : 3 * hidden]][:directions][::-1]
        # From the order of each of these columns to that of the weights' rows, r, z, n.
        sums_roll, recurrent_roll = [0, -hidden][-directions:], [-hidden, 0][-directions:]
        matrices = [own[0].roll(-roll, 0) for own, roll in zip(weights, sums_roll, strict=True)]
        of_inputs = _input_gradient(ctx, of_sums, matrices)
        of_w_ih = _weight_gradient(ctx.library, inputs, of_sums).chunk(directions)
        parameters = []
        for d in range(directions):
            of_w_hh = _weight_gradient(ctx.library, before[:, d], recurrent[d])
            parameters += [
                of_w_ih[d].roll(sums_roll[d], 0),
                of_w_hh.roll(recurrent_roll[d], 0),
                sums[d, : 3 * hidden].roll(-hidden),
                sums[d, hidden:],
            ]
        return (None, None, None, of_inputs, *parameters)


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        library: CompiledRNN,
        sizes: Sequence[int],
        order: Tensor | None,
        inputs: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        bias = torch.cat([b_ih + b_hh for _, _, b_ih, b_hh in _by_direction(tensors)])
        run = library.lstm_forward
        return _gated_forward(ctx, library, run, sizes, order, inputs, tensors, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        given = _gated_backward(ctx, ctx.library.lstm_backward, gradient)
        _, inputs, *tensors = ctx.saved_tensors[:-3]
        of_inputs, parameters = _products(ctx, inputs, _by_direction(tensors), *given)
        return (None, None, None, of_inputs, *parameters)


_INPUTS = 3
"""Place of the inputs among the arguments of these functions."""
_FUNCTIONS = {"rnn": _RNN, "gru": _GRU, "lstm": _LSTM}


def _gated_forward(
    ctx: Any,
    library: CompiledRNN,
    run: Callable[..., None],
    sizes: Sequence[int],
    order: Tensor | None,
    inputs: Tensor,
    tensors: Sequence[Tensor],
    bias: Tensor,
) -> Tensor:
    """Run a GRU or LSTM; keep the gates, and what else of each unit its backward reads."""
    weights = _by_direction(tensors)
    rows, directions = len(inputs), len(weights)
    wide, hidden = weights[0][1].shape
    inputs = _factor(library, inputs)
    gates = _rows_apart(inputs, directions * wide)
    _project(inputs, weights, gates)
    kept = gates.new_empty(directions, rows, hidden)
    states = bias.new_empty(rows, directions, hidden)
    made = gates, kept, states
    library.call(run, sizes, order, weights, bias, *made, strided=[gates])
    ctx.library, ctx.sizes, ctx.rows = library, sizes, rows
    ctx.save_for_backward(order, inputs, *tensors, *made)
    return states


def _gated_backward(
    ctx: Any, run: Callable[..., None], gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the deltas of a GRU or LSTM, (N, D 4H), their sums, and the states before."""
    order, _, *tensors, gates, kept, states = ctx.saved_tensors
    rows, directions, hidden = states.shape
    deltas = _rows_apart(gates, directions * 4 * hidden)
    sums = states.new_zeros(directions, 4 * hidden)
    before = gates.new_empty(len(gates), directions, hidden)
    zero_from(rows, deltas, before)
    given = gradient.contiguous(), gates, kept, states, deltas, sums, before
    weights = _by_direction(tensors)
    ctx.library.call(run, ctx.sizes, order, weights, *given, strided=[gates, deltas])
    return deltas, sums, before


def _products(
    ctx: Any,
    inputs: Tensor,
    weights: list[Sequence[Tensor]],
    deltas: Tensor,
    sums: Tensor,
    before: Tensor,
) -> tuple[Tensor | None, list[Tensor]]:
    """Return the gradients of inputs and weights where both products take the same deltas."""
    directions = len(weights)
    of_inputs = _input_gradient(ctx, deltas, [own[0] for own in weights])
    of_w_ih = _weight_gradient(ctx.library, inputs, deltas).chunk(directions)
    parameters = []
    for d, own in enumerate(deltas.chunk(directions, dim=1)):
        of_w_hh = _weight_gradient(ctx.library, before[:, d], own)
        # Memory of its own for each: gradients are clipped and added to in place.
        parameters += [of_w_ih[d], of_w_hh, sums[d], sums[d].clone()]
    return of_inputs, parameters


def _by_direction(tensors: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    return [tensors[at : at + 4] for at in range(0, len(tensors), 4)]


def _project(inputs: Tensor, weights: Sequence[Sequence[Tensor]], out: Tensor) -> None:
    """Write the inputs' products with all directions' weights, side by side."""
    matrix = weights[0][0] if len(weights) == 1 else torch.cat([own[0] for own in weights])
    product(inputs, matrix.to(inputs.dtype).t(), out=out)


def _input_gradient(ctx: Any, deltas: Tensor, matrices: list[Tensor]) -> Tensor | None:
    if not ctx.needs_input_grad[_INPUTS]:
        return None
    return product(deltas, torch.cat(matrices).to(deltas.dtype))[: ctx.rows].float()


def _weight_gradient(library: CompiledRNN, rows: Tensor, deltas: Tensor) -> Tensor:
    """Return deltas' @ rows in float32; its transpose is the faster product."""
    if library.dtype == torch.float32:
        return product(rows.t(), deltas).t()
    return library.transposed(product(library.transposed(rows), deltas)).float()


def _factor(library: CompiledRNN, rows: Tensor) -> Tensor:
    """Return rows as the large products take them: in their precision, and their number."""
    count = padded_rows(len(rows), library.dtype)
    return filled_up(rows, count, library.dtype).contiguous()


def _rows_apart(like: Tensor, width: int) -> Tensor:
    """Return new memory of so many rows as another tensor has, for columns read row after row.

    Where rows are a multiple of 2 KB apart, the same column of all of them competes for a few
    places of the CPU's innermost cache: there each row gets a line of the cache more.
    """
    items_of_line, items_of_2kb = 64 // like.itemsize, 2048 // like.itemsize
    wider = width + items_of_line if width % items_of_2kb == 0 else width
    return like.new_empty(len(like), wider)[:, :width]
