from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from sentiment.errors import InputError
from sentiment.tracking import database
from sentiment.tracking.database import is_database, sqlite_read_only
from sentiment.tracking.store import find_store, open_store


def test_which_stores_are_databases() -> None:
    assert is_database("postgresql+psycopg://me@db/x")
    assert is_database("mysql://me@db/x")
    assert not is_database("sqlite:///x.db")
    assert not is_database("http://db")


def test_a_database_that_is_not_there_is_told_of_within_seconds() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(InputError, match="refused; check that it runs") as refused:
        open_store(f"postgresql://me:hunter2@127.0.0.1:{port}/x")
    assert time.monotonic() - started < 10
    assert "hunter2" not in str(refused.value)


def test_a_database_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"postgresql://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(InputError, match=r"no answer within 0\.5 s") as refused:
            find_store(uri)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mysql+nodriver://me:hunter2@h/x", "driver is missing .*pip install pymysql"),
        ("postgresql+nodriver://me:hunter2@h/x", "driver is missing .*postgresql"),
        ("mssql+nodriver://me:hunter2@h/x", "driver is missing .*pip install pyodbc"),
        ("postgresql://me:hunter2@h:port/x", "check that it runs, and its host, port"),
    ],
)
def test_addresses_that_lead_nowhere(uri: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        open_store(uri)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # changed pages go to the file before the commit
connection.execute("BEGIN")
connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 2000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_whose_writer_was_killed_can_be_read_without_writing(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE t (text TEXT)")
        connection.execute("INSERT INTO t VALUES ('kept')")
        connection.commit()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(database)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "mlflow.db-journal").exists()
    with closing(sqlite3.connect(sqlite_read_only(database), uri=True)) as connection:
        assert connection.execute("SELECT text FROM t").fetchall() == [("kept",)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("INSERT INTO t VALUES ('more')")
