from __future__ import annotations

import socket
import time

import pytest

from sentiment.errors import InputError
from sentiment.tracking import database
from sentiment.tracking.database import is_database
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
