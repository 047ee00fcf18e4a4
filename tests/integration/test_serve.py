from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import torch

from sentiment import predict
from sentiment.config import Config
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.data.vocabulary import SPECIALS, Vocabulary
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.evaluation import score_split
from sentiment.inference.metrics import score
from sentiment.nn.classifier import Classifier
from sentiment.tracking.logged_model import save_mlflow_model
from sweeps import serve
from sweeps.serving import requests
from sweeps.serving.requests import (
    EXAMPLE,
    MAX_BYTES,
    MAX_EXPLAINED_CHARACTERS,
    MAX_EXPLAINED_TEXTS,
    MAX_TEXTS,
    RequestError,
    check_headers,
    parse_request,
    read_request,
)

JSON = {"Content-Type": "application/json"}
ODD = [
    "",
    "   ",
    "nan",
    "NaN",
    "None",
    "null",
    "1",
    "2020-01-01",
    "🎬" * 50,
    "é\t<br />!" * 9,
    "x" * 5000,
]


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bidirectional LSTM of two layers with random weights that knows the reviews' words."""
    texts = load_dataset(DataConfig(dataset="rotten-tomatoes")).splits["train"].texts[:2000]
    words = [word for word, _ in Counter(" ".join(texts).split()).most_common(3000)]
    torch.manual_seed(0)
    settings = {"embedding": "random", "embedding_dim": 16, "hidden_dim": 16, "layers": 2}
    config = Config.from_flat(settings)
    vocabulary = Vocabulary((*SPECIALS, *(word for word in words if word not in SPECIALS)))
    matrix = torch.randn(len(vocabulary), 16)
    model = Classifier(config.model, len(vocabulary), 16, 2, matrix)
    bundle = Bundle(config, vocabulary, ("neg", "pos"), model.state_dict())
    return bundle.save(tmp_path_factory.mktemp("served") / "bundle")


class Serving:
    """A server of a test's own, as a user starts it."""

    def __init__(self, model: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.serve", "--model", str(model), "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(serve.__file__).parents[1])},
        )
        assert self.process.stdout is not None
        self.said = [self.process.stdout.readline() for _ in range(2)]

    def ask(
        self, body: Any, headers: dict[str, str] = JSON, path: str = "/invocations"
    ) -> tuple[int, Any]:
        """Send a body, as it is or as JSON; return the status and what the answer's JSON holds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            if not isinstance(body, bytes | Iterator):
                body = json.dumps(body).encode()
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stop(self, number: int) -> tuple[int, str]:
        """End it by a signal; return its exit status and what it said on standard error."""
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error


@pytest.fixture(scope="module")
def server(bundle_folder: Path) -> Iterator[Serving]:
    serving = Serving(bundle_folder)
    try:
        yield serving
    finally:
        serving.process.kill()
        serving.process.communicate()


def get(server: Serving, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_it_says_a_request_that_works(server: Serving) -> None:
    address = f"http://127.0.0.1:{server.port}"
    assert server.said == [
        f"{address}  (Control-C ends it)\n",
        f"curl {address}/invocations -H 'Content-Type: application/json' "
        f"-d '{json.dumps(EXAMPLE)}'\n",
    ]
    status, answer = server.ask(EXAMPLE)
    assert status == 200
    (prediction,) = answer["predictions"]
    assert set(prediction) == {"label", "probability"}
    for path in ("/ping", "/health", "/ready"):
        assert get(server, path) == (200, b"\n")
    assert json.loads(get(server, "/model")[1]) == {"model": "bundle", "labels": ["neg", "pos"]}
    assert b'sentiment_requests_total{status="200"} 1.0' in get(server, "/metrics")[1]
    assert get(server, "/version") == (200, mlflow.__version__.encode())


def test_the_same_text_gets_the_same_answer_everywhere(
    server: Serving, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_dataset(DataConfig(dataset="rotten-tomatoes"))
    texts = [*ODD, *dataset.splits["test"].texts[:24]]
    bundle = Bundle.load(bundle_folder)
    expected = bundle.predict(texts)
    labels = [bundle.label_names[index] for index in expected.argmax(1)]
    probabilities = expected.max(1)

    def check(answers: list[Any]) -> None:
        assert [answer["label"] for answer in answers] == labels
        np.testing.assert_allclose([a["probability"] for a in answers], probabilities, atol=1e-5)

    predict.main(["--model", str(bundle_folder), "--json", *texts])
    check([json.loads(line) for line in capsys.readouterr().out.splitlines()])

    save_mlflow_model(bundle_folder, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    check(loaded.predict(pd.DataFrame({"text": texts})).to_dict("records"))
    alone = [loaded.predict(pd.DataFrame({"text": [text]})) for text in texts]
    check(pd.concat(alone).to_dict("records"))

    def served(texts: list[str]) -> list[Any]:
        status, answer = server.ask({"inputs": texts})
        assert status == 200
        predictions: list[Any] = answer["predictions"]
        return predictions

    check(served(texts))
    check([served([text])[0] for text in texts])
    check(served(texts[::-1])[::-1])

    # What evaluate scores is what the others say.
    split = dataset.splits["test"]
    here = score(np.log(bundle.predict(split.texts)), split.labels)
    assert score_split(bundle, dataset, "test").metrics("test") == pytest.approx(
        here.metrics("test"), abs=1e-5
    )


def test_explanations_are_the_same_everywhere(
    server: Serving, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["This film is great!", "", "a dull mess"]
    predict.main(["--model", str(bundle_folder), "--explain", "--json", *texts])
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    status, answer = server.ask({"inputs": texts, "params": {"explain": True}})
    assert status == 200
    save_mlflow_model(bundle_folder, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    frame = pd.DataFrame({"text": texts})
    assert list(loaded.predict(frame, params={"explain": False})) == ["label", "probability"]
    logged = loaded.predict(frame, params={"explain": True}).to_dict("records")
    for answers in (answer["predictions"], logged):
        assert [each["label"] for each in answers] == [each["label"] for each in expected]
        for each, other in zip(answers, expected, strict=True):
            found = json.loads(each["explanation"])
            assert found.keys() == other.keys()
            assert found["logit"] == pytest.approx(other["logit"], abs=1e-4)
            assert [w["token"] for w in found["tokens"]] == [w["token"] for w in other["tokens"]]
            assert [w["weight"] for w in found["tokens"]] == pytest.approx(
                [w["weight"] for w in other["tokens"]], abs=1e-3
            )


def chunked(size: int) -> Iterator[bytes]:
    """Yield a body without a length."""
    yield b'{"inputs": ["'
    for _ in range(size // 2**16):
        yield b"a" * 2**16
    yield b'"]}'


def test_bad_requests_are_refused_and_the_server_lives_on(server: Serving) -> None:
    big = json.dumps({"inputs": ["a" * 10_000_000]}).encode()
    cases: list[tuple[Any, dict[str, str], int, str]] = [
        ({"dataframe_records": [{"review": "a"}]}, JSON, 400, "row 0 has no column `text`"),
        (3, JSON, 400, "send an object with one of dataframe_records"),
        (None, JSON, 400, "send an object with one of"),
        ([], JSON, 400, "send an object with one of"),
        ({"inputs": []}, JSON, 400, "`inputs` holds no text"),
        ({"inputs": None}, JSON, 400, "`inputs` must be a list, not null"),
        ({"dataframe_records": [{"text": None}]}, JSON, 400, "must be a string, not null"),
        (big, JSON, 413, f"the body is longer than {MAX_BYTES:,} bytes"),
        (chunked(10_000_000), JSON, 413, "the body is longer than"),
        (b"great film", JSON, 400, "the body is not JSON"),
        (EXAMPLE, {"Content-Type": "text/plain"}, 415, "send application/json, not text/plain"),
        (EXAMPLE, {}, 415, "with the header content-type"),
        ({"inputs": ["a"] * (MAX_TEXTS + 1)}, JSON, 413, "1,001 texts at once"),
    ]
    for body, headers, expected, message in cases:
        status, answer = server.ask(body, headers)
        assert (status, answer["error_code"]) == (expected, "BAD_REQUEST"), message
        assert message in answer["message"]
        assert "stack_trace" not in answer
    assert get(server, "/invocations")[0] == 405
    assert get(server, "/ping")[0] == 200
    assert server.ask(EXAMPLE)[0] == 200
    assert server.ask({"inputs": ["a"] * MAX_TEXTS})[0] == 200


def test_client_that_goes_away(server: Serving) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    assert server.ask(EXAMPLE)[0] == 200


def test_port_in_use_and_no_model(
    server: Serving, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(InputError, match=f"--port {server.port}: can't listen there"):
        serve.main(["--model", str(bundle_folder), "--port", str(server.port)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="no such store yet"):
        serve.main(["--port", "18765"])


def test_schema_describes_requests_and_answers(server: Serving) -> None:
    schema = json.loads(get(server, "/openapi.json")[1])
    operation = schema["paths"]["/invocations"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    forms = [form["required"] for form in body["schema"]["oneOf"]]
    assert forms == [["dataframe_records"], ["dataframe_split"], ["instances"], ["inputs"]]
    assert body["example"] == EXAMPLE
    answer = schema["components"]["schemas"]["Prediction"]["properties"]
    assert set(answer) == {"label", "probability", "explanation"}
    assert {"200", "400", "413", "415"} <= set(operation["responses"])
    # FastAPI's own pages load scripts from other hosts.
    assert get(server, "/docs")[0] == 404


def test_signals_end_it(server: Serving, bundle_folder: Path) -> None:
    assert server.stop(signal.SIGTERM) == (0, "")
    other = Serving(bundle_folder)
    assert other.stop(signal.SIGINT) == (130, "error: interrupted\n")


@pytest.mark.parametrize(
    ("request_", "texts"),
    [
        ({"dataframe_records": [{"text": "a", "id": 3}, {"text": ""}]}, ["a", ""]),
        ({"dataframe_split": {"columns": ["id", "text"], "data": [[1, "a"]]}}, ["a"]),
        ({"instances": [{"text": "a"}]}, ["a"]),
        ({"instances": ["a", "b"]}, ["a", "b"]),
        ({"inputs": {"text": ["a", "b"]}}, ["a", "b"]),
        ({"inputs": ["\ud800 a"]}, ["\ufffd a"]),
    ],
)
def test_forms_of_a_request(request_: Any, texts: list[str]) -> None:
    assert parse_request(json.dumps(request_).encode()) == (texts, False)


@pytest.mark.parametrize(
    ("params", "explain"), [(None, False), ({}, False), ({"explain": True}, True)]
)
def test_parameters_of_a_request(params: Any, explain: bool) -> None:
    body = json.dumps({"inputs": ["a"], "params": params}).encode()
    assert parse_request(body) == (["a"], explain)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"] * (MAX_EXPLAINED_TEXTS + 1), "33 texts to explain at once"),
        (["a" * MAX_EXPLAINED_CHARACTERS, "b"], "32,769 characters to explain at once"),
    ],
)
def test_too_much_to_explain(texts: list[str], message: str) -> None:
    body = json.dumps({"inputs": texts, "params": {"explain": True}}).encode()
    with pytest.raises(RequestError, match=message) as refused:
        parse_request(body)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[" * 100_000, "not JSON"),
        ("{", "not JSON"),
        ("\ud800", "not JSON"),
        ("9" * 10_000, "not JSON"),
        ('{"params": {"explain": true}}', "one of"),
        ('{"inputs": ["a"], "params": []}', "takes one parameter"),
        ('{"inputs": ["a"], "params": {"explain": true, "depth": 2}}', "takes one parameter"),
        ('{"inputs": ["a"], "params": {"explain": 1}}', "true or false, not a number"),
        ('{"inputs": {"text": "a"}}', "a list of strings"),
        ('{"inputs": ["a", 1]}', "row 0: not an object with `text`: a string"),
        ('{"instances": {"text": ["a"]}}', "must be a list, not an object"),
        ('{"dataframe_records": ["a"]}', "row 0: not an object with `text`: a string"),
        ('{"dataframe_records": [{"text": "a"}, {"text": true}]}', "row 1: .* not a boolean"),
        ('{"dataframe_split": []}', "needs `columns` and `data`"),
        ('{"dataframe_split": {"data": [["a"]]}}', "needs one column `text`"),
        ('{"dataframe_split": {"columns": ["text", "text"], "data": []}}', "one column `text`"),
        ('{"dataframe_split": {"columns": ["text"], "data": [["a", "b"]]}}', "row 0: .* 1 cells"),
        ('{"dataframe_split": {"columns": ["text"], "data": []}}', "holds no text"),
    ],
)
def test_bodies_that_are_refused(body: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        parse_request(body.encode("utf-8", "surrogatepass"))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=UTF-8", "content-length": "7"}, None),
        ({"content-type": "Application/JSON"}, None),
        ({"content-type": "application/json; charset=utf8"}, None),
        ({"content-type": 'application/json;charset="Utf-8"; profile=x'}, None),
        ({"content-type": "application/json; odata=verbose"}, None),
        ({"content-type": "application/json; charset=us-ascii"}, None),
        ({"content-type": "application/json; charset=utf-16"}, 415),
        ({"content-type": "application/json; charset=klingon"}, 415),
        ({"content-type": "application/json; charset=hex"}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({"content-type": "application/json", "content-length": str(MAX_BYTES + 1)}, 413),
        ({"content-type": "text/csv"}, 415),
    ],
)
def test_headers(headers: dict[str, str], status: int | None) -> None:
    if status is None:
        check_headers(headers)
        return
    with pytest.raises(RequestError) as refused:
        check_headers(headers)
    assert refused.value.status == status


def test_body_in_utf_8_with_or_without_a_byte_order_mark() -> None:
    body = json.dumps({"inputs": ["sch\u00f6n"]}, ensure_ascii=False)
    for encoding in ("utf-8", "utf-8-sig"):
        assert parse_request(body.encode(encoding)).texts == ["sch\u00f6n"]
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(RequestError, match="send JSON in UTF-8, not UTF-") as refused:
            parse_request(body.encode(encoding))
        assert refused.value.status == 415


def test_endless_body_is_neither_kept_nor_read_to_its_end() -> None:
    part = b"a" * 2**16
    parts = 0

    async def receive() -> dict[str, Any]:
        nonlocal parts
        parts += 1
        return {"type": "http.request", "body": part, "more_body": True}

    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as refused:
            asyncio.run(read_request({"content-type": "application/json"}, receive))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413
    assert parts * len(part) <= 64 * 2**20 + len(part)
    assert peak < 4 * MAX_BYTES


def test_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_BODY_SECONDS", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(RequestError, match="did not come within") as refused:
        asyncio.run(read_request({"content-type": "application/json"}, receive))
    assert refused.value.status == 408


@pytest.mark.slow
@pytest.mark.timeout(1800)  # pip installs torch and MLflow
def test_the_model_is_served_where_nothing_of_this_project_is(
    bundle_folder: Path, tmp_path: Path
) -> None:
    """An environment of the model's own requirements, and nothing but MLflow to serve it."""
    model = tmp_path / "model"
    save_mlflow_model(bundle_folder, model)
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment = {**clean, "PATH": f"{home / 'bin'}{os.pathsep}{clean['PATH']}"}
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", str(model / "requirements.txt")], check=True, env=environment)
    for name in ("sentiment", "sweeps", "ray", "optuna"):
        absent = [str(home / "bin/python"), "-c", f"import {name}"]
        assert subprocess.run(absent, cwd=tmp_path, env=environment, capture_output=True).returncode
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(home / "bin/mlflow"), "models", "serve", "--env-manager", "local"]
    process = subprocess.Popen(
        [*command, "--model-uri", str(model), "--port", str(port)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        texts = ["a great film", "dull , stupid and far too long", ""]
        answer = _ask_when_ready(process, port, texts)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    expected = Bundle.load(bundle_folder).predict(texts)
    assert [a["label"] for a in answer] == [("neg", "pos")[i] for i in expected.argmax(1)]
    np.testing.assert_allclose([a["probability"] for a in answer], expected.max(1), atol=1e-5)


def _ask_when_ready(process: subprocess.Popen[bytes], port: int, texts: list[str]) -> list[Any]:
    deadline = time.monotonic() + 600
    body = json.dumps({"dataframe_records": [{"text": text} for text in texts]})
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", "/invocations", body, JSON)
            answer = connection.getresponse()
            assert answer.status == 200
            predictions: list[Any] = json.loads(answer.read())["predictions"]
            return predictions
        except ConnectionError:
            time.sleep(0.5)
        finally:
            connection.close()
    raise AssertionError("MLflow's server did not start")
