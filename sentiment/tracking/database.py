"""Databases as tracking stores: one attempt to connect, before MLflow's ten."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from urllib.request import pathname2url

from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted

_SCHEMES = ("mysql", "postgresql", "mssql")
_CONNECT_SECONDS = 10.0
_DRIVERS = {
    "postgresql": "pip install 'sentiment-sweeps[postgresql]', or write postgresql+psycopg://…",
    "mysql": "pip install pymysql, and write mysql+pymysql://…",
    "mssql": "pip install pyodbc, and write mssql+pyodbc://…",
}


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite store; None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def sqlite_read_only(database: Path) -> str:
    """Return the address by which `sqlite3.connect(…, uri=True)` opens a file without writing.

    What a writer that was killed has left half done is rolled back before: a reader that may not
    write can't, and would be refused until somebody else has done it.
    """
    journal = database.with_name(f"{database.name}-journal")
    if journal.exists() and os.access(database, os.W_OK) and os.access(database.parent, os.W_OK):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    return f"file:{pathname2url(str(database))}?mode=ro"


def is_database(uri: str) -> bool:
    """Return whether a store is a database server, rather than a file or a tracking server."""
    return _kind(uri) in _SCHEMES


def database_has_store(uri: str) -> bool:
    """Connect once, for no longer than seconds, and look for MLflow's tables.

    Args:
        uri: address of a database server, as SQLAlchemy takes it.

    Returns:
        Whether the tables are there.

    Raises:
        InputError: the driver is missing, the address is wrong, the server does not answer, or
            refuses the user, the password or the database.
    """
    found: list[bool] = []
    trouble: list[BaseException] = []

    def connect() -> None:
        try:
            found.append(_has_tables(uri))
        except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
            trouble.append(error)

    # Each driver names its time limit otherwise, and the look-up of a host's name has none.
    connecting = threading.Thread(target=connect, daemon=True)
    connecting.start()
    connecting.join(_CONNECT_SECONDS)
    if found:
        return found[0]
    reason = _reason(uri, trouble[0]) if trouble else f"no answer within {_CONNECT_SECONDS:g} s"
    raise InputError(f"the store {redacted(uri)} can't be used: {reason}")


def _has_tables(uri: str) -> bool:
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.pool import NullPool

    with create_engine(uri, poolclass=NullPool).connect() as connection:
        return inspect(connection).has_table("experiments")


def _reason(uri: str, error: BaseException) -> str:
    from sqlalchemy.exc import NoSuchModuleError

    if isinstance(error, ImportError | NoSuchModuleError):
        line = str(error).splitlines()[0]
        return f"its driver is missing ({line}): {_DRIVERS[_kind(uri)]}"
    cause = getattr(error, "orig", None) or error
    line = redacted((str(cause).strip().splitlines() or [type(cause).__name__])[0])
    return f"{line}; check that it runs, and its host, port, user, password and database"


def _kind(uri: str) -> str:
    return uri.partition(":")[0].partition("+")[0]
