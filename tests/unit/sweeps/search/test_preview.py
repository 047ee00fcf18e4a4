"""The next trials, shown before they run."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_search import METRIC, run_alone, search_over, study_in
from toy_space import TOY

from sweeps.config import SAMPLERS
from sweeps.search.preview import first_suggestions


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_contract_first_suggestions_are_the_first_trials(sampler):
    shown = first_suggestions(TOY, sampler, 11, 5)
    search = search_over(study_in(None, sampler=sampler, seed=11), 5)
    for number, taken in enumerate(shown):
        config = search.suggest(f"ray-{number}")
        assert config == {**taken, "trial": number, "seed": 7 + number}


def test_next_suggestions_follow_those_of_the_study(storage):
    """What a resumed search starts with is what the plan of the resume has shown."""
    run_alone(search_over(study_in(storage), 14))
    before = study_in(storage).get_trials()
    shown = first_suggestions(TOY, "tpe", 1234, 2, METRIC, before=before)
    resumed = search_over(study_in(storage), 16)
    for number, suggestion in enumerate(shown, start=14):
        config = resumed.suggest(f"again-{number}")
        assert config["trial"] == number
        assert {name: config[name] for name in suggestion} == suggestion
    assert shown != first_suggestions(TOY, "tpe", 1234, 2, METRIC)


def test_a_trial_that_was_being_suggested_at_a_kill_is_shown_first(storage):
    study = study_in(storage)
    study.enqueue_trial({"cell": "gru", "hidden_dim": 64})
    search_over(study, 9).suggest("a")
    study_in(storage).ask()
    before = study_in(storage).get_trials()
    shown = first_suggestions(TOY, "tpe", 1234, 3, METRIC, before=before)
    resumed = search_over(study_in(storage), 9)
    assert resumed.suggest("again")["trial"] == 0
    for number, suggestion in enumerate(shown, start=1):
        config = resumed.suggest(f"again-{number}")
        assert config["trial"] == number
        assert {name: config[name] for name in suggestion} == suggestion
