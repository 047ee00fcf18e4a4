from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking.logged_model import log_bundle, save_mlflow_model
from sentiment.tracking.model_uri import resolve_model
from sentiment.tracking.runs import create_run
from sentiment.tracking.store import open_store


@pytest.fixture
def trained(
    store: tuple[MlflowClient, str], make_bundle: Callable[[int], Path]
) -> tuple[MlflowClient, str, list[str]]:
    """A run with two logged models, by the seeds 0 and 1."""
    client, experiment_id = store
    run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
    models = [
        log_bundle(client, run_id, make_bundle(seed), name="x", metrics={}, step=seed)
        for seed in (0, 1)
    ]
    return client, run_id, models


def seed_of(reference: str | None, client: MlflowClient) -> int:
    seed: int = Bundle.load(resolve_model(reference, client.tracking_uri)).metadata["seed"]
    return seed


def test_models_by_all_their_names(
    trained: tuple[MlflowClient, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run_id, (first, second) = trained
    # A registry on a database looks `models:/m-…` up in MLflow's global store.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    client.create_registered_model("sentiment")
    for model_id, alias in ((first, "champion"), (second, "challenger")):
        version = client.create_model_version("sentiment", f"models:/{model_id}", run_id)
        client.set_registered_model_alias("sentiment", alias, version.version)
    names = {
        None: 0,
        "models:/sentiment@champion": 0,
        "models:/sentiment/2": 1,
        "models:/sentiment/1": 0,
        "challenger": 1,
        f"models:/{first}": 0,
        # Of a run's models the one that has seen more examples is meant.
        run_id: 1,
        f"runs:/{run_id}": 1,
    }
    assert {name: seed_of(name, client) for name in names} == names


def test_models_by_their_folders(make_bundle: Callable[[int], Path], tmp_path: Path) -> None:
    bundle = make_bundle(0)
    save_mlflow_model(bundle, tmp_path / "model")
    assert resolve_model(str(bundle)) == bundle
    assert resolve_model(str(tmp_path / "model")) == tmp_path / "model/artifacts/bundle"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, r"no champion yet: python -m sweeps\.promote"),
        ("models:/sentiment@challenger", "no version of the model 'sentiment' is called"),
        ("models:/other@champion", r"the model 'other' has no champion yet"),
        ("models:/sentiment/7", "version=7"),
        ("models:/m-00000000000000000000000000000000", "not found"),
        ("0" * 32, "not found"),
        ("s3://bucket/model", "name a model as a folder"),
        ("no/such/folder", "there is no such folder"),
    ],
)
def test_models_that_are_not_there(
    store: tuple[MlflowClient, str], reference: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        resolve_model(reference, store[0].tracking_uri)


def test_a_model_under_another_name_is_named(store: tuple[MlflowClient, str]) -> None:
    client, _ = store
    client.create_registered_model("films")
    for reference, told in (
        (
            None,
            "no model 'sentiment' is registered here, but 'films': --model-name films",
        ),
        ("models:/films@champion", "the model 'films' has no champion yet"),
    ):
        with pytest.raises(InputError, match=told):
            resolve_model(reference, client.tracking_uri)


def test_run_and_folder_without_a_model(store: tuple[MlflowClient, str], tmp_path: Path) -> None:
    client, experiment_id = store
    run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
    with pytest.raises(InputError, match="has saved no model"):
        resolve_model(run_id, client.tracking_uri)
    with pytest.raises(InputError, match="no saved model is in it"):
        resolve_model(str(tmp_path))


def test_model_whose_files_are_gone(trained: tuple[MlflowClient, str, list[str]]) -> None:
    client, run_id, (_, second) = trained
    location = Path(client.get_logged_model(second).artifact_location)
    (location / "artifacts/bundle/config.json").unlink()
    with pytest.raises(InputError, match="no saved model is in it"):
        resolve_model(run_id, client.tracking_uri)


def test_no_store_is_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"python -m sweeps\.launch"):
        resolve_model(None, f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_model_that_a_server_keeps(
    make_bundle: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        client, experiment_id = _open_when_ready(f"http://127.0.0.1:{port}")
        run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
        model_id = log_bundle(client, run_id, make_bundle(0), name="x", metrics={}, step=1)
        fetched = resolve_model(run_id, client.tracking_uri)
        assert fetched.is_relative_to(tmp_path / "cache" / "models" / model_id)
        for path in make_bundle(0).iterdir():
            assert (fetched / path.name).read_bytes() == path.read_bytes()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _open_when_ready(uri: str) -> tuple[MlflowClient, str]:
    deadline = time.monotonic() + 120
    while True:
        try:
            return open_store(uri)
        except InputError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
