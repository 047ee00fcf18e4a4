from __future__ import annotations

import argparse

import pytest

from sentiment import cli
from sentiment.tracking.experiment import default_experiment, experiment_flag


def experiment_of(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    cli.add_store_arguments(parser)
    return str(parser.parse_args(arguments).experiment)


def test_mlflow_s_variable_names_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    assert (default_experiment(), experiment_of()) == ("sentiment", "sentiment")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "reviews")
    assert (default_experiment(), experiment_of()) == ("reviews", "reviews")
    assert experiment_of("--experiment", "sentiment") == "sentiment"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    assert experiment_of() == "sentiment"


def test_printed_commands_find_the_experiment_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    assert experiment_flag("sentiment") == ""
    assert experiment_flag("my reviews") == " --experiment 'my reviews'"
    # The next command may be typed in another shell.
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "reviews")
    assert experiment_flag("reviews") == " --experiment reviews"
    assert experiment_flag("sentiment") == " --experiment sentiment"
