"""Transient errors of the store: which ones they are, and when to try again."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import requests
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from sentiment.tracking.http import is_server
from sentiment.tracking.provenance import redacted

_LONGEST_REQUESTED = 600.0
_TEMPORARY = (408, 425, 429)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_STATUS = re.compile(r"too many (\d{3}) error responses")
# What urllib3's errors contain, wrapped in the request's address and its own class names.
_WORDS = {
    "Connection refused": "connection refused",
    "Connection reset": "connection reset",
    "Connection aborted": "connection closed without an answer",
    "closed connection without response": "connection closed without an answer",
    "Broken pipe": "connection closed while sending",
    "timed out": "timed out",
    "Name or service": "its name is not known",
}


def transient_reason(error: BaseException, uri: str) -> str | None:
    """Return why a request failed, in words, if a later one may succeed; None if none will.

    Args:
        error: what a call of MLflow's client raised.
        uri: the store.
    """
    causes = list(_causes(error))
    if not is_server(uri):
        # MLflow calls every trouble of a database temporary: a full disk, for one, is not.
        busy = isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE"
        codes = [
            cause.sqlite_errorcode & 0xFF
            for cause in causes
            if isinstance(cause, sqlite3.OperationalError) and hasattr(cause, "sqlite_errorcode")
        ]
        return "the database is busy" if busy and all(c in _BUSY for c in codes) else None
    for cause in causes:
        if isinstance(cause, requests.RequestException):
            if cause.response is None:
                return _in_words(cause)
            status = cause.response.status_code
            return f"it answers {status}" if _temporary(status) else None
        if isinstance(cause, ConnectionError | TimeoutError):
            return _in_words(cause)
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return f"it answers {status}" if _temporary(status) else None
    return None


def retry_after(uri: str) -> float | None:
    """Probe whether a server takes requests again, by one small request without retries.

    Returns:
        None if it does; else the seconds that its header Retry-After asks to wait, 0 without one.
    """
    try:
        response = http_request(
            get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/search",
            "GET",
            params={"max_results": 1},
            max_retries=0,
            raise_on_status=False,
            timeout=10,
        )
    except MlflowException:
        return 0.0
    if not _temporary(response.status_code):
        return None
    return _seconds(response.headers.get("Retry-After", ""))


def _temporary(status: int) -> bool:
    return status >= 500 or status in _TEMPORARY


def _seconds(header: str) -> float:
    """Read the header Retry-After: seconds, or a date."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_REQUESTED) if seconds == seconds else 0.0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        original = getattr(error, "orig", None)  # SQLAlchemy's name for it
        if isinstance(original, BaseException):
            yield original
        error = error.__cause__ or error.__context__


def _in_words(error: BaseException) -> str:
    text = str(error)
    if found := _STATUS.search(text):
        return f"it answers {found[1]}"
    for found_in, words in _WORDS.items():
        if found_in in text:
            return words
    return redacted(" ".join(text.split()))[:200] or type(error).__name__
