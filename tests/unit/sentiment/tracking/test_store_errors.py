from __future__ import annotations

import errno
import json
import sqlite3
import sys

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.utils.rest_utils import call_endpoint
from sqlalchemy.exc import OperationalError

from sentiment import cli
from sentiment.errors import InputError
from sentiment.tracking.store import read_store
from sentiment.tracking.store_errors import is_read_only, store_error

READ_ONLY = OperationalError(
    "INSERT", {}, sqlite3.OperationalError("attempt to write a readonly database")
)
NEWER, OLDER = "ffffffffffff", "451aebb31d03"


def answer(status: int, body: str) -> MlflowException:
    """Return what MLflow raises of an answer that is not JSON."""
    return MlflowException(
        f"API request to endpoint /api/2.0/mlflow/runs/create failed with error code {status} "
        f"!= 200. Response body: '{body}'"
    )


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            answer(403, "<html>no\nway</html>"),
            ["answers 403 (a page in HTML)", "MLFLOW_TRACKING_TOKEN"],
        ),
        (answer(401, ""), ["answers 401 (an empty answer)", "MLFLOW_TRACKING_USERNAME"]),
        (answer(407, ""), ["proxy", "http_proxy"]),
        (answer(404, "nothing here"), ["answers 404 ('nothing here')", "MLflow tracking server"]),
        (answer(502, "bad gateway"), ["answers 502 ('bad gateway')"]),
        (MlflowException("too many 503 error responses"), ["it answers 503"]),
        (
            MlflowException(
                "the response body was not in a valid JSON format. Response body: 'hi'"
            ),
            ["not MLflow's ('hi')"],
        ),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "x"}), ["read-only"]),
        (RestException({"error_code": "UNAUTHENTICATED", "message": "who?"}), ["who?", "TOKEN"]),
        (RestException({"error_code": "INTERNAL_ERROR", "message": "a\nb"}), ["INTERNAL_ERROR: a"]),
        (MlflowException("x at postgresql://me:hunter2@db/x"), ["x at postgresql://***@db/x"]),
        (requests.ConnectionError("refused"), ["refused"]),
        (
            MlflowException("API request to http://x/y failed with exception Connection refused"),
            ["the server does not answer (connection refused)"],
        ),
        (READ_ONLY, ["it is read-only for this user"]),
    ],
)
def test_a_store_s_error_is_a_line(error: Exception, parts: list[str]) -> None:
    line = store_error(error)
    assert line is not None
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_errors_from_elsewhere_are_none() -> None:
    assert store_error(ValueError("x")) is None
    assert store_error(json.JSONDecodeError("x", "y", 0)) is None
    assert store_error(OSError(errno.EACCES, "denied")) is None


def test_an_answer_that_mlflow_cannot_read_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.protos.service_pb2 import SearchExperiments

    response = requests.Response()
    response.status_code = 200
    response._content = b'{"experiments": [1]}'
    monkeypatch.setattr("mlflow.utils.rest_utils.http_request", lambda **_: response)
    with pytest.raises(Exception, match="experiments") as caught:
        call_endpoint(None, "/api/2.0/mlflow/x", "GET", "{}", SearchExperiments.Response())
    assert "answer can't be read (ParseError" in str(store_error(caught.value))


def test_what_says_that_a_store_is_read_only() -> None:
    wrapped = MlflowException("x")
    wrapped.__cause__ = READ_ONLY
    assert is_read_only(wrapped)
    assert is_read_only(OSError(errno.EROFS, "read-only file system"))
    assert is_read_only(PermissionError(errno.EACCES, "denied"))
    assert not is_read_only(OSError(errno.ENOENT, "gone"))
    assert not is_read_only(MlflowException("x"))


@pytest.mark.parametrize(
    ("revision", "words"), [(NEWER, "a newer MLflow than"), (OLDER, "mlflow db upgrade")]
)
def test_tables_of_another_mlflow(store_uri: str, revision: str, words: str) -> None:
    connection = sqlite3.connect(store_uri.removeprefix("sqlite:///"))
    connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match=words) as refused:
        read_store(store_uri)
    assert revision in str(refused.value)
    assert "\n" not in str(refused.value)


def test_commands_end_with_a_line_where_a_store_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["x"])

    def fail(argv: list[str] | None) -> None:
        raise answer(403, "<html>")

    with pytest.raises(SystemExit) as ended:
        cli.run(fail)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: the store can't be used: it answers 403")
    assert told.count("\n") == 1
