"""GRU and tanh RNN on the CPU: one layer, one direction, with a backward pass of our own.

torch's loops over these cells record every step for autograd: many small products and
allocations, and the activations of each kept. Here a forward step is one product and a few
element-wise operations into buffers made once, all factors of the backward pass that don't depend
on the incoming gradient are computed for all steps together, and the gradients of weights and
inputs are one large product each.

Shapes: T steps, B sequences, E features, H hidden units. Products are computed in `dtype`
(float32, float64 or bfloat16); states and gates are kept in the inputs' own precision.

The cells are those of torch: Elman (1990) for the RNN; for the GRU Cho et al. (2014,
arXiv:1406.1078) with the reset gate after the product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rnn(inputs: Tensor, weights: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Run h' = tanh(W x + b + V h + c) from a zero state.

    Args:
        inputs: (T, B, E).
        weights: W (H, E), V (H, H), b (H,), c (H,).
        dtype: precision of the products.

    Returns:
        The states after each step, (T, B, H).
    """
    return _RNN.apply(inputs, *weights, dtype)


def gru(inputs: Tensor, weights: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Run torch's GRU cell from a zero state.

    With r, z = sigmoid(W x + b + V h + c), n = tanh(W x + b + r (V h + c)), each with its own
    rows of the weights, h' = n + z (h - n).

    Args:
        inputs: (T, B, E).
        weights: W (3H, E), V (3H, H), b (3H,), c (3H,), their rows in torch's order r, z, n.
        dtype: precision of the products.

    Returns:
        The states after each step, (T, B, H).
    """
    return _GRU.apply(inputs, *weights, dtype)


class _RNN(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        steps, batch, _ = inputs.shape
        flat = inputs.reshape(steps * batch, -1).to(dtype)
        projected = _project(flat, w_ih.to(dtype), b_ih + b_hh).view(steps, batch, -1)
        states = projected.new_empty(steps + 1, batch, w_hh.shape[0])
        states[0] = 0
        product = _Product(w_hh.t(), dtype, batch)
        gates, slots = projected.unbind(0), states.unbind(0)
        for t in range(steps):
            torch.add(gates[t], product(slots[t]), out=slots[t + 1]).tanh_()
        ctx.dtype = dtype
        ctx.save_for_backward(flat, w_ih, w_hh, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flat, w_ih, w_hh, states = ctx.saved_tensors
        steps, batch, hidden = gradient.shape
        slopes = (1 - states[1:] * states[1:]).unbind(0)
        deltas = states.new_empty(steps, batch, hidden)
        product = _Product(w_hh, ctx.dtype, batch)
        incoming, rows = gradient.unbind(0), deltas.unbind(0)
        torch.mul(incoming[-1], slopes[-1], out=rows[-1])
        for t in range(steps - 2, -1, -1):
            torch.add(incoming[t], product(rows[t + 1]), out=rows[t]).mul_(slopes[t])
        delta = deltas.view(steps * batch, hidden).to(ctx.dtype)
        before = states[:-1].reshape(steps * batch, hidden).to(ctx.dtype)
        bias = deltas.sum(dim=(0, 1))
        return (
            _input_gradient(ctx, delta, w_ih, (steps, batch, -1)),
            (delta.t() @ flat).to(w_ih.dtype),
            (delta.t() @ before).to(w_hh.dtype),
            bias,
            bias,
            None,
        )


class _GRU(torch.autograd.Function):
    """Rows are kept in the order z, r, n rather than torch's r, z, n.

    So the deltas n, z, r, r n lie side by side: the first three belong to the inputs, the last
    three to the states, and each is one block for the products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        steps, batch, _ = inputs.shape
        hidden = w_hh.shape[1]
        flat = inputs.reshape(steps * batch, -1).to(dtype)
        bias = b_ih.clone()
        bias[: 2 * hidden] += b_hh[: 2 * hidden]
        projected = _project(flat, _nzr(w_ih).to(dtype), _nzr(bias))
        projected = projected.view(steps, batch, 3 * hidden)
        product = _Product(_zrn(w_hh).t(), dtype, batch)
        gates = projected.new_empty(steps, batch, 2 * hidden)
        recurrent = projected.new_empty(steps, batch, hidden)
        candidates = projected.new_empty(steps, batch, hidden)
        states = projected.new_empty(steps + 1, batch, hidden)
        states[0] = 0
        b_hn = b_hh[2 * hidden :]
        given_n, given_zr = projected.split([hidden, 2 * hidden], dim=2)
        given_ns, given_zrs = given_n.unbind(0), given_zr.unbind(0)
        zrs, hns, ns, hs = (x.unbind(0) for x in (gates, recurrent, candidates, states))
        update, reset = (x.unbind(0) for x in gates.split(hidden, dim=2))
        for t in range(steps):
            both, own = product(hs[t]).split([2 * hidden, hidden], dim=1)
            torch.add(given_zrs[t], both, out=zrs[t]).sigmoid_()
            torch.add(own, b_hn, out=hns[t])
            torch.addcmul(given_ns[t], reset[t], hns[t], out=ns[t]).tanh_()
            torch.lerp(ns[t], hs[t], update[t], out=hs[t + 1])
        ctx.dtype = dtype
        ctx.save_for_backward(flat, w_ih, w_hh, gates, recurrent, candidates, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flat, w_ih, w_hh, gates, recurrent, candidates, states = ctx.saved_tensors
        steps, batch, hidden = gradient.shape
        update, reset = gates.split(hidden, dim=2)
        before = states[:-1]
        # d n = dh A_n, d z = dh A_z; then d r = d n A_r and d (V h + c) = d n r.
        from_state = torch.stack(
            [
                (1 - update) * (1 - candidates * candidates),
                (before - candidates) * update * (1 - update),
            ],
            dim=2,
        )
        from_candidate = torch.stack([recurrent * reset * (1 - reset), reset], dim=2)
        deltas = states.new_empty(steps, batch, 4, hidden)
        product = _Product(_zrn(w_hh), ctx.dtype, batch)
        carried = torch.zeros_like(states[0])
        incoming, updates = gradient.unbind(0), update.unbind(0)
        first, second = (x.unbind(0) for x in deltas.split(2, dim=2))
        by_state, by_candidate = from_state.unbind(0), from_candidate.unbind(0)
        recurrent_deltas = deltas.view(steps, batch, 4 * hidden)[:, :, hidden:].unbind(0)
        for t in range(steps - 1, -1, -1):
            carried += incoming[t]
            torch.mul(carried.unsqueeze(1), by_state[t], out=first[t])
            torch.mul(first[t][:, :1], by_candidate[t], out=second[t])
            carried.mul_(updates[t]).add_(product(recurrent_deltas[t]))
        rows = deltas.view(steps * batch, 4 * hidden)
        sums = rows.sum(dim=0)
        rows = rows.to(ctx.dtype)
        of_inputs, of_states = rows[:, : 3 * hidden], rows[:, hidden:]
        past = before.reshape(steps * batch, hidden).to(ctx.dtype)
        return (
            _input_gradient(ctx, of_inputs, _nzr(w_ih), (steps, batch, -1)),
            _from_nzr((of_inputs.t() @ flat).to(w_ih.dtype)),
            _from_zrn((of_states.t() @ past).to(w_hh.dtype)),
            _from_nzr(sums[: 3 * hidden]),
            _from_zrn(sums[hidden:]),
            None,
        )


class _Product:
    """A step's product with one matrix, into a buffer that the next step reuses."""

    def __init__(self, matrix: Tensor, dtype: torch.dtype, batch: int) -> None:
        self._matrix = matrix.to(dtype)
        self._result = self._matrix.new_empty(batch, matrix.shape[1])
        self._convert = matrix.dtype != dtype
        self._operand = self._matrix.new_empty(batch, matrix.shape[0])

    def __call__(self, rows: Tensor) -> Tensor:
        if self._convert:
            rows = self._operand.copy_(rows)
        return torch.mm(rows, self._matrix, out=self._result)


def _project(flat: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return flat @ weight' + bias in the bias's precision."""
    return (flat @ weight.t()).to(bias.dtype).add_(bias)


def _input_gradient(
    ctx: Any, delta: Tensor, weight: Tensor, shape: tuple[int, int, int]
) -> Tensor | None:
    if not ctx.needs_input_grad[0]:
        return None
    return (delta @ weight.to(delta.dtype)).to(weight.dtype).view(shape)


def _nzr(rows: Tensor) -> Tensor:
    """Order torch's r, z, n as n, z, r."""
    r, z, n = rows.chunk(3)
    return torch.cat([n, z, r])


def _zrn(rows: Tensor) -> Tensor:
    """Order torch's r, z, n as z, r, n."""
    r, z, n = rows.chunk(3)
    return torch.cat([z, r, n])


def _from_nzr(rows: Tensor) -> Tensor:
    """Order n, z, r as torch's r, z, n."""
    n, z, r = rows.chunk(3)
    return torch.cat([r, z, n])


def _from_zrn(rows: Tensor) -> Tensor:
    """Order z, r, n as torch's r, z, n."""
    z, r, n = rows.chunk(3)
    return torch.cat([r, z, n])
