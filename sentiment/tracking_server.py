"""Tracking servers that may be away: asking whether one is there, and asking it once.

MLflow's client repeats a failed request for minutes. Nothing of MLflow is imported before it is
needed, so that a command can tell within seconds that there is no server.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from sentiment.errors import InputError

TIMEOUT = 30
"""Seconds without a byte after which a request has failed."""
_PROBE_SECONDS = 6.0


def is_server(uri: str) -> bool:
    """Whether a store is a tracking server, rather than a database."""
    return urlsplit(uri).scheme in ("http", "https")


def check_reachable(uri: str) -> None:
    """Ask a server for its version, once and for no longer than seconds.

    Raises:
        InputError: it does not answer, or answers that it can't.
    """
    parts = urlsplit(uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    trouble: list[str] = ["no answer in time"]
    # A time limit of a socket starts again with every byte, and a name may take minutes to look up.
    asking = threading.Thread(target=_ask, args=(f"{address}/version", trouble), daemon=True)
    asking.start()
    asking.join(_PROBE_SECONDS)
    if trouble:
        raise InputError(
            f"the tracking server {address} does not answer ({trouble[-1]}): start it, or give "
            "another --tracking-uri"
        )


@contextmanager
def one_try_each() -> Iterator[None]:
    """Keep MLflow from repeating requests by itself: some count twice when they go through twice.

    It would besides try for minutes before it tells that a server is down. The setting is the
    whole process's.
    """
    with _tries(0):
        yield


@contextmanager
def several_tries() -> Iterator[None]:
    """Let MLflow repeat requests: for reading many files, of which each may fail."""
    with _tries(4):
        yield


@contextmanager
def _tries(repetitions: int) -> Iterator[None]:
    from mlflow.environment_variables import (
        MLFLOW_HTTP_REQUEST_MAX_RETRIES,
        MLFLOW_HTTP_REQUEST_TIMEOUT,
    )

    variables = (MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT)
    before = [variable.get_raw() for variable in variables]
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(repetitions)
    if not MLFLOW_HTTP_REQUEST_TIMEOUT.is_set():
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(TIMEOUT)
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            if value is None:
                variable.unset()
            else:
                variable.set(value)


def _ask(address: str, trouble: list[str]) -> None:
    """Empty the list of what is wrong, or add to it."""
    try:
        with urllib.request.urlopen(address, timeout=_PROBE_SECONDS):
            trouble.clear()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            trouble.append(f"it answers {error.code}")
        else:
            trouble.clear()  # it is there, whatever it thinks of a stranger
    except (OSError, ValueError) as error:
        trouble.append(str(getattr(error, "reason", error)))
