"""When a search is flat, and that it ends then, also where it is resumed."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher
from toy_search import BUDGET, METRIC, evaluation, search_over, study_in

from sweeps.search.flatness import LEAST_TRIALS, Flatness, FlatnessRule, expected_best
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker

RULE = FlatnessRule("valid/accuracy", texts=2_500)
"""A quarter of the standard error of 0.8 on so many texts is 0.002."""


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.data())
def test_the_expected_best_is_the_mean_over_all_choices(
    values: list[float], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(values)))
    chosen = itertools.combinations(values, count)
    expected = statistics.mean(max(each) for each in chosen)
    assert expected_best(sorted(values), count) == pytest.approx(expected)


def test_a_search_is_flat_where_many_are_near_the_best() -> None:
    near = RULE.judge([0.7, 0.8 - 1e-4] * 17 + [0.8, 0.7])
    assert near.is_flat
    assert near.noise == pytest.approx(0.002)
    assert 0 < near.gain <= 1e-4
    # It stands alone: half of the halves miss it.
    alone = RULE.judge([0.8] + [0.7] * 35)
    assert alone.gain == pytest.approx(0.05)
    assert not alone.is_flat


def test_a_search_is_not_flat_while_its_second_half_gains() -> None:
    """As where a sampler has just learnt where the best are, of which it then finds many."""
    found = RULE.judge([0.7] * 18 + [0.8] * 18)
    assert found.gain == pytest.approx(0.1)
    assert RULE.judge([0.7] * 18 + [0.8] * 20).is_flat


def test_a_search_is_not_flat_before_it_has_learnt() -> None:
    assert not RULE.judge([0.8] * (LEAST_TRIALS - 1)).is_flat
    assert RULE.judge([0.8] * LEAST_TRIALS).is_flat
    assert not RULE.judge([]).is_flat
    assert RULE.judge([0.8]).gain == math.inf


def test_of_a_loss_a_hundredth_counts() -> None:
    rule = FlatnessRule("valid/loss", texts=2_500)
    found = rule.judge([0.4, 0.3, 0.3005] * 12)
    assert found.noise == pytest.approx(0.003)
    assert 0 <= found.gain < 0.003
    assert not rule.judge([0.3] + [0.4] * 35).is_flat


def test_what_ended_a_search_is_said() -> None:
    text = Flatness("valid/accuracy", 26, 0.00123, 0.0023).sentence(50)
    assert text.startswith("The search was flat after 26 of 50 trials: ")
    assert "0.0012 valid/accuracy" in text
    assert "0.0023" in text


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def run(search: OptunaSearcher, prefix: str, value: float = 0.8) -> int:
    """Stand in for Ray: let every trial reach a value; return how many ran."""
    for count in itertools.count():
        if search.suggest(f"{prefix}-{count}") == Searcher.FINISHED:
            return count
        search.on_trial_complete(f"{prefix}-{count}", evaluation(value, BUDGET, finished=True))
    raise AssertionError


def test_a_flat_search_starts_no_more_and_stays_flat_when_it_is_resumed(storage: str) -> None:
    first = search_over(study_in(storage), 60, until_flat=RULE)
    assert run(first, "a") == LEAST_TRIALS
    assert first.flatness == Flatness(METRIC, LEAST_TRIALS, 0.0, pytest.approx(0.002))
    again = search_over(study_in(storage), 60, until_flat=RULE)
    assert run(again, "b") == 0
    assert again.flatness == first.flatness
    # Without the rule the others run.
    assert run(search_over(study_in(storage), 60), "c") == 60 - LEAST_TRIALS


def test_trials_that_run_when_a_search_is_flat_are_finished_and_retried(tmp_path: Path) -> None:
    attempts = RetryTracker(Storage(tmp_path), retries=1)
    search = search_over(study_in(None), 60, until_flat=RULE, attempts=attempts)
    running: dict[str, Any] = {name: search.suggest(name) for name in ("x", "y")}
    for count in range(LEAST_TRIALS):
        assert isinstance(search.suggest(str(count)), dict)
        search.on_trial_complete(str(count), evaluation(0.8, BUDGET, finished=True))
    assert search.suggest("z") is None  # what runs may fail and start again
    assert search.flatness is not None
    search.on_trial_complete("x", error=True)
    again = search.suggest("z")
    assert isinstance(again, dict)
    assert again["trial"] == running["x"]["trial"]
    for name in ("y", "z"):
        search.on_trial_complete(name, evaluation(0.9, BUDGET, finished=True))
    assert search.suggest("last") == Searcher.FINISHED
    assert len(search.ended()) == LEAST_TRIALS + 2
