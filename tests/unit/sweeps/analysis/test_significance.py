from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.analysis.significance import Paired, mcnemar, p_value_text, wilson

counts = st.integers(0, 300)


def test_interval_is_the_published_one() -> None:
    # Response before and after consolidation therapy (Cavo et al. 2012), as given for this
    # interval by Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables.
    low, high = Paired(both=59, only_first=6, only_second=16, neither=80).interval()
    assert (low, high) == (pytest.approx(-0.1186, abs=5e-5), pytest.approx(-0.0046, abs=5e-5))


def test_p_value_by_hand() -> None:
    # Of 5 texts that one alone gets right, the first gets 4: 2 (C(5,0) + C(5,1)) / 32.
    assert Paired(both=3, only_first=4, only_second=1, neither=2).p_value() == pytest.approx(
        12 / 32
    )


def test_mcnemar_by_hand() -> None:
    # 9 texts that only the first gets right and 2 that only the second does:
    # twice the chance of 9 or more heads in 11 throws, 2 · (55 + 11 + 1) / 2^11.
    first = np.array([True] * 9 + [False] * 2 + [True] * 50)
    second = np.array([False] * 9 + [True] * 2 + [True] * 50)
    assert mcnemar(first, second) == pytest.approx(134 / 2048)
    assert mcnemar(second, first) == pytest.approx(134 / 2048)
    assert mcnemar(first, first) == 1.0


def test_counts_of_two_models() -> None:
    first, second = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 0, 1], bool)
    assert Paired.of(first, second) == Paired(both=2, only_first=1, only_second=1, neither=1)
    assert mcnemar(first, second) == 1.0
    with pytest.raises(ValueError, match="no pairs"):
        Paired.of(first, second[:3])


@given(counts, counts, counts, counts)
def test_interval_holds_the_difference_and_turns_with_the_models(a, b, c, d) -> None:
    if a + b + c + d == 0:
        return
    pair, turned = Paired(a, b, c, d), Paired(a, c, b, d)
    low, high = pair.interval()
    assert -1 - 1e-9 <= low <= pair.difference + 1e-12
    assert pair.difference - 1e-12 <= high <= 1 + 1e-9
    assert turned.interval() == pytest.approx((-high, -low), abs=1e-9)
    assert turned.p_value() == pytest.approx(pair.p_value())


def test_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    shares = np.array([0.83, 0.06, 0.04, 0.07])
    covered = 0
    for table in random.multinomial(600, shares, size=500):
        low, high = Paired(*map(int, table)).interval()
        covered += low <= shares[1] - shares[2] <= high
    assert 0.92 <= covered / 500 <= 0.98


def test_wilson_by_hand() -> None:
    # z = 1.96: (0.5 + z²/20) / (1 + z²/10), give or take z sqrt(0.025 + z²/400) / (1 + z²/10).
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


@pytest.mark.parametrize(
    ("p_value", "text", "named"),
    [
        (0.0, "< 0.001", "p < 0.001"),
        (0.000999, "< 0.001", "p < 0.001"),
        (0.001, "0.001", "p = 0.001"),
        (0.0124, "0.012", "p = 0.012"),
        (1.0, "1.000", "p = 1.000"),
    ],
)
def test_a_p_value_is_never_written_as_zero(p_value: float, text: str, named: str) -> None:
    assert p_value_text(p_value) == text
    assert p_value_text(p_value, named=True) == named
