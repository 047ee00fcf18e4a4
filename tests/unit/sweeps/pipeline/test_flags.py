"""A field of the settings is a flag, with its default, its text and its checks."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from sentiment.errors import InputError
from sweeps.config import TRIALS, SweepSettings, default_epochs
from sweeps.launch import _parser
from sweeps.pipeline.flags import read_settings

LATENCY = ["--objective", "valid/accuracy", "--objective", "latency"]


def settings_of(*arguments: str) -> SweepSettings:
    return read_settings(_parser().parse_args(arguments))


def test_without_flags_the_settings_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    assert settings_of() == SweepSettings(trials=TRIALS)


@pytest.mark.parametrize(
    ("texts", "epochs"), [(17_500, 1.5), (5_970, 1.5), (4_200, 2), (1_000, 8), (700, 12), (42, 40)]
)
def test_trials_of_few_texts_have_more_epochs(texts: int, epochs: float) -> None:
    assert default_epochs(texts) == epochs


def test_every_setting_can_be_given() -> None:
    flags = vars(_parser().parse_args([]))
    # Flags of their own: those of `DataConfig`, --set, and a second --objective.
    apart = {"data", "overrides", "further_objectives", "first_rung"}
    assert {setting.name for setting in fields(SweepSettings)} - apart <= set(flags)


def test_values_have_the_type_of_their_field() -> None:
    settings = settings_of(
        *("--trials", "3", "--gpus-per-trial", "0.5", "--time-budget", "30m", "--baselines"),
        *("--sampler", "gp", "--language", "de", "--set", "cell=gru"),
    )
    assert (settings.trials, settings.gpus_per_trial, settings.time_budget) == (3, 0.5, 1800.0)
    assert (settings.baselines, settings.sampler) == (True, "gp")
    assert settings.overrides == {"cell": "gru", "language": "de"}


def test_objectives_and_limits_are_kept_with_a_sweep_that_has_several() -> None:
    several = settings_of(*LATENCY, "--limit", "latency=5ms", "--objective", "parameters")
    assert (several.objective, several.further_objectives) == (
        "valid/accuracy",
        ("latency", "parameters"),
    )
    again = SweepSettings.from_json(several.to_json())
    assert again.objectives == several.objectives
    assert [str(limit) for limit in again.objectives.limits] == ["latency=5ms"]
    one = settings_of("--objective", "valid/f1")
    assert one.objectives.names == ("valid/f1",)
    assert {"further_objectives", "limit"}.isdisjoint(json.loads(one.to_json()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials 0: give 1 or more"),
        (["--keep-models", "-1"], "--keep-models -1: give 0 or more"),
        (["--scheduler", "ash"], "--scheduler ash: there is no such scheduler; .*asha"),
        (["--trial-timeout", "soon"], "--trial-timeout soon: give a time such as 90"),
        (["--sampler", "nsga2"], "--sampler nsga2: it is for several objectives"),
        ([*LATENCY, "--sampler", "cmaes"], "--sampler cmaes: it has one objective"),
        (
            [*LATENCY, "--sampler", "nsga2", "--warm-start", "first"],
            "--warm-start with --sampler nsga2: its population is of this sweep",
        ),
        (
            [*LATENCY, "--limit", "latency=5ms", "--ensemble", "3"],
            "--ensemble 3: an ensemble costs what its members cost together",
        ),
        (["--limit", "latency=5ms"], "latency is no objective of the sweep; add --objective"),
    ],
)
def test_a_wrong_value_is_reported_with_its_flag(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_of(*arguments)
