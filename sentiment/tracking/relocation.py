"""Moved and copied SQLite stores: their records name artifacts by absolute paths.

MLflow resolves the location of an experiment against the current folder when it makes it, and
every run and model repeats it. After a move the paths lead nowhere; after a copy they lead to the
files of the original. `check_location` recognises such a store, `relocate` corrects it.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sentiment.errors import InputError
from sentiment.tracking.database import sqlite_read_only
from sentiment.tracking.provenance import is_alive

ARTIFACTS = "mlruns"
"""The folder beside a database that holds its artifacts."""

_LOCATIONS = (
    ("experiments", "artifact_location", "experiments"),
    ("runs", "artifact_uri", "runs"),
    ("logged_models", "artifact_location", "models"),
    ("model_versions", "storage_location", "registered versions"),
    ("model_versions", "source", ""),
    ("trace_tags", "value", ""),
)
"""Table and column of each path, and what its rows are called; the same rows have one name."""
_SAMPLE = 20
_BUSY_SECONDS = 30.0


@dataclass(frozen=True)
class Displacement:
    """A store whose record names artifacts under another folder than its own.

    Attributes:
        database: the store's file.
        recorded: the folder under whose `mlruns/` the record looks for artifacts.
        original: whether the store of which this one is a copy is still there.
    """

    database: Path
    recorded: Path
    original: bool

    @property
    def folder(self) -> Path:
        """The folder in which the database lies."""
        return self.database.parent


@dataclass(frozen=True)
class _Experiment:
    id: str
    name: str
    path: Path
    created: int | None

    @property
    def folder(self) -> Path:
        """The folder beside whose database the experiment was made."""
        return self.path.parent.parent


def check_location(database: Path) -> None:
    """Check that a store's record names the artifacts beside it.

    Args:
        database: an SQLite store.

    Raises:
        InputError: it was moved or copied since it was written.
    """
    found = displacement(database)
    if found is None:
        return
    what = (
        f"is a copy of the store in {found.recorded} and still names the files there"
        if found.original
        else f"was moved from {found.recorded}, and still looks for its files there"
    )
    at = Path.cwd() / database.name
    flag = "" if at == database and database.name == "mlflow.db" else _store_flag(database)
    raise InputError(f"{database} {what}: correct it by python -m sweeps.clean --relocate{flag}")


def displacement(database: Path) -> Displacement | None:
    """Return whether a store was moved or copied since its record was written.

    It was if the recorded folder is gone, if artifacts of its runs lie beside the database, or if
    the recorded folder holds the same experiment in a database of the same name.

    Args:
        database: an SQLite store.

    Raises:
        sqlite3.Error: it can't be read.
    """
    address = sqlite_read_only(database)
    with closing(sqlite3.connect(address, timeout=_BUSY_SECONDS, uri=True)) as connection:
        for experiment in _experiments(connection):
            folder = experiment.folder
            if _same(folder, database.parent):
                continue
            ids = _artifact_ids(connection, experiment.id)
            # MLflow makes its experiment Default in whatever folder it is first run.
            if experiment.id == "0" and not ids:
                continue
            original = _holds(folder / database.name, experiment)
            here = database.parent / ARTIFACTS / experiment.path.name
            if original or not _exists(folder) or any(_exists(here / part) for part in ids):
                return Displacement(database, folder, original)
    return None


def relocate(database: Path, *, dry_run: bool = False) -> dict[str, int]:
    """Let a moved or copied store's record name the artifacts beside it, in one transaction.

    Args:
        database: an SQLite store; `displacement` says whether it needs this.
        dry_run: count, but write nothing.

    Returns:
        How many experiments, runs, models and registered versions were corrected.

    Raises:
        InputError: a run of the store is being written, artifacts are not beside it yet, or it
            can't be written.
    """
    counts: dict[str, int] = {}
    try:
        while found := displacement(database):
            for name, count in _relocated(found, dry_run).items():
                counts[name] = counts.get(name, 0) + count
            if dry_run:
                break
    except sqlite3.Error as error:
        raise InputError(
            f"{database} can't be corrected ({error}): if it is not yours to write, copy the whole "
            "folder to one of yours first"
        ) from error
    return counts


def _relocated(found: Displacement, dry_run: bool) -> dict[str, int]:
    old, new = found.recorded / ARTIFACTS, found.folder / ARTIFACTS
    counts: dict[str, int] = {}
    with closing(
        sqlite3.connect(found.database, timeout=_BUSY_SECONDS, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN" if dry_run else "BEGIN IMMEDIATE")
        _check_idle(connection, found.database)
        _check_files(connection, old, new)
        for table, column, called in _LOCATIONS:
            if not _has_column(connection, table, column):
                continue
            rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
            changes = [
                (after, row)
                for row, location in rows
                if (after := _moved(location, old, new)) is not None
            ]
            if not dry_run:
                connection.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", changes)
            if called and changes:
                counts[called] = len(changes)
        connection.execute("COMMIT")
    return counts


def _moved(location: str | None, old: Path, new: Path) -> str | None:
    """Return a location under `old` as one under `new`; None for any other location."""
    path = local_path(location)
    if location is None or path is None or not path.is_relative_to(old):
        return None
    moved = new / path.relative_to(old)
    return moved.as_uri() if location.startswith("file:") else str(moved)


def _check_idle(connection: sqlite3.Connection, database: Path) -> None:
    """Raise an InputError if a live process of this machine writes a run of the store."""
    rows = connection.execute(
        "SELECT runs.run_uuid, tags.key, tags.value FROM runs JOIN tags USING (run_uuid) "
        "WHERE runs.status = 'RUNNING' AND tags.key LIKE 'process.%'"
    )
    tags: dict[str, dict[str, str]] = {}
    for run_id, key, value in rows:
        tags.setdefault(run_id, {})[key] = value
    for run_id, process in tags.items():
        if is_alive(process):
            raise InputError(
                f"{database}: process {process['process.pid']} is writing the run {run_id}: wait "
                "for it, or end it first"
            )


def _check_files(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    """Raise an InputError if artifacts that are there under `old` are not there under `new`."""
    missing = []
    for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
        if not _has_column(connection, table, column):
            continue
        for (location,) in connection.execute(f"SELECT {column} FROM {table}"):
            path = local_path(location)
            if path is None or not path.is_relative_to(old) or not _exists(path):
                continue
            if not _exists(new / path.relative_to(old)):
                missing.append(path)
    if missing:
        raise InputError(
            f"artifacts of {len(missing)} runs and models are in {old} alone: copy them first "
            f"(cp -a {shlex.quote(str(old))} {shlex.quote(str(new.parent))})"
        )


def _experiments(connection: sqlite3.Connection) -> Iterator[_Experiment]:
    """Yield the active experiments whose artifacts lie in a folder `mlruns` of this machine."""
    if not _has_column(connection, "experiments", "artifact_location"):
        return
    created = _has_column(connection, "experiments", "creation_time")
    rows = connection.execute(
        f"SELECT experiment_id, name, artifact_location, {'creation_time' if created else 'NULL'} "
        "FROM experiments WHERE lifecycle_stage = 'active' ORDER BY experiment_id DESC"
    ).fetchall()
    for experiment_id, name, location, time in rows:
        path = local_path(location)
        if path is not None and path.parent.name == ARTIFACTS:
            yield _Experiment(str(experiment_id), name, path, time)


def _artifact_ids(connection: sqlite3.Connection, experiment_id: str) -> list[str]:
    """Return folders, within that of an experiment, of its newest runs and models."""
    runs = connection.execute(
        "SELECT run_uuid FROM runs WHERE experiment_id = ? ORDER BY start_time DESC LIMIT ?",
        (experiment_id, _SAMPLE),
    )
    ids = [str(run_id) for (run_id,) in runs]
    if _has_column(connection, "logged_models", "artifact_location"):
        models = connection.execute(
            "SELECT model_id FROM logged_models WHERE experiment_id = ? LIMIT ?",
            (experiment_id, _SAMPLE),
        )
        ids += [f"models/{model_id}" for (model_id,) in models]
    return ids


def _holds(database: Path, experiment: _Experiment) -> bool:
    """Return whether a database that may be another store's has the same experiment."""
    if not _exists(database):
        return False
    try:
        with closing(sqlite3.connect(sqlite_read_only(database), uri=True)) as connection:
            return any(
                (other.id, other.name, other.path, other.created)
                == (experiment.id, experiment.name, experiment.path, experiment.created)
                for other in _experiments(connection)
            )
    except sqlite3.Error:
        return False  # no store, or not ours to read


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    rows = connection.execute(f"PRAGMA table_info({table})")
    return any(row[1] == column for row in rows)


def local_path(location: str | None) -> Path | None:
    """Return the absolute path of artifacts on this machine; None for any other location."""
    if not location:
        return None
    if location.startswith("file:"):
        location = url2pathname(urlsplit(location).path)
    path = Path(location)
    return path if path.is_absolute() else None


def _exists(path: Path) -> bool:
    """Return whether a path leads anywhere that this user may look at."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises where it may not look


def _same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def _store_flag(database: Path) -> str:
    return f" --tracking-uri {shlex.quote(f'sqlite:///{database}')}"
