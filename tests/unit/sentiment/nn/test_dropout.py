"""Dropout: the share that becomes zero, the scale of the rest, and its gradient."""

from __future__ import annotations

import pytest
import torch

from sentiment.nn.dropout import dropout


@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.95])
def test_the_share_is_dropped_and_the_mean_stays(share: float) -> None:
    torch.manual_seed(0)
    count = 400_000
    dropped = dropout(torch.ones(count), share)
    values = dropped.unique().tolist()
    assert values == pytest.approx([0.0, 1 / (1 - share)], rel=1e-3)
    # Four standard deviations of a share of so many independent draws.
    noise = 4 * (share * (1 - share) / count) ** 0.5
    assert float((dropped == 0).double().mean()) == pytest.approx(share, abs=noise)
    assert float(dropped.double().mean()) == pytest.approx(1, abs=noise / (1 - share))


def test_each_part_of_a_random_number_is_as_random() -> None:
    """Neighbours share a number, yet one's fate says nothing of another's."""
    torch.manual_seed(1)
    dropped = (dropout(torch.ones(100_000, 4), 0.3) == 0).double()
    torch.testing.assert_close(
        dropped.mean(dim=0), torch.full((4,), 0.3, dtype=torch.float64), atol=6e-3, rtol=0
    )
    torch.testing.assert_close(
        torch.corrcoef(dropped.T), torch.eye(4, dtype=torch.float64), atol=0.015, rtol=0
    )


def test_the_gradient_passes_what_was_kept() -> None:
    values = torch.randn(3, 5, 7, requires_grad=True)
    dropped = dropout(values, 0.4)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    torch.testing.assert_close(dropped, values * gradient)
    assert gradient.unique().tolist() == pytest.approx([0.0, 1 / 0.6], rel=1e-4)


def test_nothing_is_dropped_in_evaluation_or_at_no_share() -> None:
    values = torch.randn(5, 3)
    assert dropout(values, 0.5, training=False) is values
    assert dropout(values, 0.0) is values


def test_a_seed_gives_the_same_mask() -> None:
    values = torch.ones(1_001)
    torch.manual_seed(7)
    first = dropout(values, 0.5)
    state = torch.get_rng_state()
    second = dropout(values, 0.5)
    torch.manual_seed(7)
    assert torch.equal(dropout(values, 0.5), first)
    torch.set_rng_state(state)
    assert torch.equal(dropout(values, 0.5), second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("share", [0.999999, 1 - 1e-12])
def test_a_share_just_below_one_drops_nearly_all_and_stays_finite(share: float) -> None:
    dropped = dropout(torch.ones(10_000), share)
    assert torch.isfinite(dropped).all()
    assert int((dropped != 0).sum()) < 10


def test_the_values_keep_their_precision() -> None:
    dropped = dropout(torch.ones(64, dtype=torch.bfloat16), 0.5)
    assert dropped.dtype == torch.bfloat16
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
