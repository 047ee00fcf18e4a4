"""Tracking servers that may be away: asking whether one is there, what it is, and asking it once.

MLflow's client repeats a failed request for minutes. Nothing of MLflow is imported before it is
needed, so that a command can report within seconds that there is no server.
"""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import urlsplit

from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted
from sentiment.tracking.store_errors import NOT_MLFLOW_HINT, answered, shown_answer

TIMEOUT = 30
"""Seconds without a byte after which a request has failed."""
_PROBE_SECONDS = 6.0


def is_server(uri: str) -> bool:
    """Whether a store is a tracking server, rather than a database."""
    return urlsplit(uri).scheme in ("http", "https")


def server_address(uri: str) -> str:
    """Return a server's address as a browser takes it, without credentials."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def check_reachable(uri: str) -> None:
    """Ask a server for its version, once and for no longer than seconds.

    Raises:
        InputError: it does not answer, or answers that it can't.
    """
    address = server_address(uri)
    trouble: list[str] = ["no answer in time"]
    # A time limit of a socket starts again with every byte, and a name may take minutes to look up.
    asking = threading.Thread(target=_ask, args=(f"{address}/version", trouble), daemon=True)
    asking.start()
    asking.join(_PROBE_SECONDS)
    if trouble:
        through = _proxy_between(address)
        if through is not None:
            proxy, host = through
            raise InputError(
                f"the tracking server {address} does not answer through the proxy {proxy} that "
                f"http_proxy or https_proxy names ({trouble[-1]}): add {host} to no_proxy to reach "
                "it without, or start it, or give another --tracking-uri"
            )
        raise InputError(
            f"the tracking server {address} does not answer ({trouble[-1]}): start it, or give "
            "another --tracking-uri"
        )


def check_is_mlflow(uri: str) -> None:
    """Make one request of MLflow's interface, with the user's credentials, and look at the answer.

    Raises:
        InputError: it refuses the request, or is no MLflow server.
        mlflow.exceptions.MlflowException: the request gets no answer.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    response = http_request(
        get_default_host_creds(uri),
        "/api/2.0/mlflow/experiments/search",
        "GET",
        params={"max_results": 1},
        raise_on_status=False,
    )
    if response.status_code == 200 and _is_search_result(response.text):
        return
    if response.status_code != 200:
        trouble = answered(response.status_code, response.text)
    elif response.history:
        login = redacted(response.url.partition("?")[0])
        trouble = f"it redirects to {login}, which is not MLflow's: {NOT_MLFLOW_HINT}"
    else:
        trouble = f"its answer is not MLflow's ({shown_answer(response.text)}): {NOT_MLFLOW_HINT}"
    address = server_address(uri)
    through = _proxy_between(address)
    note = "" if through is None else f"; it was asked through the proxy {through[0]} (no_proxy)"
    raise InputError(f"the store {address} can't be used: {trouble}{note}")


@contextmanager
def one_try_each() -> Iterator[None]:
    """Keep MLflow from repeating requests by itself: some count twice when they go through twice.

    It would besides try for minutes before it reports that a server is down. The setting is the
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


def _is_search_result(text: str) -> bool:
    """Return whether an answer is that of a search of experiments; it leaves out what is empty."""
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and (not answer or isinstance(answer.get("experiments"), list))


def _proxy_between(address: str) -> tuple[str, str] | None:
    """Return the proxy that the environment puts before a server, and the server's host."""
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(address, get_environ_proxies(address))
    return None if proxy is None else (redacted(proxy), urlsplit(address).hostname or address)


def _ask(address: str, trouble: list[str]) -> None:
    """Empty the list of what is wrong, or add to it."""
    try:
        # `urlopen` would keep the proxies that the environment named at its first call.
        with urllib.request.build_opener().open(address, timeout=_PROBE_SECONDS):
            trouble.clear()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            trouble.append(f"it answers {error.code}")
        else:
            trouble.clear()  # it is there; `check_is_mlflow` sends credentials
    except HTTPException as error:
        trouble.append(f"it does not speak HTTP: {type(error).__name__}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            trouble.clear()  # MLFLOW_TRACKING_SERVER_CERT_PATH may name the authority
        else:
            trouble.append(str(reason))
