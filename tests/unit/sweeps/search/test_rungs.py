"""Rungs of successive halving."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment.errors import InputError
from sweeps.search.rungs import TURNS, plan_rungs, plan_turns


@given(epochs=st.floats(0.05, 200), examples=st.integers(10, 100_000))
@example(epochs=0.5, examples=10)
@example(epochs=3.0, examples=17_500)
def test_the_first_rung_is_well_under_an_epoch_and_evaluated(epochs, examples):
    rungs = plan_rungs(epochs, examples)
    assert 1 <= rungs.first <= max(1, 0.4 * examples)
    # One is due at half the interval and at every multiple of it, so at or after each rung.
    assert rungs.evaluations["early_evaluations"] == 1
    interval = examples / rungs.evaluations["evaluations_per_epoch"]
    for rung in rungs.milestones:
        due = max(1, math.ceil(rung / interval - 1e-6)) * interval
        if rung == rungs.first:
            due = interval / 2
        assert rung == 1 or -1e-6 < due - rung < 1 + 1e-6
    assert list(rungs.milestones) == sorted(set(rungs.milestones))
    assert rungs.milestones[-1] <= max(1, rungs.budget)


def test_the_default_budget():
    rungs = plan_rungs(3, 17_500)
    assert rungs.milestones == (6562, 13125, 26250)
    assert (rungs.budget, rungs.evaluations_per_epoch) == (52_500, pytest.approx(4 / 3))
    with pytest.raises(InputError, match="--max-epochs"):
        plan_rungs(0, 10)


def test_trials_of_few_texts_are_compared_after_some_steps():
    # Of 1,000 texts; the sweeps of earlier versions had two rungs more before that.
    rungs = plan_rungs(8, 1_000, first_rung=1_000)
    assert rungs.milestones == (1_000, 2_000, 4_000)
    assert rungs.evaluations_per_epoch == 0.5
    assert plan_rungs(8, 1_000).milestones == (250, 500, 1_000, 2_000, 4_000)
    # Three rungs there are in any case, and of many texts it changes nothing.
    assert plan_rungs(1.5, 1_000, first_rung=1_000) == plan_rungs(1.5, 1_000)
    assert plan_rungs(6, 17_500, first_rung=1_000) == plan_rungs(6, 17_500)


def test_turns_of_a_population_are_of_equal_length():
    rungs = plan_turns(1.5, 1_000)
    assert rungs.milestones == (187, 375, 562, 750, 937, 1_125, 1_312)
    assert (rungs.budget, len(rungs.milestones)) == (1_500, TURNS - 1)
    assert rungs.evaluations == {"evaluations_per_epoch": TURNS / 1.5, "early_evaluations": 0}
    assert rungs.mean_examples("pbt") == 1_500
    assert rungs.describe("pbt") == (
        "after every 187 examples the weakest quarter continue from the weights of the best"
    )
    with pytest.raises(InputError, match="--max-epochs 0"):
        plan_turns(0, 1_000)


def test_turns_of_very_few_texts_are_a_text_at_least():
    assert plan_turns(1, 3).milestones == (1, 2)
