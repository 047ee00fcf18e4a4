"""Stores whose folder was moved or copied: refused with what to type, and corrected."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from sentiment.errors import InputError
from sentiment.tracking import relocation
from sentiment.tracking.logged_model import log_bundle
from sentiment.tracking.model_uri import resolve_model
from sentiment.tracking.provenance import process_tags
from sentiment.tracking.relocation import displacement, relocate
from sentiment.tracking.runs import close_run, create_run
from sentiment.tracking.store import open_store, read_store


@dataclass
class Recorded:
    """A store with a run, an artifact of it, and a registered model."""

    folder: Path
    run_id: str
    experiment: str

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    def at(self, folder: Path) -> Recorded:
        return Recorded(folder, self.run_id, self.experiment)

    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    def files(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (self.folder / "mlruns").rglob("*")}

    def read(self) -> str:
        """Read the artifact as another process does with MLflow alone."""
        forget_places()
        return mlflow.artifacts.load_text(f"runs:/{self.run_id}/note.txt")


@pytest.fixture
def recorded(
    empty_store: Path,
    make_bundle: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    global_store: Callable[[str], None],
) -> Recorded:
    folder = tmp_path / "original folder"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(empty_store, folder / "mlflow.db")
    client, experiment = open_store(f"sqlite:///{folder}/mlflow.db")
    run_id = create_run(client, experiment, "x", tags={}, parameters={})
    client.log_text(run_id, "as it was", "note.txt")
    model_id = log_bundle(client, run_id, make_bundle(1), name="m", metrics={}, step=1)
    close_run(client, run_id, "FINISHED")
    # MLflow looks a model up in the global store.
    global_store(client.tracking_uri)
    client.create_registered_model("sentiment")
    client.create_model_version("sentiment", f"models:/{model_id}", run_id)
    client.set_registered_model_alias("sentiment", "champion", "1")
    return Recorded(folder, run_id, experiment)


def forget_places() -> None:
    """Clear MLflow's note of where each run's artifacts lie, which it keeps for a process."""
    _artifact_repos_cache.clear()


def paths_in(database: Path, text: str) -> int:
    """Count the values of a database that hold a text."""
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump()).count(text)


def test_a_moved_folder_says_what_to_type_and_is_corrected(
    recorded: Recorded, tmp_path: Path, global_store: Callable[[str], None]
) -> None:
    old = str(recorded.folder)
    moved = recorded.at(Path(shutil.move(recorded.folder, tmp_path / "moved")))
    for use in (read_store, open_store, lambda uri: resolve_model(None, uri)):
        with pytest.raises(InputError) as refused:
            use(moved.uri())
        assert f"{moved.database} was moved from {old}" in str(refused.value)
        command = f"python -m sweeps.clean --relocate --tracking-uri {moved.uri()}"
        assert str(refused.value).endswith(command)

    before = moved.database.read_bytes()
    counts = {"experiments": 1, "runs": 1, "models": 1, "registered versions": 1}
    assert relocate(moved.database, dry_run=True) == counts
    assert moved.database.read_bytes() == before
    assert relocate(moved.database) == counts
    assert displacement(moved.database) is None
    assert relocate(moved.database) == {}

    assert paths_in(moved.database, old) == 0
    bundle = resolve_model(None, moved.uri())
    assert bundle.is_relative_to(moved.folder / "mlruns")
    global_store(moved.uri())
    assert moved.read() == "as it was"
    # A new run's artifacts lie beside the database too.
    client, experiment = open_store(moved.uri())
    run_id = create_run(client, experiment, "y", tags={}, parameters={})
    assert client.get_run(run_id).info.artifact_uri.startswith(f"{moved.folder}/mlruns/")


def test_a_copy_beside_the_original_leaves_its_files_alone(
    recorded: Recorded, tmp_path: Path, global_store: Callable[[str], None]
) -> None:
    copy = recorded.at(Path(shutil.copytree(recorded.folder, tmp_path / "copy")))
    originals = recorded.files()
    with pytest.raises(InputError, match=r"is a copy of the store in .*original folder"):
        open_store(copy.uri())
    relocate(copy.database)
    forget_places()
    client, _ = open_store(copy.uri())
    client.log_text(copy.run_id, "changed", "note.txt")
    global_store(copy.uri())
    assert copy.read() == "changed"
    assert recorded.files() == originals
    global_store(recorded.uri())
    assert recorded.read() == "as it was"
    read_store(recorded.uri())


def test_a_copy_of_the_database_alone_is_to_be_completed_first(
    recorded: Recorded, tmp_path: Path
) -> None:
    copy = recorded.at(tmp_path / "copy")
    copy.folder.mkdir()
    shutil.copyfile(recorded.database, copy.database)
    with pytest.raises(InputError, match="is a copy of the store"):
        open_store(copy.uri())
    before = copy.database.read_bytes()
    with pytest.raises(InputError, match=r"of 2 runs and models .* copy them first \(cp -a '"):
        relocate(copy.database)
    assert copy.database.read_bytes() == before
    shutil.copytree(recorded.folder / "mlruns", copy.folder / "mlruns")
    assert relocate(copy.database)["runs"] == 1


def test_what_is_left_of_a_moved_folder_does_not_matter(recorded: Recorded, tmp_path: Path) -> None:
    (recorded.folder / "notes.txt").write_text("stays")
    (tmp_path / "moved").mkdir()
    for name in ("mlflow.db", "mlruns"):
        shutil.move(recorded.folder / name, tmp_path / "moved" / name)
    found = displacement(tmp_path / "moved" / "mlflow.db")
    assert found is not None
    assert (found.recorded, found.original) == (recorded.folder, False)


def test_a_store_reached_by_another_path_has_not_moved(recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(recorded.folder)
    assert displacement(tmp_path / "link" / "mlflow.db") is None
    read_store(f"sqlite:///{tmp_path}/link/mlflow.db")


def test_artifacts_that_lie_elsewhere_by_intent_stay_there(
    recorded: Recorded, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    client = MlflowClient(recorded.uri())
    for name, location in {"a": f"{project}/mlruns/7", "b": "s3://bucket/mlruns/8"}.items():
        client.create_run(client.create_experiment(name, location))
    read_store(recorded.uri())
    moved = recorded.at(Path(shutil.move(recorded.folder, tmp_path / "moved")))
    relocate(moved.database)
    locations = {each.name: each.artifact_location for each in client_of(moved)}
    assert locations["a"] == f"{project}/mlruns/7"
    assert locations["b"] == "s3://bucket/mlruns/8"


def client_of(recorded: Recorded) -> list[mlflow.entities.Experiment]:
    return list(MlflowClient(recorded.uri()).search_experiments())


def test_locations_may_be_file_addresses(recorded: Recorded, tmp_path: Path) -> None:
    location = (recorded.folder / "mlruns" / "with a blank").as_uri()
    client = MlflowClient(recorded.uri())
    run = client.create_run(client.create_experiment("file", location))
    client.log_text(run.info.run_id, "x", "note.txt")
    moved = recorded.at(Path(shutil.move(recorded.folder, tmp_path / "mo ved")))
    assert relocate(moved.database)["runs"] == 2
    client = MlflowClient(moved.uri())
    expected = (moved.folder / "mlruns" / "with a blank").as_uri()
    found = client.get_run(run.info.run_id).info.artifact_uri
    assert found == f"{expected}/{run.info.run_id}/artifacts"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["note.txt"]


def test_a_run_that_is_written_holds_a_correction_off(recorded: Recorded, tmp_path: Path) -> None:
    client = MlflowClient(recorded.uri())
    run_id = create_run(client, recorded.experiment, "y", tags=process_tags(), parameters={})
    moved = recorded.at(Path(shutil.move(recorded.folder, tmp_path / "moved")))
    with pytest.raises(InputError, match=f"process {os.getpid()} is writing the run {run_id}"):
        relocate(moved.database)
    with closing(sqlite3.connect(moved.database)) as connection:
        connection.execute(
            "UPDATE tags SET value = '999999999' WHERE key = 'process.pid' AND run_uuid = ?",
            (run_id,),
        )
        connection.commit()
    assert relocate(moved.database)["runs"] == 2


def test_a_database_that_cannot_be_written_is_told_of(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relocation, "_BUSY_SECONDS", 0.05)
    moved = recorded.at(Path(shutil.move(recorded.folder, tmp_path / "moved")))
    with closing(sqlite3.connect(moved.database)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match=r"can't be corrected \(database is locked\)"):
            relocate(moved.database)
