"""Importances of hyperparameters where trials differ in few of them, or in none."""

from types import SimpleNamespace

import pytest
from toy_space import TOY

from sweeps.analysis.importance import LEAST_TRIALS, importances
from sweeps.analysis.sweep_data import Budget

VALUES = {number: 0.8 + 0.01 * number for number in range(LEAST_TRIALS)}
SAME = {"cell": "gru", "dropout": 0.1, "hidden_dim": 64, "learning_rate": 0.01}


def found_of(settings):
    """Return the importances among trials of these settings, the later the better."""
    record = SimpleNamespace(
        trials=[SimpleNamespace(key=number) for number in VALUES],
        settings_of=lambda trial: settings[trial.key],
        space=TOY,
        sign=1,
    )
    return importances(record, Budget("full budget", 100, VALUES))


def test_trials_of_the_same_settings_say_nothing():
    assert found_of([SAME] * LEAST_TRIALS) is None


def test_the_only_one_that_varies_matters_alone():
    settings = [{**SAME, "dropout": 0.6 - 0.05 * number} for number in VALUES]
    found = found_of(settings)
    assert found.variance["dropout"] == pytest.approx(1)
    assert found.best["dropout"] == max(found.best.values())
    assert found.conditional == []


def test_one_that_only_some_have_is_judged_by_the_best():
    settings = [{**SAME, **({"momentum": 0.1 * number} if number > 4 else {})} for number in VALUES]
    found = found_of(settings)
    assert found.variance == {}
    assert sum(found.best.values()) == pytest.approx(1)
    assert "momentum" in found.conditional
