"""Fixtures that both packages' tests share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

# Before anything imports MLflow: it reads this once.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)

# A job in the background of a script ignores Control-C, and so would the commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Undo what training sets for its thread: hypothesis draws denormal numbers."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture
def global_store() -> Iterator[Callable[[str], None]]:
    """Set the store that MLflow's own functions use; it is the default one again afterwards."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield mlflow.set_tracking_uri
    mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store without experiments; making one takes seconds, copying it none."""
    from sentiment.tracking.store import open_store

    database = tmp_path_factory.mktemp("store") / "empty.db"
    client, experiment_id = open_store(f"sqlite:///{database}", "template")
    client.delete_experiment(experiment_id)
    return database


@pytest.fixture
def store_uri(empty_store: Path, tmp_path: Path) -> str:
    """The address of a store of the test's own."""
    database = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store, database)
    return f"sqlite:///{database}"


@pytest.fixture
def store(store_uri: str) -> tuple[MlflowClient, str]:
    """Client and experiment of a store of the test's own; artifacts lie in the test's folder."""
    from sentiment.tracking.store import open_store

    return open_store(store_uri)


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Save a tiny model with weights drawn from a seed, and return its folder."""
    import torch

    from sentiment.config import Config
    from sentiment.data.vocabulary import SPECIALS, Vocabulary
    from sentiment.inference.bundle import Bundle
    from sentiment.nn.classifier import Classifier

    def make(seed: int) -> Path:
        torch.manual_seed(seed)
        config = Config.from_flat(
            {"embedding": "random", "embedding_dim": 4, "hidden_dim": 3, "tokenizer": "whitespace"}
        )
        vocabulary = Vocabulary((*SPECIALS, "great", "bad", "film", "this", "is"))
        matrix = torch.randn(len(vocabulary), 4)
        model = Classifier(config.model, len(vocabulary), 4, 2, matrix)
        bundle = Bundle(config, vocabulary, ("neg", "pos"), model.state_dict(), {"seed": seed})
        return bundle.save(tmp_path_factory.mktemp("bundle") / f"seed-{seed}")

    return make


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A finished sweep, read by many tests; what they add to its store has other names.

    One test process makes it, and each other one takes a copy.
    """
    from real_sweep import copy_sweep, read_sweep, run_sweep

    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        folder = tmp_path_factory.mktemp("sweep")
        run_sweep(folder)
        return read_sweep(folder)
    made = tmp_path_factory.getbasetemp().parent / "sweep"
    with FileLock(made.with_suffix(".lock")):
        if not made.exists():
            making = made.with_name("sweep-making")
            making.mkdir()
            run_sweep(making)
            making.rename(made)
    folder = tmp_path_factory.mktemp("sweep")
    copy_sweep(made, folder)
    return read_sweep(folder)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """A file of 400 short reviews that differ, and the data set that it makes."""
    from winners import make_reviews

    return make_reviews(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def better_and_worse(make_bundle, reviews):
    """Two tiny models of which the first is clearly the better one."""
    from winners import better_and_worse_of

    return better_and_worse_of(make_bundle, reviews[1])


@pytest.fixture
def registry(store, reviews, better_and_worse, make_bundle, only_store):
    """An empty registry, with two models and the data to register versions of them."""
    from winners import Registry

    return Registry(*store, reviews, *better_and_worse, make_bundle)


@pytest.fixture
def in_process(monkeypatch):
    """Have models judged in this process: the tests of `isolated_scoring` start one for each."""
    from winners import answers_here

    from sweeps.registry import isolated_scoring

    monkeypatch.setattr(isolated_scoring, "score_in_subprocess", answers_here)


@pytest.fixture
def only_store(tmp_path_factory, monkeypatch):
    """See to it that nothing lands in the default store of the current folder."""
    folder = tmp_path_factory.mktemp("current")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    assert list(folder.iterdir()) == []
