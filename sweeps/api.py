"""Sweeps from Python: `sweeps.run`, and what a sweep of the record holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.console import Console

import sentiment
from sentiment.config import Config, likeliest
from sentiment.errors import InputError
from sentiment.tracking.store import read_store
from sentiment.tracking.store import tracking_uri as store_address
from sweeps.config import SweepSettings
from sweeps.objectives import Objectives
from sweeps.pipeline import sweep as pipeline
from sweeps.pipeline.flags import default_arguments, read_settings
from sweeps.pipeline.resume import CompleteError
from sweeps.pipeline.start import checked, end_complete, read_resumed
from sweeps.terminal import notify, sweep_console
from sweeps.tracking.queries import (
    TrialRecord,
    chosen_run,
    find_sweep,
    front_of,
    leaderboard,
    registered_run,
    trials_of,
)

if TYPE_CHECKING:
    from sentiment.inference.loaded_model import LoadedModel

_LISTS = ("data", "unlabelled", "text_column", "label_map", "objective", "limit")


@dataclass(frozen=True)
class Sweep:
    """A sweep of the record, finished or not, read when it is asked for.

    Attributes:
        name: the sweep's name.
        run: its run in MLflow.
        uri: address of the store.
        client: client of the store.
    """

    name: str
    run: Run = field(repr=False)
    uri: str
    client: MlflowClient = field(repr=False)

    @cached_property
    def trials(self) -> list[TrialRecord]:
        """All that the sweep ran: trials by number, then finalists, refit and baselines."""
        return trials_of(self.client, self.run)

    @property
    def best(self) -> TrialRecord:
        """The run that validation chose, or its refit or ensemble where there is one.

        Raises:
            InputError: no trial got as far as an evaluation.
        """
        objectives = self._objectives
        chosen = chosen_run(self.trials, objectives.first, objectives.limits)
        if chosen is None:
            within = f" within {', '.join(map(str, objectives.limits))}"
            raise InputError(
                f"the sweep {self.name} has no trial with an evaluation"
                f"{within if objectives.limits else ''}"
            )
        return registered_run(self.trials, chosen, objectives.limits)

    @property
    def front(self) -> list[TrialRecord]:
        """The Pareto front of the search's trials, the best by the first objective first.

        Of a sweep with one objective it is the best alone, and its equals.
        """
        return front_of(self.trials, self._objectives)

    def to_frame(self) -> pd.DataFrame:
        """Return the leaderboard, a row a run, the best trial first.

        Columns: rank, trial, role, outcome, metrics, hyperparameters, run_id, model_id.
        """
        return leaderboard(self.trials, self._objectives.first)

    def load(self) -> LoadedModel:
        """Load the best model, to predict with.

        Raises:
            InputError: there is none, or it was removed.
        """
        best = self.best
        if best.model_id is None:
            raise InputError(f"the model of {best.name} was removed")
        return sentiment.load(f"models:/{best.model_id}", self.uri)

    @property
    def _objectives(self) -> Objectives:
        return Objectives.of_run(self.run.data.params)


def run(
    *,
    resume: str | bool = False,
    overrides: Mapping[str, Any] | None = None,
    quiet: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> Sweep:
    """Run a sweep, or resume one, as `python -m sweeps.launch` does.

    Args:
        resume: the name of a sweep that was interrupted, or that is to have more trials; True for
            the newest. It keeps its settings: of the command's flags it takes those that go with
            `--resume`, such as `trials`, `time_budget` and `tracking_uri`.
        overrides: hyperparameters fixed for all trials, as by `--set`.
        quiet: show no live view of the trials.
        console: where to print; standard output, or the cell of a notebook, if None.
        settings: the command's flags, with underscores: `trials=8`, `data="reviews.csv"`,
            `time_budget="30m"`, `finalists=2`; of several values a list:
            `objective=["valid/accuracy", "latency"]`.

    Raises:
        InputError: a setting is unknown or wrong, or does not fit the machine, data or store; or
            the sweep to resume is not there, is running, or has all of its trials.
        sweeps.errors.SweepError: the sweep failed.
        sweeps.tracking.outbox.RecordError: what happened can't be written to the store.
        KeyboardInterrupt: after what ran has been recorded as interrupted.
    """
    arguments = _arguments(settings, resume)
    chosen = _settings(arguments, overrides or {})
    console = console or sweep_console()
    resumed = None
    try:
        if arguments.resume is not None:
            arguments.set = [f"{name}={value}" for name, value in (overrides or {}).items()]
            resumed = read_resumed(arguments, vars(default_arguments()))
            chosen = resumed.settings
        with checked(chosen, console, quiet, resumed) as context:
            name = pipeline.run(context).name
    except CompleteError as complete:
        notify(console, end_complete(complete, arguments.as_challenger)[0])
        chosen, name = complete.settings, str(complete.settings.name)
    return load(name, chosen.tracking_uri, chosen.experiment)


def load(
    name: str | None = None, tracking_uri: str | None = None, experiment: str = "sentiment"
) -> Sweep:
    """Return a sweep of the record.

    Args:
        name: its name; the newest, if None.
        tracking_uri: the MLflow store; MLflow's own default, if None.
        experiment: the experiment in which it was recorded.

    Raises:
        InputError: there is no such sweep, or the store can't be opened.
    """
    uri = store_address(tracking_uri)
    client = read_store(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise InputError(f"experiment {experiment!r}: the store has none of that name")
    sweep = find_sweep(client, [found.experiment_id], name)
    return Sweep(sweep.data.tags["sweep.name"], sweep, uri, client)


def _arguments(given: Mapping[str, Any], resume: str | bool) -> argparse.Namespace:
    """Return what the command's parser would have made of the same settings.

    Raises:
        InputError: one is unknown, or the name of the sweep to resume is empty.
    """
    arguments = default_arguments()
    known = [name for name in vars(arguments) if name != "set"]
    for name, value in given.items():
        if name not in known:
            raise InputError(f"unknown setting {name!r}: {likeliest(name, known)}")
        setattr(arguments, name, _as_parsed(name, value))
    if resume == "":
        raise InputError("resume='': give the name of a sweep, or True for the newest")
    arguments.resume = "" if resume is True else resume or None
    return arguments


def _settings(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> SweepSettings:
    """Return the settings of the command line that says the same.

    Raises:
        InputError: one is wrong.
    """
    settings = read_settings(arguments)
    Config.from_flat(overrides)
    return replace(settings, overrides={**settings.overrides, **overrides})


def _as_parsed(name: str, value: Any) -> Any:
    """Return a value as a parser of the command line would have made it."""
    if name in _LISTS and value is not None:
        return (
            [str(value)]
            if isinstance(value, str) or not isinstance(value, Iterable)
            else [str(each) for each in value]
        )
    if name in ("time_budget", "trial_timeout") and value is not None:
        return str(value)
    return value
