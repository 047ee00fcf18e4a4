"""A server that follows the champion answers every request while it changes."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from winners import Registry

from benchmarks.serving import serving

BODY = json.dumps({"inputs": ["a great film", "bad"]}).encode()
CLIENTS = 4


@contextmanager
def asked(port: int) -> Iterator[tuple[Counter[str | None], list[str]]]:
    """Ask without a pause while in here; give the models that answered, and what went wrong."""
    answered: Counter[str | None] = Counter()
    wrong: list[str] = []
    done = threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not done.is_set():
            try:
                connection.request(
                    "POST", "/invocations", BODY, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                wrong.append(repr(error))
                return
            if answer.status != 200:
                wrong.append(f"{answer.status}: {body.decode()}")
            answered[answer.getheader("X-Model")] += 1
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answered, wrong
    finally:
        done.set()
        for thread in threads:
            thread.join()


def switch(registry: Registry, port: int, version: int) -> float:
    """Move the champion, and wait until it answers; return the seconds that took."""
    began = time.monotonic()
    registry.client.set_registered_model_alias("sentiment", "champion", str(version))
    while time.monotonic() - began < 30:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/model")
        if json.loads(connection.getresponse().read())["model"] == f"sentiment/{version}":
            return time.monotonic() - began
        connection.close()
        time.sleep(0.1)
    raise AssertionError(f"version {version} never answered")


@pytest.mark.parametrize("switches", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_no_request_is_refused_while_it_changes(
    switches: int, registry: Registry, tmp_path: Path
) -> None:
    registry.win(registry.worse, "one")
    registry.win(registry.better, "two")
    registry.client.set_registered_model_alias("sentiment", "champion", "1")
    with serving(tmp_path, "--follow") as (process, port), asked(port) as (answered, wrong):
        took = [switch(registry, port, 2 - number % 2) for number in range(switches)]
    assert wrong == []
    assert max(took) < 10
    assert set(answered) == {"sentiment/1", "sentiment/2"}
    assert not process.is_running()
