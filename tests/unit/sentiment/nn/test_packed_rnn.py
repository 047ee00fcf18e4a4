"""Our recurrent layers against torch's own modules on a PackedSequence."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrence import WAYS, taken
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from sentiment.data.packed_layout import PackedLayout
from sentiment.nn.packed_rnn import FEW_STEPS, PackedRNN

TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def pair(cell, size, hidden, layers, bidirectional, dtype=torch.float32, few_steps=0):
    """Our layers and torch's with the same weights; ours by the kernels of large batches."""
    torch.manual_seed(7)
    ours = PackedRNN(cell, size, hidden, layers, bidirectional).to(dtype)
    ours.few_steps = few_steps
    theirs = TORCH[cell](size, hidden, layers, bidirectional=bidirectional).to(dtype)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def outputs_of_ours(ours, inputs, lengths):
    """(T, B, D * H) in time order, zero after a sequence's end."""
    layout = PackedLayout.of(lengths)
    packed = pack_padded_sequence(inputs, lengths)
    outputs = ours(packed.data, layout)
    parts = [outputs[:, 0]]
    if ours.directions == 2:
        parts.append(outputs[:, 1][layout.reversed_index])
    rows = PackedSequence(torch.cat(parts, dim=1), packed.batch_sizes)
    return pad_packed_sequence(rows, total_length=len(inputs))[0]


def outputs_of_torch(theirs, inputs, lengths):
    packed = pack_padded_sequence(inputs, lengths)
    return pad_packed_sequence(theirs(packed)[0], total_length=len(inputs))[0]


def assert_agree(ours, theirs, lengths, size, tolerance=1e-5):
    """Outputs and all gradients agree relative to the largest value of each tensor."""
    lengths = torch.tensor(sorted(lengths, reverse=True))
    torch.manual_seed(3)
    data = torch.randn(int(lengths[0]), len(lengths), size)
    results = []
    for module, run in ((ours, outputs_of_ours), (theirs, outputs_of_torch)):
        module.zero_grad()
        inputs = data.clone().requires_grad_()
        outputs = run(module, inputs, lengths)
        weight = torch.linspace(-1, 1, outputs.numel()).view_as(outputs)
        (outputs * weight).sum().backward()
        gradients = {name: p.grad for name, p in module.named_parameters()}
        results.append({"outputs": outputs.detach(), "inputs": inputs.grad, **gradients})
    for name, value in results[0].items():
        expected = results[1][name]
        scale = expected.abs().max().clamp(min=1e-6)
        assert (value - expected).abs().max() / scale < tolerance, name


@pytest.mark.parametrize("cell", TORCH)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("few_steps", "way"), [(0, "compiled"), (0, "python"), (FEW_STEPS, "python")]
)
@pytest.mark.parametrize(
    ("layers", "lengths"),
    [(1, [9, 7, 7, 3, 1]), (2, [6, 6, 6]), (3, [5]), (1, [1]), (2, [1, 1, 1]), (3, [12, 1])],
)
def test_agrees_with_torch_packed(cell, bidirectional, few_steps, way, layers, lengths):
    ours, theirs = pair(cell, 5, 8, layers, bidirectional, few_steps=few_steps)
    with taken(way):
        assert_agree(ours, theirs, lengths, 5)


@settings(max_examples=25, deadline=None)
@given(
    cell=st.sampled_from(sorted(TORCH)),
    bidirectional=st.booleans(),
    layers=st.integers(1, 3),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=9),
    few_steps=st.sampled_from([0, FEW_STEPS]),
    way=st.sampled_from(WAYS),
)
def test_agrees_with_torch_packed_on_random_lengths(
    cell, bidirectional, layers, lengths, few_steps, way
):
    ours, theirs = pair(cell, 3, 16, layers, bidirectional, few_steps=few_steps)
    with taken(way):
        assert_agree(ours, theirs, lengths, 3)


@pytest.mark.parametrize("cell", TORCH)
@pytest.mark.parametrize("way", WAYS)
def test_outputs_without_gradients_are_the_same(cell, way):
    ours, _ = pair(cell, 5, 8, 2, True)
    inputs, lengths = torch.randn(9, 3, 5), torch.tensor([9, 4, 1])
    with taken(way):
        with torch.no_grad():
            without = outputs_of_ours(ours, inputs, lengths)
        torch.testing.assert_close(without, outputs_of_ours(ours, inputs, lengths).detach())


@pytest.mark.parametrize("cell", TORCH)
def test_bfloat16_products_stay_close_to_float32(cell):
    ours, theirs = pair(cell, 20, 32, 2, True)
    ours.compute_dtype = torch.bfloat16
    assert_agree(ours, theirs, [30, 28, 11, 3], 20, tolerance=0.05)
    layout = PackedLayout.of(torch.tensor([4]))
    assert ours(torch.randn(4, 20), layout).dtype == torch.float32


@pytest.mark.parametrize("cell", TORCH)
def test_gradients_are_right_in_float64(cell):
    ours, _ = pair(cell, 2, 3, 2, True, torch.float64)
    layout = PackedLayout.of(torch.tensor([4, 2, 1]))
    inputs = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)

    def run(inputs, *weights):
        for name, weight in zip(names, weights, strict=True):
            setattr(ours, name, weight)
        return ours(inputs, layout)

    names, weights = zip(*ours.named_parameters(), strict=True)
    for name in names:
        delattr(ours, name)
    assert torch.autograd.gradcheck(run, (inputs, *weights), fast_mode=True)


@pytest.mark.parametrize("cell", TORCH)
@pytest.mark.parametrize(
    ("dtype", "way"),
    [
        (torch.float32, "compiled"),
        (torch.float32, "python"),
        (torch.bfloat16, "compiled"),
        (torch.bfloat16, "python"),
    ],
)
def test_large_products_agree_with_torch(cell, dtype, way):
    ours, theirs = pair(cell, 100, 128, 1, True)
    if dtype == torch.bfloat16:
        ours.compute_dtype = dtype
    lengths = [40] * 30 + [33] * 20 + [2] * 14
    with taken(way):
        assert_agree(ours, theirs, lengths, 100, tolerance=1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("cell", TORCH)
@pytest.mark.parametrize("way", WAYS)
def test_gradients_add_up_in_memory_of_their_own(cell, way):
    ours, _ = pair(cell, 4, 8, 1, True)
    layout = PackedLayout.of(torch.tensor([9, 7, 3]))
    inputs = torch.randn(layout.rows, 4)
    with taken(way):
        ours(inputs, layout).sum().backward()
        once = [p.grad.clone() for p in ours.parameters()]
        ours(inputs, layout).sum().backward()
    for parameter, gradient in zip(ours.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


def test_state_dict_has_torchs_names_and_shapes():
    ours, theirs = pair("gru", 4, 6, 3, True)
    expected = {name: value.shape for name, value in theirs.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected


def test_dropout_acts_between_layers_in_training_alone():
    torch.manual_seed(0)
    module = PackedRNN("lstm", 4, 8, 2, dropout=0.5)
    inputs, layout = torch.randn(10, 4), PackedLayout.of(torch.tensor([6, 4]))
    module.eval()
    assert torch.equal(module(inputs, layout), module(inputs, layout))
    module.train()
    assert not torch.equal(module(inputs, layout), module(inputs, layout))


def test_unknown_cell_is_named():
    with pytest.raises(ValueError, match="'qrnn'"):
        PackedRNN("qrnn", 2, 2)
