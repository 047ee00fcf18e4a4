"""A field of the settings is a flag, with its default, its text and its checks."""

from __future__ import annotations

from dataclasses import fields

import pytest

from sentiment.errors import InputError
from sweeps.config import TRIALS, SweepSettings
from sweeps.launch import _parser
from sweeps.pipeline.flags import read_settings


def settings_of(*arguments: str) -> SweepSettings:
    return read_settings(_parser().parse_args(arguments))


def test_without_flags_the_settings_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    assert settings_of() == SweepSettings(trials=TRIALS)


def test_every_setting_can_be_given() -> None:
    flags = vars(_parser().parse_args([]))
    apart = {"data", "overrides"}  # flags of their own: those of `DataConfig`, and --set
    assert {setting.name for setting in fields(SweepSettings)} - apart <= set(flags)


def test_values_have_the_type_of_their_field() -> None:
    settings = settings_of(
        *("--trials", "3", "--gpus-per-trial", "0.5", "--time-budget", "30m", "--baselines"),
        *("--sampler", "gp", "--language", "de", "--set", "cell=gru"),
    )
    assert (settings.trials, settings.gpus_per_trial, settings.time_budget) == (3, 0.5, 1800.0)
    assert (settings.baselines, settings.sampler) == (True, "gp")
    assert settings.overrides == {"cell": "gru", "language": "de"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials 0: give 1 or more"),
        (["--keep-models", "-1"], "--keep-models -1: give 0 or more"),
        (["--scheduler", "ash"], "--scheduler ash: there is no such scheduler; .*asha"),
        (["--trial-timeout", "soon"], "--trial-timeout soon: give a time such as 90"),
    ],
)
def test_a_wrong_value_is_reported_with_its_flag(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_of(*arguments)
