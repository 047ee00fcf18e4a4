"""Names of sweeps: which ones are allowed, and a new one for a sweep that was given none."""

from __future__ import annotations

import re
from datetime import datetime

from mlflow import MlflowClient

from sentiment.errors import InputError
from sweeps.tracking.queries import sweep_run

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def check_sweep_name(name: str) -> None:
    """Check a name that becomes part of folders and commands.

    Raises:
        InputError: it holds something other than letters, digits and `._-`, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name {name!r}: use up to 80 letters, digits, dots, dashes and underscores, "
            "the first of them a letter or a digit"
        )


def check_name_is_new(client: MlflowClient, experiment_id: str, name: str) -> None:
    """Check that no sweep of the experiment has a name.

    Raises:
        InputError: one has it.
    """
    if sweep_run(client, [experiment_id], name) is not None:
        raise InputError(
            f"--name {name}: there is a sweep of that name; resume it by --resume {name}, "
            "or name another"
        )


def new_sweep_name(
    client: MlflowClient, experiment_id: str, dataset: str, now: datetime | None = None
) -> str:
    """Return a name that no sweep of the experiment has: the data set, the date and the time."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset).strip("-._")[:40] or "sweep"
    stem = f"{stem}-{now or datetime.now():%Y%m%d-%H%M%S}"
    name, count = stem, 1
    while sweep_run(client, [experiment_id], name) is not None:
        count += 1
        name = f"{stem}-{count}"
    return name
