"""MLflow's store: which one it is, opening it, and making it once."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import mlflow
import mlflow.pyfunc
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from sentiment.errors import InputError
from sentiment.tracking.database import database_has_store, is_database, sqlite_file
from sentiment.tracking.experiment import EXPERIMENT
from sentiment.tracking.http import check_is_mlflow, check_reachable, is_server, one_try_each
from sentiment.tracking.provenance import redacted
from sentiment.tracking.relocation import check_location
from sentiment.tracking.store_errors import store_error

_MAKING_SECONDS, _MAKING_PAUSE = 30.0, 0.5
_HALF_MADE = re.compile("already exists|no such table|database is locked")
_DATABASES = ("sqlite", "mysql", "postgresql", "mssql")

for _name in ("alembic", "mlflow"):
    logging.getLogger(_name).setLevel(logging.WARNING)


def tracking_uri(explicit: str | None = None) -> str:
    """Return the address of the store: the given one, `MLFLOW_TRACKING_URI`, or the default.

    The default is the SQLite file that a bare `mlflow ui` opens in the current folder. Paths in
    the result are absolute.

    Raises:
        InputError: MLflow can't write to a store of that kind.
    """
    uri = explicit or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        if mlflow.get_tracking_uri().startswith("file:"):
            raise InputError(
                "mlruns/ holds runs of MLflow's old file store, which it no longer writes: "
                "move them away, or set MLFLOW_TRACKING_URI to another store"
            )
        uri = "sqlite:///mlflow.db"
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        database = uri.partition("///")[2]
        if not database or database == ":memory:":
            raise InputError(f"{uri}: write the store as sqlite:///FILE")
        # MLflow takes the path literally, so nothing in it is quoted.
        return f"sqlite:///{Path(database).absolute()}"
    if scheme not in (*_DATABASES, "http", "https", "databricks"):
        raise InputError(
            f"{redacted(uri)}: MLflow has no such store; give sqlite:///FILE or http://HOST:PORT"
        )
    return uri


def open_store(uri: str, experiment: str = EXPERIMENT) -> tuple[MlflowClient, str]:
    """Open a store, made when it isn't there, and return its client and the experiment's id.

    Any number of processes may do so at once. Artifacts of a new experiment in a SQLite store go
    to `mlruns/` beside the file.

    Args:
        uri: an address from `tracking_uri`.
        experiment: name of the experiment, made when it isn't there.

    Raises:
        InputError: the store can't be reached, opened or written, or the experiment is deleted.
    """
    check_writable(uri)
    with _usable(uri), _alone(uri):
        client = _opened(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            location = _artifact_location(uri, experiment)
            try:
                return client, client.create_experiment(experiment, location)
            except MlflowException as error:
                # On a server another process may have made it meanwhile.
                found = client.get_experiment_by_name(experiment)
                if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        if found.lifecycle_stage != "active":
            raise InputError(
                f"the experiment {experiment!r} is deleted: restore it with `mlflow experiments "
                f"restore -x {found.experiment_id}`, or name another with --experiment"
            )
        return client, found.experiment_id


def read_store(uri: str) -> MlflowClient:
    """Open a store that is there already.

    Raises:
        InputError: there is none, or it can't be reached or opened.
    """
    client = find_store(uri)
    if client is None:
        raise InputError(
            f"{sqlite_file(uri) or redacted(uri)}: there is no such store yet; the first sweep "
            "makes it: python -m sweeps.launch"
        )
    return client


def find_store(uri: str) -> MlflowClient | None:
    """Open a store; return None where there is none yet.

    Raises:
        InputError: it can't be reached or opened.
    """
    database = sqlite_file(uri)
    if database is not None and not database.exists():
        return None
    with _usable(uri) as has_tables, _alone(uri):
        return _opened(uri) if has_tables else None


def check_writable(uri: str) -> None:
    """Check that this user may write to a store; only of an SQLite file is it known beforehand.

    Raises:
        InputError: the file or its folder is read-only.
    """
    database = sqlite_file(uri)
    if database is None or not database.exists():
        return
    # SQLite writes a journal beside its file.
    if not (os.access(database, os.W_OK) and os.access(database.parent, os.W_OK)):
        raise InputError(
            f"the store {database} is read-only for this user: run in a folder of your own, or "
            "give another --tracking-uri"
        )


def _artifact_location(uri: str, experiment: str) -> str | None:
    database = sqlite_file(uri)
    # MLflow's own choice is mlruns/ in the current folder, by the experiment's id.
    if database is None or database.parent == Path.cwd():
        return None
    # `..` stays what it is when it is quoted.
    folder = quote(experiment, safe="").replace(".", "%2E", not experiment.strip("."))
    return str(database.parent / "mlruns" / folder)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold off the other processes that open a SQLite store: its creation can't be shared."""
    database = sqlite_file(uri)
    if database is None or (database.exists() and not os.access(database.parent, os.W_OK)):
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{database}.lock")
    lock.acquire()
    try:
        yield
    finally:
        # Unlinked while held: a process that waits on it sees that it has no name, and retries.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _opened(uri: str) -> MlflowClient:
    """Open a store under its lock; create its SQLite file if it isn't there."""
    database = sqlite_file(uri)
    if database is not None and not database.exists():
        _make_database(database)
    deadline = time.monotonic() + _MAKING_SECONDS
    while True:
        try:
            return MlflowClient(uri)
        except (MlflowException, SQLAlchemyError) as error:
            # Such as `mlflow ui`, started at the same moment, is still making the tables.
            if time.monotonic() > deadline or not _HALF_MADE.search(str(error)):
                raise
        time.sleep(_MAKING_PAUSE)


def _make_database(database: Path) -> None:
    """Make an SQLite store, whole under its name or not at all; the store's lock is held.

    MLflow takes seconds for its tables, and a file in which a kill has left but some of them can
    never be opened again.
    """
    for left in database.parent.glob(f".{database.name}-*"):
        left.unlink(missing_ok=True)
    temporary = database.with_name(f".{database.name}-{os.getpid()}")
    try:
        MlflowClient(f"sqlite:///{temporary}")
        try:
            os.link(temporary, database)
        except FileExistsError:
            pass  # another program has made it meanwhile
        except OSError:  # a file system without links
            temporary.rename(database)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _usable(uri: str) -> Iterator[bool]:
    """Turn what goes wrong in opening a store into an InputError, within seconds.

    Yields whether the store has its tables; those of a database server may be yet to make.
    """
    shown = redacted(uri)
    has_tables = True
    try:
        with one_try_each():
            if is_server(uri):
                check_reachable(uri)
                check_is_mlflow(uri)
            elif is_database(uri):
                has_tables = database_has_store(uri)
            else:
                _check_file(uri)
            yield has_tables
    except OSError as error:
        raise InputError(
            f"the store {shown} can't be opened ({error.strerror or error}): run this in a folder "
            "that can be written, or name another store with --tracking-uri"
        ) from error
    except (MlflowException, SQLAlchemyError) as error:
        raise InputError(f"the store {shown} can't be used: {store_error(error)}") from error


def _check_file(uri: str) -> None:
    """Check an SQLite store that is there; MLflow would try for minutes to read anything else.

    Raises:
        InputError: it is something else, can't be read, or was moved or copied.
        OSError: the file can't be read.
    """
    database = sqlite_file(uri)
    if database is None or not database.exists():
        return
    if not _is_sqlite(database):
        raise InputError(
            f"{database} is not an SQLite file: name another store with --tracking-uri"
        )
    try:
        check_location(database)
    except sqlite3.Error as error:
        hint = "" if os.access(database.parent, os.W_OK) else "; copy its folder to one of yours"
        raise InputError(f"{database} can't be read ({error}){hint}") from error


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) in (b"", b"SQLite format 3\0")
