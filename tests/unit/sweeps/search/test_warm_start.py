"""Trials of an earlier sweep, told to a study."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from toy_search import run_alone, search_over, study_in
from toy_space import TOY

from sweeps.config import SAMPLERS
from sweeps.search.preview import first_suggestions
from sweeps.search.warm_start import PastTrial, WarmStart, warm_start


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def past_trial(source: str, outcome: str = "completed", **changes: Any) -> PastTrial:
    taken = {
        "cell": "gru",
        "dropout": "0.3",
        "hidden_dim": "64",
        "learning_rate": "0.001",
        "optimizer": "adam",
        "pooling": "max",
        "seed": "99",
        **changes,
    }
    values = {100: 0.7, 200: 0.8}
    value = 0.85 if outcome == "completed" else None
    return PastTrial(source, taken, outcome, value, values)


def test_past_trials_are_told_before_the_first_suggestion(storage):
    study = study_in(storage)
    past = [
        past_trial("one"),
        past_trial("two", "out_of_time", optimizer="sgd", momentum="0.5"),
        past_trial("outside", hidden_dim="512"),
        past_trial("fixed-differently", pooling="last"),
        past_trial("not-in-the-space", batch_size="8"),
        PastTrial("no-value", past_trial("x").settings, "completed", None, {}),
        PastTrial("nan", past_trial("x").settings, "completed", math.nan, {}),
        PastTrial("no-evaluation", past_trial("x").settings, "stopped_early"),
    ]
    assert warm_start(study, past, TOY) == WarmStart(used=2, skipped=6)
    one, two = study.trials
    assert (one.state, one.value) == (TrialState.COMPLETE, 0.85)
    assert (two.state, two.value) == (TrialState.PRUNED, 0.8)
    assert two.user_attrs == {"source": "two", "ended_by": "time budget"}
    assert one.intermediate_values == two.intermediate_values == {100: 0.7, 200: 0.8}
    assert one.params == {
        "cell": "gru",
        "dropout": 0.3,
        "hidden_dim": 64,
        "learning_rate": 0.001,
        "optimizer": "adam",
    }
    assert two.params == {**one.params, "optimizer": "sgd", "momentum": 0.5}

    configs = run_alone(search_over(study, 3))
    assert [config["trial"] for config in configs] == [0, 1, 2]
    assert [trial.user_attrs.get("trial") for trial in study.trials] == [None, None, 0, 1, 2]

    # A resumed sweep asks for the same, and gets on with its own numbers.
    again = study_in(storage)
    assert warm_start(again, past, TOY) == WarmStart(used=2, skipped=6)
    assert len(again.trials) == 5
    assert run_alone(search_over(again, 4))[0]["trial"] == 3


LEARN_NOTHING = ("random", "nsga2")
"""Samplers whose suggestions do not depend on the trials before."""


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_takes_past_trials(sampler):
    past = [
        past_trial(str(number), "completed" if number % 2 else "stopped_early", dropout=number / 60)
        for number in range(30)
    ]
    study = study_in(None, sampler=sampler)
    assert warm_start(study, past, TOY) == WarmStart(used=30, skipped=0)
    assert len(run_alone(search_over(study, 4))) == 4
    shown = first_suggestions(TOY, sampler, 1, 2, past=past)
    again = first_suggestions(TOY, sampler, 1, 2, past=past)
    assert shown == again
    assert (shown == first_suggestions(TOY, sampler, 1, 2)) == (sampler in LEARN_NOTHING)
