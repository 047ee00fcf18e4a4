"""GRU and tanh RNN on the CPU: a layer in one or both directions, by loops of our own.

torch's loops over these cells record every step for autograd: many small products and
allocations, and the activations of each kept. Here a step is one product a direction and a few
element-wise operations on rows that are still in the CPU's caches, into buffers made once, and
what need not go step by step is one large product: the input projection, and the gradients of
inputs and weights. Both directions go in one loop, each over rows in its own reading order.

Shapes: T steps, N rows in packed order (see `layout`), D directions, E features, H hidden units,
B sequences. Products are computed in `dtype` (float32, float64 or bfloat16); states and gates are
kept in the inputs' own precision.

The cells are those of torch: Elman (1990) for the RNN; for the GRU Cho et al. (2014,
arXiv:1406.1078) with the reset gate after the product. tanh is computed as 2 sigmoid(2x) - 1,
which torch does several times faster; the factor 2 is in the weights of the projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sentiment.nn.matmul import StepProducts, affine, product


def rnn(
    inputs: Sequence[Tensor],
    sizes: Sequence[int],
    weights: Sequence[Sequence[Tensor]],
    dtype: torch.dtype,
) -> Tensor:
    """Run h' = tanh(W x + b + V h + c) from a zero state.

    Args:
        inputs: (N, E), one a direction.
        sizes: rows of each step, falling, N in all.
        weights: of each direction W (H, E), V (H, H), b (H,), c (H,).
        dtype: precision of the products.

    Returns:
        The states after each step, (N, D, H).
    """
    return _RNN.apply(sizes, dtype, len(inputs), *inputs, *(w for own in weights for w in own))


def gru(
    inputs: Sequence[Tensor],
    sizes: Sequence[int],
    weights: Sequence[Sequence[Tensor]],
    dtype: torch.dtype,
) -> Tensor:
    """Run torch's GRU cell from a zero state.

    With r, z = sigmoid(W x + b + V h + c), n = tanh(W x + b + r (V h + c)), each with its own
    rows of the weights, h' = n + z (h - n).

    Args:
        inputs: (N, E), one a direction.
        sizes: rows of each step, falling, N in all.
        weights: of each direction W (3H, E), V (3H, H), b (3H,), c (3H,), their rows in torch's
            order r, z, n.
        dtype: precision of the products.

    Returns:
        The states after each step, (N, D, H).
    """
    return _GRU.apply(sizes, dtype, len(inputs), *inputs, *(w for own in weights for w in own))


class _RNN(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, sizes: Sequence[int], dtype: torch.dtype, directions: int, *tensors: Tensor
    ) -> Tensor:
        inputs, weights = _by_direction(directions, tensors)
        flat = [given.to(dtype) for given in inputs]
        recurrent = [own[1] for own in weights]
        gates = inputs[0].new_empty(len(inputs[0]), directions, recurrent[0].shape[1])
        for d, (w_ih, _, b_ih, b_hh) in enumerate(weights):
            affine(flat[d], 2 * w_ih.t().to(dtype), 2 * (b_ih + b_hh), out=gates[:, d])
        states = torch.empty_like(gates)
        kept, minus_one = _operands(states, dtype), states.new_tensor(-1.0)
        steps = _zip(_steps(gates, sizes), _steps(states, sizes), _steps(kept, sizes))
        targets, before = _steps(gates, sizes), _shrunk(_steps(kept, sizes), sizes)
        with StepProducts([2 * matrix.t() for matrix in recurrent], dtype, sizes[0]) as products:
            for t, (gate, state, operand) in enumerate(steps):
                if t:
                    products.add_to(targets[t], before[t])
                torch.sigmoid(gate, out=state)
                _to_tanh(state, minus_one)
                _convert(state, operand)
        ctx.sizes, ctx.directions = sizes, directions
        ctx.save_for_backward(*flat, *tensors[directions:], states, kept)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, states, kept = ctx.saved_tensors
        sizes, directions = ctx.sizes, ctx.directions
        flat, weights = _by_direction(directions, tensors)
        deltas = torch.empty_like(kept)
        working = _steps(_working(deltas, states, sizes), sizes)
        operands = _steps(deltas, sizes)
        steps = _zip(_steps(gradient, sizes), _steps(states, sizes), working, operands)
        targets = _shrunk(working, sizes)
        slope = torch.ops.aten.tanh_backward.grad_input
        with StepProducts([own[1] for own in weights], kept.dtype, sizes[0]) as products:
            for t in range(len(sizes) - 1, -1, -1):
                incoming, state, delta, operand = steps[t]
                delta.copy_(incoming)
                if t + 1 < len(sizes):
                    products.add_to(targets[t + 1], operands[t + 1])
                slope(delta, state, grad_input=delta)
                _convert(delta, operand)
        biases = deltas.sum(dim=0, dtype=states.dtype)
        inputs, parameters = [], []
        for d, (w_ih, w_hh, _, _) in enumerate(weights):
            delta = deltas[:, d]
            inputs.append(_input_gradient(ctx, d, delta, w_ih))
            parameters += [
                _weight_gradient(delta, flat[d], w_ih),
                _recurrent_gradient(delta, kept[:, d], w_hh, sizes),
                # Memory of its own for each: gradients are clipped and added to in place.
                biases[d],
                biases[d].clone(),
            ]
        return (None, None, None, *inputs, *parameters)


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, sizes: Sequence[int], dtype: torch.dtype, directions: int, *tensors: Tensor
    ) -> Tensor:
        inputs, weights = _by_direction(directions, tensors)
        flat = [given.to(dtype) for given in inputs]
        hidden = weights[0][1].shape[1]
        gates = inputs[0].new_empty(len(inputs[0]), directions, 3 * hidden)
        for d, (w_ih, _, b_ih, b_hh) in enumerate(weights):
            # Only the candidate's recurrent bias stays inside the loop: the reset gate scales it.
            bias = torch.cat([b_ih[:-hidden] + b_hh[:-hidden], b_ih[-hidden:]])
            matrix = _doubled(w_ih, hidden).t().to(dtype)
            affine(flat[d], matrix, _doubled(bias, hidden), out=gates[:, d])
        candidate_bias = torch.stack([own[3][-hidden:] for own in weights])
        recurrent = gates.new_empty(len(gates), directions, hidden)
        states = torch.empty_like(recurrent)
        kept, minus_one = _operands(states, dtype), states.new_tensor(-1.0)
        parts = (gates[..., : 2 * hidden], *gates.split(hidden, dim=2), recurrent, states, kept)
        steps = _zip(*(_steps(part, sizes) for part in parts))
        before = _shrunk(_steps(kept, sizes), sizes)
        last = _shrunk(_steps(states, sizes), sizes)
        matrices = [own[1].t() for own in weights]
        with StepProducts(matrices, dtype, sizes[0]) as products:
            for t, (both, r, z, n, hn, state, operand) in enumerate(steps):
                if t:
                    result = products(before[t])
                    both += result[..., : 2 * hidden]
                    torch.add(result[..., 2 * hidden :], candidate_bias, out=hn)
                else:
                    hn.copy_(candidate_bias.expand_as(hn))
                both.sigmoid_()
                _to_tanh(n.addcmul_(r, hn, value=2).sigmoid_(), minus_one)
                if t:
                    torch.lerp(n, last[t], z, out=state)
                else:
                    torch.addcmul(n, n, z, value=-1, out=state)
                _convert(state, operand)
        ctx.sizes, ctx.directions = sizes, directions
        ctx.save_for_backward(*flat, *tensors[directions:], gates, recurrent, states, kept)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, gates, recurrent, states, kept = ctx.saved_tensors
        sizes, directions, hidden = ctx.sizes, ctx.directions, states.shape[2]
        flat, weights = _by_direction(directions, tensors)
        # Side by side: the deltas of n, r, z, which are the inputs', then r, z, r n: the states'.
        deltas = kept.new_empty(len(kept), directions, 4 * hidden)
        working = _working(deltas, states, sizes)
        parts = (
            gradient,
            gates[..., : 2 * hidden],
            *gates.split(hidden, dim=2),
            recurrent,
            working[..., hidden : 3 * hidden],
            *working.split(hidden, dim=2),
            working,
            deltas,
        )
        steps = _zip(*(_steps(part, sizes) for part in parts))
        before = _shrunk(_steps(states, sizes), sizes)
        operands = _steps(deltas[..., hidden:], sizes)
        # What passes from a step to the one before; zero for sequences that end there.
        carried, passed = states.new_zeros(2, sizes[0], directions, hidden).unbind()
        both_carried = _steps(carried, sizes), _steps(passed, sizes)
        tanh_slope = torch.ops.aten.tanh_backward.grad_input
        sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
        with StepProducts([own[1] for own in weights], kept.dtype, sizes[0]) as products:
            for t in range(len(sizes) - 1, -1, -1):
                incoming, both, r, z, n, hn, d_both, dn, dr, dz, dp, row, operand = steps[t]
                d_state, to_pass = both_carried[t % 2][t], both_carried[(t + 1) % 2][t]
                d_state += incoming
                torch.mul(d_state, z, out=to_pass)
                torch.sub(d_state, to_pass, out=dn)
                tanh_slope(dn, n, grad_input=dn)
                torch.mul(dn, hn, out=dr)
                torch.mul(dn, r, out=dp)
                if t:
                    torch.sub(before[t], n, out=dz).mul_(d_state)
                else:
                    torch.mul(n, d_state, out=dz).neg_()
                sigmoid_slope(d_both, both, grad_input=d_both)
                _convert(row, operand)
                if t:
                    products.add_to(to_pass, operands[t])
        sums = deltas.sum(dim=0, dtype=states.dtype)
        inputs, parameters = [], []
        for d, (w_ih, w_hh, _, _) in enumerate(weights):
            of_inputs, of_states = deltas[:, d, : 3 * hidden], deltas[:, d, hidden:]
            inputs.append(_input_gradient(ctx, d, of_inputs, w_ih.roll(hidden, 0)))
            parameters += [
                _weight_gradient(of_inputs, flat[d], w_ih).roll(-hidden, 0),
                _recurrent_gradient(of_states, kept[:, d], w_hh, sizes),
                sums[d, : 3 * hidden].roll(-hidden),
                sums[d, hidden:],
            ]
        return (None, None, None, *inputs, *parameters)


def _by_direction(
    directions: int, tensors: Sequence[Tensor]
) -> tuple[Sequence[Tensor], list[Sequence[Tensor]]]:
    """Part the inputs from each direction's four weights."""
    weights = tensors[directions:]
    return tensors[:directions], [weights[4 * d : 4 * d + 4] for d in range(directions)]


def _steps(rows: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
    """Cut rows into each step's; a buffer for one step serves every one."""
    if len(rows) != sizes[0] or len(sizes) == 1:
        return rows.split(sizes)
    prefixes = {size: rows[:size] for size in set(sizes)}
    return [prefixes[size] for size in sizes]


def _shrunk(steps: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
    """Return the rows of the step before each whose sequences continue; the first has none."""
    pairs = zip(steps, sizes[1:], strict=False)
    return [steps[0][:0], *(rows if len(rows) == size else rows[:size] for rows, size in pairs)]


def _zip(*lists: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    return list(zip(*lists, strict=True))


def _operands(states: Tensor, dtype: torch.dtype) -> Tensor:
    """Return where the states are kept in the precision of the products."""
    return states if dtype == states.dtype else torch.empty_like(states, dtype=dtype)


def _working(deltas: Tensor, states: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return rows to compute deltas in: their own, or one step's where they are kept reduced."""
    if deltas.dtype == states.dtype:
        return deltas
    return states.new_empty(sizes[0], *deltas.shape[1:])


def _convert(rows: Tensor, operand: Tensor) -> None:
    """Fill an operand of the products from rows, unless it is those rows."""
    if operand.dtype != rows.dtype:
        operand.copy_(rows)


def _to_tanh(values: Tensor, minus_one: Tensor) -> None:
    """Turn sigmoid(2x) into tanh(x), in place."""
    torch.add(minus_one, values, alpha=2, out=values)


def _doubled(rows: Tensor, hidden: int) -> Tensor:
    """Double the last `hidden` rows, the candidate's."""
    return torch.cat([rows[:-hidden], 2 * rows[-hidden:]])


def _input_gradient(ctx: Any, direction: int, delta: Tensor, weight: Tensor) -> Tensor | None:
    if not ctx.needs_input_grad[3 + direction]:
        return None
    return product(delta, weight.to(delta.dtype)).to(weight.dtype)


def _weight_gradient(delta: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """Return delta' @ rows in the weight's precision; its transpose is the faster product."""
    return product(rows.t(), delta).t().to(weight.dtype)


def _recurrent_gradient(
    delta: Tensor, states: Tensor, weight: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Return the sum of delta' h over all steps but the first, h being the state before."""
    first = sizes[0]
    if sizes[-1] == first:
        before = states[: len(states) - first]
    else:
        counts = torch.tensor(sizes)
        distance = counts[:-1].repeat_interleave(counts[1:])
        before = states[torch.arange(first, len(states)) - distance]
    return _weight_gradient(delta[first:], before, weight)
