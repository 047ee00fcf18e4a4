"""One line for what MLflow, a database or the network raises, in place of its traceback."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator
from pathlib import PurePath
from types import TracebackType

from sentiment.errors import first_line
from sentiment.tracking.provenance import redacted

CREDENTIALS_HINT = (
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to an "
    "account that may do this"
)
NOT_MLFLOW_HINT = "give the address of an MLflow tracking server, and look for a proxy on the way"

_PACKAGES = ("mlflow", "requests", "urllib3", "sqlalchemy", "alembic", "botocore", "boto3")
_REQUESTS = ("rest_utils.py", "rest_store.py", "http_artifact_repo.py")
_STATUS = re.compile(r"failed with error code (?P<code>\d{3}) != \d+")
_REPEATED = re.compile(r"too many (?P<code>\d{3}) error responses")
_SCHEMA = re.compile(r"out-of-date database schema \(found version (?P<found>\w+)")
_UNKNOWN_SCHEMA = re.compile(r"Can't locate revision identified by '(?P<found>\w+)'")
_READ_ONLY = re.compile(r"readonly database|read-only transaction", re.IGNORECASE)
_UNANSWERED = (
    "Unable to connect to proxy",
    "Connection refused",
    "Connection reset",
    "Connection aborted",
    "timed out",
    "timeout",
    "Name or service not known",
    "certificate verify failed",
)
_LONGEST_ANSWER = 60
_LONGEST_LINE = 400


def store_error(error: BaseException) -> str | None:
    """Describe in one line what a store answered in place of doing what it was asked.

    Args:
        error: any exception.

    Returns:
        The line, without credentials; None for an exception that comes from elsewhere.
    """
    # Nothing is imported to look: an exception of a package proves that it is there.
    packages = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    if packages.isdisjoint(_PACKAGES):
        if not _in_request(error.__traceback__):
            return None
        line = _first_line(error)
        return (
            f"the tracking server's answer can't be read ({type(error).__name__}: {line}): "
            f"{NOT_MLFLOW_HINT}"
        )
    text = str(error)
    if is_read_only(error):
        return "it is read-only for this user"
    if status := _status(error, text):
        return status
    if words := _unanswered(text):
        return f"the server does not answer ({words})"
    if "not in a valid JSON format" in text:
        return f"the answer is not MLflow's ({shown_answer(_body(text))}): {NOT_MLFLOW_HINT}"
    if match := _SCHEMA.search(text) or _UNKNOWN_SCHEMA.search(text):
        return _schema(match["found"])
    return _first_line(error)


def is_read_only(error: BaseException) -> bool:
    """Return whether an exception means that this user may read a store but not write it."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return True
        if isinstance(cause, sqlite3.Error) and _READ_ONLY.search(str(cause)):
            return True
        if getattr(cause, "error_code", None) == "PERMISSION_DENIED":
            return True
    return bool(_READ_ONLY.search(str(error)))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from, SQLAlchemy's originals included."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        original = getattr(error, "orig", None)
        if isinstance(original, BaseException):
            yield original
        error = error.__cause__ or error.__context__


def answered(status: int, body: str) -> str:
    """Describe the answer of a server that refuses a request, and what to do.

    Args:
        status: the HTTP status.
        body: of the answer.
    """
    if status in (401, 403):
        return f"it answers {status} ({shown_answer(body)}): {CREDENTIALS_HINT}"
    if status == 407:
        return "the proxy asks for a user and a password (407): name them in http_proxy"
    hint = "" if status >= 500 else f": {NOT_MLFLOW_HINT}"
    return f"it answers {status} ({shown_answer(body)}){hint}"


def shown_answer(body: str) -> str:
    """Return the start of a server's answer, fit for a line."""
    line = " ".join(redacted(body).split())
    if not line:
        return "an empty answer"
    if line.startswith("<"):
        return "a page in HTML"
    return repr(line if len(line) <= _LONGEST_ANSWER else f"{line[:_LONGEST_ANSWER]}…")


def _status(error: BaseException, text: str) -> str | None:
    """Describe an HTTP status among 4xx and 5xx; MLflow's own words are kept where it has some."""
    if found := _STATUS.search(text):
        return answered(int(found["code"]), _body(text))
    response = getattr(error, "response", None)
    if response is not None and hasattr(response, "status_code"):
        return answered(int(response.status_code), str(response.text))
    if found := _REPEATED.search(text):
        return f"it answers {found['code']}"
    if getattr(error, "error_code", None) in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        return f"{_first_line(error)}: {CREDENTIALS_HINT}"
    return None


def _unanswered(text: str) -> str | None:
    """Return what kept a request from being answered, out of the words of requests."""
    if "failed with" not in text and "Max retries exceeded" not in text:
        return None
    for words in _UNANSWERED:
        if words in text:
            return words.lower()
    return None


def _body(text: str) -> str:
    return text.partition("Response body: '")[2].removesuffix("'")


def _schema(found: str) -> str:
    """Describe a database of another MLflow's schema: an older one, or a newer one."""
    import mlflow
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError
    from mlflow.store.db.utils import _get_alembic_config

    try:
        ScriptDirectory.from_config(_get_alembic_config("")).get_revision(found)
    except CommandError:
        return (
            f"a newer MLflow than the installed {mlflow.__version__} made its tables (schema "
            f"{found}): upgrade MLflow here"
        )
    return (
        f"an older MLflow than the installed {mlflow.__version__} made its tables (schema {found}):"
        " back it up, then run `mlflow db upgrade` with its address"
    )


def _in_request(trace: TracebackType | None) -> bool:
    """Return whether an exception came out of MLflow's client while it read an answer."""
    while trace is not None:
        file = PurePath(trace.tb_frame.f_code.co_filename)
        if file.name in _REQUESTS and "mlflow" in file.parts:
            return True
        trace = trace.tb_next
    return False


def _first_line(error: BaseException) -> str:
    line = redacted(first_line(getattr(error, "orig", None) or error))
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
