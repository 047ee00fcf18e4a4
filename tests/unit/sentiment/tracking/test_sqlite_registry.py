"""The champion of an SQLite store without MLflow: the same model as with it, or none."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sentiment.errors import InputError
from sentiment.tracking.logged_model import log_bundle
from sentiment.tracking.model_uri import resolve_model
from sentiment.tracking.runs import create_run
from sentiment.tracking.sqlite_registry import find_bundle

ALIASES = [None, "champion", "challenger", "models:/films@champion", "models:/sentiment@challenger"]


@pytest.fixture
def registered(
    store: tuple[MlflowClient, str],
    make_bundle: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[MlflowClient, str, list[str]]:
    """A store with two models under three aliases, the run's id and the models'."""
    client, experiment_id = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    run_id = create_run(client, experiment_id, "x", tags={}, parameters={})
    models = [
        log_bundle(client, run_id, make_bundle(seed), name="x", metrics={}, step=seed)
        for seed in (0, 1)
    ]
    for name, index, alias in (
        ("sentiment", 0, "champion"),
        ("sentiment", 1, "challenger"),
        ("films", 1, "champion"),
    ):
        if name not in {model.name for model in client.search_registered_models()}:
            client.create_registered_model(name)
        version = client.create_model_version(name, f"models:/{models[index]}", run_id)
        client.set_registered_model_alias(name, alias, version.version)
    return client, run_id, models


def database_of(client: MlflowClient) -> Path:
    return Path(client.tracking_uri.removeprefix("sqlite:///"))


@pytest.mark.parametrize("reference", ALIASES)
def test_the_same_model_as_by_mlflow(
    registered: tuple[MlflowClient, str, list[str]], reference: str | None
) -> None:
    store = registered[0].tracking_uri
    found = find_bundle(reference, None)
    assert found == find_bundle(reference, store) == resolve_model(reference, store)


def test_it_follows_the_alias(registered: tuple[MlflowClient, str, list[str]]) -> None:
    client, _, _ = registered
    before = find_bundle(None, None)
    client.set_registered_model_alias("sentiment", "champion", "2")
    assert find_bundle(None, None) == find_bundle("challenger", None) != before


def test_other_names_are_left_to_mlflow(registered: tuple[MlflowClient, str, list[str]]) -> None:
    _, run_id, models = registered
    others = [run_id, f"runs:/{run_id}", f"models:/{models[0]}", "models:/sentiment/1", "unknown"]
    assert {find_bundle(each, None) for each in others} == {None}


@pytest.mark.parametrize("store", ["http://127.0.0.1:1", "postgresql://h/d", "sqlite:///none.db"])
def test_other_stores_are_left_to_mlflow(store: str) -> None:
    assert find_bundle(None, store) is None


def test_tables_of_another_revision_are_left_to_mlflow(
    registered: tuple[MlflowClient, str, list[str]],
) -> None:
    with closing(sqlite3.connect(database_of(registered[0]))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
    assert find_bundle(None, None) is None


def test_what_is_no_store_is_left_to_mlflow(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database")
    (tmp_path / "empty.db").touch()
    for name in ("text.db", "empty.db"):
        assert find_bundle(None, f"sqlite:///{tmp_path / name}") is None


def test_a_moved_store_and_a_deleted_model_are_left_to_mlflow(
    registered: tuple[MlflowClient, str, list[str]], tmp_path: Path
) -> None:
    client, _, models = registered
    client.delete_logged_model(models[0])
    assert find_bundle(None, None) is None
    assert find_bundle("challenger", None) is not None
    folder = database_of(client).parent
    moved = folder.rename(folder.with_name(f"{folder.name}-moved"))
    assert find_bundle("challenger", f"sqlite:///{moved / database_of(client).name}") is None


def test_lost_files_are_told(registered: tuple[MlflowClient, str, list[str]]) -> None:
    found = find_bundle(None, None)
    assert found is not None
    shutil.rmtree(found)
    with pytest.raises(InputError, match=r"no saved model is in it|no such folder"):
        find_bundle(None, None)


def test_mlflow_is_not_imported(registered: tuple[MlflowClient, str, list[str]]) -> None:
    code = (
        "import sys, sentiment; print(sentiment.load().predict(['great'])[0].label, "
        "[name for name in ('mlflow', 'sqlalchemy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"
