"""Pooling over each sequence's own steps, its values and gradients, against plain torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.data.packed_layout import PackedLayout
from sentiment.nn.pooling import POOLINGS

BY_HAND = {
    "last": lambda rows: rows[-1],
    "max": lambda rows: rows.max(dim=0).values,
    "mean": lambda rows: rows.mean(dim=0),
}


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_values_and_gradients(pooling, lengths, seed):
    torch.manual_seed(seed)
    layout = PackedLayout.of(torch.tensor(sorted(lengths, reverse=True)))
    outputs = torch.randn(layout.rows, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(layout.sequences, 3, dtype=torch.float64)
    pooled = POOLINGS[pooling](outputs, layout)
    (gradient,) = torch.autograd.grad((pooled * weight).sum(), outputs)
    rows = [outputs[layout.sequence == b] for b in range(layout.sequences)]
    expected = torch.stack([BY_HAND[pooling](own) for own in rows])
    torch.testing.assert_close(pooled, expected)
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), outputs)
    torch.testing.assert_close(gradient, expected_gradient)


def test_of_equal_maxima_one_gets_the_gradient():
    outputs = torch.ones(4, 1, requires_grad=True)
    POOLINGS["max"](outputs, PackedLayout.of(torch.tensor([4]))).sum().backward()
    assert outputs.grad.flatten().tolist() == [1, 0, 0, 0]
