"""The start of a sweep, from a command or from Python: a new one, or one that is resumed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from rich.console import Console

from sentiment import cli
from sentiment.errors import InputError
from sentiment.tracking.store import read_store, tracking_uri
from sweeps.config import PLACES, SweepSettings
from sweeps.execution.ray_cluster import joined_ray
from sweeps.pipeline.checks import check
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.flags import seconds_of
from sweeps.pipeline.resume import CompleteError, ResumedSweep, load_sweep
from sweeps.registry import versions
from sweeps.registry.challenger import ChallengerState, move_challenger
from sweeps.workspace import STATE_FOLDER

RESUMABLE = (
    "resume",
    "trials",
    "time_budget",
    "address",
    "storage",
    "study_storage",
    "as_challenger",
    "tracking_uri",
    "experiment",
    "notify",
    "dry_run",
    "quiet",
    "json",
)
"""Flags that go with --resume; a resumed sweep keeps its other settings."""


def read_resumed(args: argparse.Namespace, defaults: Mapping[str, Any]) -> ResumedSweep:
    """Read the sweep that `--resume` names, with the settings that this start changes.

    Args:
        args: what was parsed or given; `resume` is the sweep's name, empty for the newest.
        defaults: what is parsed of an empty command line.

    Raises:
        InputError: there is no such sweep, it is running, its study is gone, or a setting is given
            that a resumed sweep can't change.
        CompleteError: it has all the trials that it is to have.
        RecordError: what its outbox holds can't be written to the store.
    """
    for name, value in vars(args).items():
        if name not in RESUMABLE and value != defaults[name]:
            flag = cli.as_typed(f"--{name.replace('_', '-')}", value)
            raise InputError(f"{flag}: a resumed sweep keeps its own; leave it out")
    resumed = load_sweep(
        read_store(tracking_uri(args.tracking_uri)),
        args.experiment,
        args.tracking_uri,
        STATE_FOLDER,
        args.resume or None,
        args.trials,
        seconds_of("time_budget", args.time_budget),
        {name: getattr(args, name) for name in ("address", *PLACES)},
    )
    asked = resumed.settings.as_challenger or args.as_challenger
    # Trials that are asked for by their number all run.
    until_flat = resumed.settings.until_flat and args.trials is None
    settings = replace(
        resumed.settings, as_challenger=asked, notify=args.notify, until_flat=until_flat
    )
    return replace(resumed, settings=settings)


@contextmanager
def checked(
    settings: SweepSettings, console: Console, quiet: bool, resumed: ResumedSweep | None
) -> Iterator[SweepContext]:
    """Join the cluster of the settings, if they name one, and check them; see `check`."""
    with nullcontext() if settings.address is None else joined_ray(settings.address):
        yield check(settings, console, quiet, resumed)


def end_complete(
    complete: CompleteError, as_challenger: bool
) -> tuple[str, ChallengerState | None]:
    """Do what is left of a sweep that has no trial to run.

    Args:
        complete: what was raised when it was to be resumed.
        as_challenger: whether its winner is to be the challenger.

    Returns:
        What was done, in a line, and the state of the challenger if that was asked for.

    Raises:
        CompleteError: there was nothing to do.
    """
    if as_challenger and complete.finished:
        return make_challenger(complete.settings)
    if not complete.delivered:
        raise complete
    return "the store has the whole record now; no trial was left to do", None


def make_challenger(settings: SweepSettings) -> tuple[str, ChallengerState]:
    """Make the winner of a finished sweep the challenger; return a line on it, and its state."""
    client, name = read_store(tracking_uri(settings.tracking_uri)), settings.model_name
    number = versions.find_candidate(client, name, sweep=settings.name).version
    version = client.get_model_version(name, str(number))
    state = move_challenger(client, name, version, settings.objective, forced=True)
    return f"no trial was left to do; version {number} of {name}{state.sentence()}", state
