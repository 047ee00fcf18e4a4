"""Where Optuna's study of a sweep lies: in the sweep's folder, or in a database of all machines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted
from sweeps.workspace import Workspace

_POSTGRESQL = re.compile(r"postgres(ql)?(\+\w+)?://")


class StudyLocation:
    """The place of a sweep's study.

    A database is PostgreSQL, because its locks end with the connection of whoever has one: so a
    sweep is run by one process at a time, on whichever machine.
    """

    def __init__(self, url: str | None) -> None:
        """Name it; nothing is opened.

        Args:
            url: SQLAlchemy's, of a PostgreSQL database; None: a file in the sweep's folder.

        Raises:
            InputError: it is of something else.
        """
        if url is not None and not _POSTGRESQL.match(url):
            raise InputError(
                f"--study-storage {redacted(url)}: give postgresql://USER:PASSWORD@HOST/DATABASE, "
                "or leave it out for a file in the sweep's folder"
            )
        # SQLAlchemy knows no other spelling.
        self._url = None if url is None else re.sub(r"^postgres(?=[+:])", "postgresql", url)

    @property
    def is_shared(self) -> bool:
        """Whether several machines see it."""
        return self._url is not None

    def url(self, folder: Workspace) -> str:
        """Return SQLAlchemy's address of the study of a sweep."""
        return self._url or f"sqlite:///{folder.study.absolute()}"

    def holds(self, folder: Workspace) -> bool:
        """Whether the study of a sweep is there.

        Raises:
            InputError: the database does not answer.
        """
        if self._url is None:
            return folder.study.is_file()
        from sqlalchemy import inspect, text

        with self._connected() as connection:
            if not inspect(connection).has_table("studies"):
                return False
            query = text("SELECT count(*) FROM studies WHERE study_name = :name")
            return bool(connection.execute(query, {"name": folder.path.name}).scalar())

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Lock the study of a sweep against other processes, on whichever machine.

        Raises:
            InputError: another process has it, or the database does not answer.
        """
        if self._url is None:
            yield  # the lock on the sweep's folder suffices
            return
        from sqlalchemy import text

        digest = hashlib.sha256(f"sentiment-sweeps {name}".encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        with self._connected() as connection:
            locked = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
            if not locked.scalar():
                raise InputError(
                    f"the sweep {name} is running, perhaps on another machine: wait for it, or end "
                    "that process first"
                )
            yield

    @contextmanager
    def _connected(self):  # type: ignore[no-untyped-def]
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import NullPool

        assert self._url is not None
        try:
            options = {"connect_timeout": 10, "application_name": "sentiment-sweeps"}
            engine = create_engine(
                self._url,
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args=options,
            )
            connection = engine.connect()
        except (SQLAlchemyError, ImportError, ValueError) as error:
            raise InputError(
                f"--study-storage {redacted(self._url)}: {_reason(error)}; is the database up, "
                "and does it let you in?"
            ) from None
        with connection:
            yield connection


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "PostgreSQL's driver is missing: pip install 'sentiment-sweeps[postgresql]'"
    cause = getattr(error, "orig", None) or error
    return redacted((str(cause).strip().splitlines() or [type(cause).__name__])[0])
