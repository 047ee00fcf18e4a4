from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from packaging.requirements import Requirement

from sentiment.config import Config
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.pyfunc import TextClassifier
from sentiment.tracking import http
from sentiment.tracking.batches import as_metrics, log_batch
from sentiment.tracking.logged_model import log_bundle, save_mlflow_model, serving_requirements
from sentiment.tracking.runs import (
    RunRecord,
    create_run,
    ended_on_failure,
    hyperparameters,
    open_run,
    run_parameters,
)
from sentiment.tracking.store import open_store, read_store, tracking_uri

TEXTS = ["This film is great", "this is bad", "", "great great film"]


def test_default_store_is_the_one_of_a_bare_mlflow_ui(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    uri = tracking_uri()
    experiment_id = open_store(uri)[1]

    assert uri == f"sqlite:///{folder}/mlflow.db"
    # MLflow's own default address, as `mlflow ui` takes it when it is given none.
    own = MlflowClient("sqlite:///mlflow.db").get_experiment_by_name("sentiment")
    assert own.experiment_id == experiment_id
    assert own.artifact_location == f"{folder}/mlruns/{experiment_id}"
    assert open_store(uri)[1] == experiment_id


def test_address_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri() == "http://tracking:5000"
    assert tracking_uri("sqlite:///other/runs.db") == f"sqlite:///{tmp_path}/other/runs.db"
    assert tracking_uri("postgresql+psycopg2://db/runs") == "postgresql+psycopg2://db/runs"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "sqlite://", "ftp://x/y"])
def test_address_that_mlflow_cannot_write_to(uri: str) -> None:
    with pytest.raises(InputError, match="sqlite:///FILE"):
        tracking_uri(uri)


def test_folder_with_runs_of_the_old_file_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("name: Default")
    with pytest.raises(InputError, match="old file store"):
        tracking_uri()


def test_processes_that_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    # MLflow is imported once, so that the processes start in the same moment.
    code = f"""
import os, sys
from sentiment.tracking.store import open_store
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        print(open_store({uri!r})[1], flush=True)
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"] * 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mlflow.db"]


def test_a_kill_while_a_store_is_made_leaves_none(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    code = f"from sentiment.tracking.store import open_store; open_store({uri!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    making = tmp_path / f".mlflow.db-{process.pid}"
    while not making.exists() or making.stat().st_size < 50_000:
        assert process.poll() is None, "it was made before it could be killed"
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    assert open_store(uri)[1] == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db"]


def test_server_that_is_not_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(InputError, match=r"does not answer .*--tracking-uri"):
        open_store(f"http://127.0.0.1:{port}")
    assert time.monotonic() - started < 10


def test_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match="does not answer") as caught:
            open_store(address)
    assert "secret" not in str(caught.value)


def test_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("something else altogether")
    with pytest.raises(InputError, match="not an SQLite file"):
        open_store(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(InputError, match="can't be opened"):
        open_store(f"sqlite:///{tmp_path}")


def test_deleted_experiment(store_uri: str) -> None:
    client, experiment_id = open_store(store_uri, "gone")
    client.delete_experiment(experiment_id)
    with pytest.raises(InputError, match=f"restore -x {experiment_id}"):
        open_store(store_uri, "gone")


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("full"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_run_ends_if_its_start_does_not_succeed(
    store: tuple[MlflowClient, str], error: BaseException, status: str
) -> None:
    client, experiment_id = store
    run_id = open_run(client, experiment_id, "x", tags={})
    with pytest.raises(type(error)), ended_on_failure(client, run_id, {"sweep.state": "x"}):
        raise error
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["sweep.state"]) == (status, "x")


def test_run_whose_parameters_are_refused_does_not_stay_open(
    store: tuple[MlflowClient, str],
) -> None:
    client, experiment_id = store
    with pytest.raises(MlflowException, match="Invalid value"):
        create_run(client, experiment_id, "x", tags={}, parameters={"a?b": "1"})
    (run,) = client.search_runs([experiment_id])
    assert run.info.status == "FAILED"


def test_run_that_cannot_be_ended_keeps_the_first_error(store: tuple[MlflowClient, str]) -> None:
    client, experiment_id = store
    run_id = open_run(client, experiment_id, "x", tags={})
    with pytest.raises(ZeroDivisionError) as caught, ended_on_failure(client, run_id):
        client.delete_run(run_id)
        raise ZeroDivisionError
    assert f"the run {run_id} could not be ended" in caught.value.__notes__[0]


def test_reading_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"python -m sweeps\.launch"):
        read_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


@given(
    st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-9, 1.0, allow_subnormal=False),
            "embedding": st.sampled_from(["glove", "random", "vectors/my file.txt"]),
            "head_dropout": st.none() | st.floats(0, 0.9, allow_subnormal=False),
            "bidirectional": st.booleans(),
            "layers": st.integers(1, 4),
        }
    )
)
def test_parameters_read_back_as_they_were(values: dict[str, Any]) -> None:
    config = Config.from_flat(values)
    parameters = run_parameters(config, "imdb-25k", "f00")
    assert parameters["dataset"] == "imdb-25k"
    assert parameters["dataset_fingerprint"] == "f00"
    assert all(isinstance(value, str) for value in parameters.values())
    assert Config.from_flat(hyperparameters(parameters)) == config


def test_more_metrics_than_a_request_takes(store: tuple[MlflowClient, str]) -> None:
    client, experiment_id = store
    run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
    metrics = [metric for step in range(1700) for metric in as_metrics({"loss": step}, step, 1)]
    log_batch(client, run_id, metrics=metrics, parameters={"a": "1"}, tags={"b": "2"})
    history = client.get_metric_history(run_id, "loss")
    assert sorted(metric.value for metric in history) == list(range(1700))
    data = client.get_run(run_id).data
    assert data.params == {"a": "1"}
    assert data.tags["b"] == "2"


@pytest.fixture
def logged(
    store: tuple[MlflowClient, str], make_bundle: Callable[[int], Path]
) -> tuple[MlflowClient, str, str]:
    """A run and its logged model."""
    client, experiment_id = store
    run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
    model_id = log_bundle(
        client, run_id, make_bundle(1), name="best", metrics={"valid/accuracy": 0.75}, step=640
    )
    return client, run_id, model_id


def test_logged_model_belongs_to_its_run(logged: tuple[MlflowClient, str, str]) -> None:
    client, run_id, model_id = logged
    model = client.get_logged_model(model_id)
    assert (model.name, model.source_run_id, model.status) == ("best", run_id, "READY")
    (output,) = client.get_run(run_id).outputs.model_outputs
    assert (output.model_id, output.step) == (model_id, 640)
    (metric,) = model.metrics
    assert (metric.key, metric.value, metric.step) == ("valid/accuracy", 0.75, 640)


@pytest.mark.parametrize(
    ("settings", "packages"),
    [
        ({"language": "ja"}, ("sudachipy", "sudachidict_core")),
        ({"language": "ja", "tokenizer": "basic"}, ()),
        ({"language": "zh"}, ()),
    ],
)
def test_packages_of_a_language_are_among_the_pins(
    settings: dict[str, str],
    packages: tuple[str, ...],
    make_bundle: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = Bundle.load(make_bundle(0))
    config = bundle.config.replace(**{"tokenizer": "spacy", **settings})
    replace(bundle, config=config).save(tmp_path / "bundle")
    installed = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "1" if name in packages else installed(name)
    )
    save_mlflow_model(tmp_path / "bundle", tmp_path / "model")
    pins = (tmp_path / "model/requirements.txt").read_text().split()
    assert pins == [*serving_requirements(), *(f"{name}==1" for name in packages)]


def test_logged_model_holds_no_pickle_and_all_its_pins(
    logged: tuple[MlflowClient, str, str],
) -> None:
    client, _, model_id = logged
    folder = Path(client.get_logged_model(model_id).artifact_location)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "MLmodel",
        "input_example.json",
        "requirements.txt",
        "pyfunc.py",
        "code/sentiment/inference/bundle.py",
        "artifacts/bundle/config.json",
        "artifacts/bundle/vocabulary.json",
        "artifacts/bundle/labels.json",
        "artifacts/bundle/weights.safetensors",
    } <= files
    kinds = {Path(name).suffix for name in files}
    assert kinds <= {"", ".json", ".txt", ".yaml", ".py", ".c", ".typed", ".safetensors"}
    pins = (folder / "requirements.txt").read_text().split()
    assert pins == serving_requirements()
    assert f"torch=={metadata.version('torch').partition('+')[0]}" in pins
    assert not any("+" in pin for pin in pins)


def test_logged_model_runs_where_the_project_is_not_installed(
    make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    save_mlflow_model(make_bundle(1), folder)
    # Without `site` no path file is read, so that an editable installation is not seen.
    code = f"""
import json, sys
sys.path.append({sysconfig.get_path("purelib")!r})
for name in ("ray", "optuna", "sweeps", "gensim"):
    sys.modules[name] = None
import mlflow.pyfunc, pandas as pd
before = set(sys.modules)
model = mlflow.pyfunc.load_model({str(folder)!r})
answer = model.predict(pd.DataFrame({{"text": {TEXTS!r}}}))
import sentiment
json.dump({{
    "file": sentiment.__file__,
    "answer": answer.to_dict("list"),
    "dtype": str(answer["probability"].dtype),
    "schema": [model.metadata.get_input_schema().to_dict(),
               model.metadata.get_output_schema().to_dict()],
    "modules": sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}),
}}, sys.stdout)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    assert Path(told["file"]).is_relative_to(folder)
    expected = Bundle.load(make_bundle(1)).predict(TEXTS)
    assert told["answer"]["label"] == [("neg", "pos")[index] for index in expected.argmax(1)]
    np.testing.assert_allclose(told["answer"]["probability"], expected.max(1), atol=1e-6)
    assert told["dtype"] == "float32"
    inputs, outputs = told["schema"]
    assert [(one["name"], one["type"]) for one in inputs] == [("text", "string")]
    assert [(one["name"], one["type"]) for one in outputs] == [
        ("label", "string"),
        ("probability", "float"),
    ]
    assert _distributions_of(told["modules"]) <= _closure(serving_requirements())


def _distributions_of(modules: list[str]) -> set[str]:
    owners = metadata.packages_distributions()
    names = {_canonical(owner) for module in modules for owner in owners.get(module, [])}
    return names - {"sentiment-sweeps"}


def _closure(requirements: list[str]) -> set[str]:
    """All distributions that the requirements bring, by their own requirements."""
    todo, seen = [Requirement(line).name for line in requirements], set[str]()
    while todo:
        name = _canonical(todo.pop())
        if name in seen:
            continue
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        seen.add(name)
        wanted = map(Requirement, lines)
        todo += [r.name for r in wanted if not r.marker or r.marker.evaluate({"extra": ""})]
    return seen


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


@pytest.fixture(scope="module")
def classifier(make_bundle: Callable[[int], Path]) -> TextClassifier:
    class Context:
        artifacts = {"bundle": str(make_bundle(1))}  # noqa: RUF012

    model = TextClassifier()
    model.load_context(Context())  # type: ignore[arg-type]
    return model


def test_scoring_takes_a_frame_or_a_list(classifier: TextClassifier) -> None:
    by_frame = classifier.predict(None, pd.DataFrame({"id": range(4), "text": TEXTS}))
    by_list = classifier.predict(None, TEXTS)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(by_frame, by_list)
    assert list(by_frame) == ["label", "probability"]
    assert (by_frame["probability"] >= 0.5).all()


def test_scoring_of_nothing(classifier: TextClassifier) -> None:
    answer = classifier.predict(None, pd.DataFrame({"text": []}))
    assert len(answer) == 0
    assert list(answer) == ["label", "probability"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"text": ["fine", None]}), "row 1: `text` must be a string"),
        (pd.DataFrame({"text": [3]}), "row 0: `text` must be a string, not int"),
        (pd.DataFrame({"review": ["fine"]}), "needs a column `text`"),
    ],
)
def test_scoring_refuses_what_is_no_text(
    classifier: TextClassifier, given: pd.DataFrame, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        classifier.predict(None, given)


def _start(store: tuple[MlflowClient, str]) -> RunRecord:
    client, experiment_id = store
    parameters = run_parameters(Config(), "imdb-25k", "f00")
    return RunRecord.start(client, experiment_id, "one", parameters=parameters, precision="float32")


def test_run_that_ends_well(store: tuple[MlflowClient, str]) -> None:
    with _start(store) as run:
        run.log({"valid/accuracy": 0.5}, 64)
        run.log({"valid/accuracy": 0.75}, 128)
    told = store[0].get_run(run.run_id)
    assert told.info.status == "FINISHED"
    assert told.info.run_name == "one"
    history = store[0].get_metric_history(run.run_id, "valid/accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(64, 0.5), (128, 0.75)]
    assert told.data.params["cell"] == "lstm"
    assert told.data.tags["provenance.precision"] == "float32"


def test_run_that_fails_keeps_its_traceback(
    store: tuple[MlflowClient, str], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError), _start(store) as run:
        raise RuntimeError("no answer from http://user:secret@host/x")
    client = store[0]
    assert client.get_run(run.run_id).info.status == "FAILED"
    text = Path(client.download_artifacts(run.run_id, "error.txt", str(tmp_path))).read_text()
    assert "no answer from http://***@host/x" in text
    assert "secret" not in text


def test_run_that_is_interrupted(store: tuple[MlflowClient, str]) -> None:
    with pytest.raises(KeyboardInterrupt), _start(store) as run:
        raise KeyboardInterrupt
    assert store[0].get_run(run.run_id).info.status == "KILLED"
