"""The compiled layers against the loops in Python."""

import ctypes

import pytest
import torch
from recurrence import layers_of, taken

from sentiment.data.packed_layout import PackedLayout
from sentiment.nn import native_library, rnn_choice, rnn_cpu
from sentiment.nn.compiled_rnn import CompiledRNN
from sentiment.nn.native_library import NotCompiledError
from sentiment.nn.packed_rnn import GATES, PackedRNN


@pytest.fixture
def layers():
    return layers_of(torch.float32)


@pytest.fixture(scope="module", params=["tiles", "pairs"])
def in_bfloat16(request, tmp_path_factory):
    """The layers in bfloat16, by AMX's tiles and without them."""
    capabilities = torch.cpu.get_capabilities()
    needed = "amx_bf16" if request.param == "tiles" else "avx512_bf16"
    if not capabilities.get(needed):
        pytest.skip(f"this CPU has no {needed}")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "pairs":
            options = (*native_library.OPTIONS, "-mno-amx-bf16", "-mno-amx-tile")
            patch.setattr(native_library, "OPTIONS", options)
        try:
            library = native_library.load_library("BFLOAT16")
        except NotCompiledError as error:
            pytest.skip(str(error))
    layers = CompiledRNN(library, torch.bfloat16)
    if request.param == "tiles" and not layers.by_tiles:
        pytest.skip("AMX can't be used: the compiler or the kernel has none")
    assert layers.by_tiles == (request.param == "tiles")
    return layers


def case(cell, lengths, size, hidden, directions):
    """Inputs, weights and the outputs' gradient of a layer."""
    torch.manual_seed(hidden)
    layout = PackedLayout.of(torch.tensor(lengths))
    wide = hidden * GATES[cell]
    shapes = (wide, size), (wide, hidden), (wide,), (wide,)
    weights = [[torch.randn(shape) / hidden**0.5 for shape in shapes] for _ in range(directions)]
    weights = [[weight.requires_grad_() for weight in own] for own in weights]
    inputs = torch.randn(layout.rows, size, requires_grad=True)
    return layout, inputs, weights, torch.randn(layout.rows, directions, hidden)


def by_library(layers, cell, layout, inputs, weights):
    reverse = layout.reversed_index if len(weights) == 2 else None
    return layers.layer(cell, inputs, layout.sizes, reverse, weights)


def otherwise(cell, layout, inputs, weights):
    """The loops in Python, or torch's LSTM."""
    read = [inputs, inputs[layout.reversed_index]][: len(weights)]
    if cell != "lstm":
        loops = rnn_cpu.gru if cell == "gru" else rnn_cpu.rnn
        return loops(read, layout.sizes, weights, torch.float32)
    start = [inputs.new_zeros(1, layout.sequences, weights[0][1].shape[1])] * 2
    sizes, options = torch.tensor(layout.sizes), (True, 1, 0.0, True, False)
    runs = zip(read, weights, strict=True)
    return torch.stack([torch.lstm(rows, sizes, start, own, *options)[0] for rows, own in runs], 1)


def with_gradients(outputs, inputs, weights, gradient):
    leaves = [inputs, *(weight for own in weights for weight in own)]
    return [outputs.detach(), *torch.autograd.grad(outputs, leaves, gradient)]


def compared(layers, cell, hidden, directions):
    """Outputs and gradients of a layer of many sequences, each with what the other way gives."""
    layout, inputs, weights, gradient = case(cell, LENGTHS, 4, hidden, directions)
    ours = by_library(layers, cell, layout, inputs, weights)
    theirs = otherwise(cell, layout, inputs, weights)
    pairs = zip(
        with_gradients(ours, inputs, weights, gradient),
        with_gradients(theirs, inputs, weights, gradient),
        strict=True,
    )
    for value, expected in pairs:
        assert value.shape == expected.shape
        yield value, expected


# Whole tiles and every rest of one, sequences of a second and third block, steps of a single row.
LENGTHS = [
    *[18] * 2,
    *[16] * 3,
    15,
    14,
    13,
    12,
    11,
    10,
    *[9] * 3,
    8,
    *[7] * 17,
    *[6] * 8,
    *[4] * 28,
    1,
]


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("hidden", [1, 5, 16, 17, 32, 47, 64, 100, 128])
def test_outputs_and_gradients_are_those_of_the_other_way(layers, cell, directions, hidden):
    for value, expected in compared(layers, cell, hidden, directions):
        scale = expected.abs().max()
        assert (value - expected).abs().max() < rnn_choice.TOLERANCE[torch.float32] / 3 * scale


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("hidden", [1, 5, 16, 17, 32, 47, 64, 100, 256])
def test_in_bfloat16_they_differ_by_roundings(in_bfloat16, cell, directions, hidden):
    for value, expected in compared(in_bfloat16, cell, hidden, directions):
        assert value.dtype == torch.float32
        error = (value - expected) / expected.abs().max()
        # A float of bfloat16 has 8 bits: what is added up over 18 steps loses few of them.
        assert error.abs().max() < 3e-2
        assert error.numel() < 100 or error.square().mean().sqrt() < 6e-3


@pytest.mark.parametrize("shape", [(1, 1), (31, 3), (32, 2), (70, 33), (128, 64)])
def test_a_matrix_whose_rows_are_apart_is_transposed(in_bfloat16, shape):
    torch.manual_seed(0)
    rows, columns = shape
    wide = torch.randn(rows, columns + 5).bfloat16()
    for matrix in (wide[:, 2 : columns + 2], wide[:, :columns].contiguous()):
        transposed = in_bfloat16.transposed(matrix)
        assert transposed.is_contiguous()
        assert torch.equal(transposed, matrix.t())


@pytest.mark.parametrize("cell", GATES)
def test_in_bfloat16_the_same_is_computed_again_to_the_bit(in_bfloat16, cell):
    layout, inputs, weights, gradient = case(cell, [40] * 33 + [9, 9, 8, 4, 1], 4, 96, 2)
    first, second = (
        with_gradients(
            by_library(in_bfloat16, cell, layout, inputs, weights), inputs, weights, gradient
        )
        for _ in range(2)
    )
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("cell", GATES)
def test_in_bfloat16_a_sequence_has_the_same_states_alone_and_in_a_batch(in_bfloat16, cell):
    lengths = [60, 41, 41, 40, 33, 12, 9, 3, 1]
    layout, inputs, weights, _ = case(cell, lengths, 6, 48, 2)
    with torch.no_grad():
        together = by_library(in_bfloat16, cell, layout, inputs, weights)
        for sequence, length in enumerate(lengths):
            rows = layout.sequence == sequence
            own = PackedLayout.of(torch.tensor([length]))
            alone = by_library(in_bfloat16, cell, own, inputs[rows], weights)
            torch.testing.assert_close(alone, together[rows], rtol=0, atol=2e-2)


@pytest.mark.parametrize("cell", GATES)
def test_in_bfloat16_what_is_not_a_number_stays_so(in_bfloat16, cell):
    layout, inputs, weights, gradient = case(cell, [3, 3, 2], 4, 20, 1)
    changed = inputs.detach().clone()
    changed[1] = torch.nan
    changed.requires_grad_()
    states = by_library(in_bfloat16, cell, layout, changed, weights)
    assert states[[1, 4, 7]].isnan().all()
    (of_inputs,) = torch.autograd.grad(states, changed, gradient)
    assert of_inputs[[1, 4, 7]].isnan().all()


@pytest.mark.parametrize("cell", GATES)
def test_the_same_is_computed_again_to_the_bit(layers, cell):
    layout, inputs, weights, gradient = case(cell, [9, 9, 8, 4, 1], 4, 32, 2)
    first, second = (
        with_gradients(by_library(layers, cell, layout, inputs, weights), inputs, weights, gradient)
        for _ in range(2)
    )
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("cell", GATES)
def test_gradients_of_one_value_for_all_rows_and_of_weights_alone(layers, cell):
    layout, inputs, weights, _ = case(cell, [5, 3], 4, 8, 2)
    inputs.requires_grad_(False)
    by_library(layers, cell, layout, inputs, weights).sum().backward()
    ours = [weight.grad.clone() for own in weights for weight in own]
    for own in weights:
        for weight in own:
            weight.grad = None
    otherwise(cell, layout, inputs, weights).sum().backward()
    for value, weight in zip(ours, (w for own in weights for w in own), strict=True):
        torch.testing.assert_close(value, weight.grad)
    assert inputs.grad is None


@pytest.mark.parametrize("cell", GATES)
def test_backward_may_run_twice(layers, cell):
    layout, inputs, weights, gradient = case(cell, [5, 3], 4, 8, 2)
    outputs = by_library(layers, cell, layout, inputs, weights)
    first = torch.autograd.grad(outputs, inputs, gradient, retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(outputs, inputs, gradient)[0])


def test_sigmoid_and_tanh_are_right_to_a_millionth(layers):
    values = torch.cat([torch.linspace(-20, 20, 40_001), torch.tensor([-1e30, -200, 200, 1e30])])
    layout, inputs = PackedLayout.of(torch.ones(len(values), dtype=torch.int64)), values[:, None]
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    tanh = by_library(layers, "rnn", layout, inputs, [[one, zero, zero[0], zero[0]]])
    assert (tanh.flatten() - values.double().tanh()).abs().max() < 1e-6
    # h' = (1 - z) n from a zero state: with n = tanh(20) = 1 that is sigmoid(-x).
    w_ih, biases = torch.tensor([[0.0], [-1.0], [0.0]]), torch.tensor([0.0, 0.0, 20.0])
    ours = [[w_ih, zero.expand(3, 1), biases, torch.zeros(3)]]
    sigmoid = by_library(layers, "gru", layout, inputs, ours).flatten()
    assert (sigmoid - values.double().sigmoid()).abs().max() < 1e-6


@pytest.mark.parametrize("cell", GATES)
def test_what_is_not_a_number_stays_so(layers, cell):
    layout, inputs, weights, _ = case(cell, [3, 3, 2], 4, 20, 1)
    inputs = inputs.detach().clone()
    inputs[1] = torch.nan
    states = by_library(layers, cell, layout, inputs, weights)
    assert states[[1, 4, 7]].isnan().all()
    assert not states[[0, 2, 3, 5, 6]].isnan().any()


@pytest.mark.parametrize("cell", GATES)
def test_a_sequence_has_the_same_states_alone_and_in_a_batch(cell):
    torch.manual_seed(0)
    module = PackedRNN(cell, 6, 32, 2, True)
    lengths = torch.tensor([60, 41, 41, 40, 33, 12, 9, 3, 1])
    layout = PackedLayout.of(lengths)
    inputs = torch.randn(layout.rows, 6)
    with taken("compiled"), torch.no_grad():
        together = module(inputs, layout)
        for sequence, length in enumerate(lengths):
            rows = layout.sequence == sequence
            alone = module(inputs[rows], PackedLayout.of(length[None]))
            assert (alone - together[rows]).abs().max() < 1e-6


def test_a_library_without_the_functions_is_named():
    with pytest.raises(NotCompiledError, match="rnn_forward"):
        CompiledRNN(ctypes.CDLL(None))
