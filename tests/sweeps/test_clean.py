from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from sentiment.errors import InputError
from sentiment.provenance import process_tags
from sentiment.record import close_run, create_run, log_bundle
from sweeps import clean, disk, registry
from sweeps.history import find_sweep, trials_of

Store = tuple[MlflowClient, str]


class Sweeps:
    """Sweeps of two trials in a store of the test's own, with folders as a sweep leaves them."""

    def __init__(self, store: Store, bundle: Path, folder: Path) -> None:
        self.client, self.experiment = store
        self.uri = self.client.tracking_uri
        self.bundle = bundle
        self.folder = folder

    def add(self, name: str, state: str = "finished", alive: bool = True) -> list[str]:
        """Record a sweep; return the ids of its trials' models."""
        process = {} if alive else {**process_tags(), "process.pid": "999999999"}
        tags = {"sweep.role": "sweep", "sweep.name": name, "sweep.state": state, **process}
        parent = create_run(self.client, self.experiment, name, tags=tags, parameters={})
        models = []
        for number in range(2):
            tags = {
                "mlflow.parentRunId": parent,
                "sweep.role": "trial",
                "sweep.name": name,
                "sweep.trial": str(number),
                "sweep.outcome": "completed",
            }
            parameters = {"dataset": "x", "dataset_fingerprint": "f"}
            run = create_run(self.client, self.experiment, "t", tags=tags, parameters=parameters)
            models.append(
                log_bundle(self.client, run, self.bundle, name="t", metrics={}, step=number)
            )
            close_run(self.client, run, "FINISHED")
        if state != "running":
            close_run(self.client, parent, "FINISHED")
        study = self.folder / ".sweeps" / name
        (study / "ray").mkdir(parents=True)
        (study / "study.db").write_bytes(b"x" * 1000)
        (study / "ray" / "checkpoint").write_bytes(b"x" * 5000)
        return models

    def files(self, model_id: str) -> Path:
        return Path(self.client.get_logged_model(model_id).artifact_location)

    def clean(self, *arguments: str) -> int:
        return clean.main(["--tracking-uri", self.uri, *arguments])

    def has_models(self, name: str) -> list[bool]:
        run = find_sweep(self.client, [self.experiment], name)
        return [trial.model_id is not None for trial in trials_of(self.client, run)]


@pytest.fixture
def sweeps(
    store: Store,
    make_bundle: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Sweeps:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    corpus = tmp_path / "cache" / "corpus" / "abc"
    corpus.mkdir(parents=True)
    (corpus / "tokens.npy").write_bytes(b"x" * 2000)
    return Sweeps(store, make_bundle(0), tmp_path)


def test_it_tells_and_removes_nothing(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    models = sweeps.add("first")
    assert sweeps.clean() == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows] == [
        "what",
        "first (finished)",
        "first (finished)",
        "first (finished)",
        "corpus",
        "together",
    ]
    assert "2 models" in rows[1] and rows[1].endswith("--models first")
    assert sweeps.clean("--models", "--state", "--cache", "--dry-run") == 0
    assert "would remove" in capsys.readouterr().out
    with pytest.raises(InputError, match="removing takes --yes"):
        sweeps.clean("--models")
    assert all(sweeps.files(model).is_dir() for model in models)
    assert (sweeps.folder / "cache/corpus/abc/tokens.npy").exists()


def test_registered_models_stay(sweeps: Sweeps) -> None:
    first, second = sweeps.add("first")
    files = sweeps.files(first)
    run = str(sweeps.client.get_logged_model(second).source_run_id)
    registry.register(
        sweeps.client, "other", model_id=second, run_id=run, tags={}, description="", alias=None
    )
    assert sweeps.clean("--models", "first", "--yes") == 0
    assert not files.exists()
    assert (sweeps.files(second) / "MLmodel").is_file()
    assert sweeps.has_models("first") == [False, True]
    # The same when its run, or the whole sweep, is deleted.
    for trial in trials_of(sweeps.client, find_sweep(sweeps.client, [sweeps.experiment], "first")):
        sweeps.client.delete_run(trial.run_id)
    assert sweeps.clean("--deleted", "--yes") == 0
    assert (sweeps.files(second) / "MLmodel").is_file()


def test_nothing_of_a_running_sweep_goes(
    sweeps: Sweeps, capsys: pytest.CaptureFixture[str]
) -> None:
    models = sweeps.add("present", state="running")
    for kind in ("models", "state", "checkpoints"):
        with pytest.raises(InputError, match=f"--{kind} present: it is running, so it stays"):
            sweeps.clean(f"--{kind}", "present", "--yes")
    with pytest.raises(InputError, match="--cache corpus: a sweep is running"):
        sweeps.clean("--cache", "corpus", "--yes")
    flags = ["--models", "--state", "--checkpoints", "--cache", "--deleted", "--yes"]
    assert sweeps.clean(*flags) == 0
    assert "nothing of that to remove" in capsys.readouterr().out
    sweeps.client.delete_run(find_sweep(sweeps.client, [sweeps.experiment]).info.run_id)
    assert sweeps.clean(*flags) == 0
    assert all(sweeps.files(model).is_dir() for model in models)
    assert (sweeps.folder / ".sweeps/present/ray/checkpoint").exists()
    assert (sweeps.folder / "cache/corpus/abc/tokens.npy").exists()


def test_interrupted_sweeps_are_named(sweeps: Sweeps) -> None:
    # One that says that it runs, but whose process is gone, is interrupted as well.
    models = sweeps.add("cut", state="running", alive=False)
    sweeps.add("done")
    elsewhere = sweeps.folder / ".sweeps/of-another-store/study.db"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"x")
    assert sweeps.clean("--models", "--checkpoints", "--yes") == 0
    assert sweeps.has_models("cut") == [True, True]
    assert sweeps.has_models("done") == [False, False]
    assert (sweeps.folder / ".sweeps/cut/ray").is_dir()
    assert not (sweeps.folder / ".sweeps/done/ray").exists()
    assert (sweeps.folder / ".sweeps/done/study.db").exists()
    assert sweeps.clean("--state", "--yes") == 0
    assert not (sweeps.folder / ".sweeps/done").exists()
    assert elsewhere.exists()
    assert sweeps.clean("--state", "cut", "--checkpoints", "cut", "--yes") == 0
    assert not (sweeps.folder / ".sweeps/cut").exists()
    assert all(sweeps.files(model).is_dir() for model in models)
    with pytest.raises(InputError, match="--models nope: there is none; there is cut"):
        sweeps.clean("--models", "nope", "--yes")


def test_what_was_deleted_in_mlflow(sweeps: Sweeps) -> None:
    models = sweeps.add("first")
    others = sweeps.add("second")
    run = find_sweep(sweeps.client, [sweeps.experiment], "first")
    sweeps.client.log_text(run.info.run_id, "x", "space.yaml")
    gone = [sweeps.files(model) for model in models]
    # Its trials are not deleted with it.
    sweeps.client.delete_run(run.info.run_id)
    assert sweeps.clean("--deleted", "--state", "first", "--yes") == 0
    assert not any(path.exists() for path in gone)
    assert not Path(run.info.artifact_uri, "space.yaml").exists()
    assert not (sweeps.folder / ".sweeps/first").exists()
    assert all(sweeps.files(model).is_dir() for model in others)
    assert (sweeps.folder / ".sweeps/second").exists()


def test_a_folder_that_a_process_holds_stays(sweeps: Sweeps) -> None:
    sweeps.add("first")
    lock = FileLock(sweeps.folder / ".sweeps/first/lock")
    with lock, pytest.raises(InputError, match="it is running"):
        sweeps.clean("--state", "first", "--yes")
    assert sweeps.clean("--state", "first", "--yes") == 0
    assert not (sweeps.folder / ".sweeps/first").exists()


def test_the_record_of_a_moved_folder_is_corrected(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps.add("first")
    assert clean.main(["--relocate"]) == 0
    assert "nothing to correct" in capsys.readouterr().out
    with pytest.raises(InputError, match="--relocate removes nothing"):
        clean.main(["--relocate", "--models"])
    with pytest.raises(InputError, match="--relocate is for a store in an SQLite file"):
        clean.main(["--relocate", "--tracking-uri", "http://127.0.0.1:1"])

    here = sweeps.folder
    moved = here.with_name("moved")
    here.rename(moved)
    monkeypatch.chdir(moved)
    with pytest.raises(InputError, match=r"was moved from \S+ .*sweeps\.clean --relocate$"):
        clean.main([])
    lock = FileLock(moved / ".sweeps/first/lock")
    with lock, pytest.raises(InputError, match="the sweep first is running"):
        clean.main(["--relocate"])
    what = f"1 experiment, 3 runs, 2 models: from {here} to {moved}"
    for flags, line in {
        ("--dry-run",): f"would correct {what} (--dry-run)",
        (): f"corrected {what}",
    }.items():
        assert clean.main(["--relocate", *flags]) == 0
        assert capsys.readouterr().out == f"{line}\n"
    assert clean.main(["--models", "first", "--yes"]) == 0
    assert not list(moved.glob("mlruns/**/MLmodel"))


def test_a_lock_that_may_not_be_written_is_read(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.add("first")
    folder = sweeps.folder / ".sweeps"
    lock = FileLock(folder / "first" / "lock")
    with lock:
        pass

    def refuse(self: FileLock, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with lock:
        monkeypatch.setattr(FileLock, "acquire", refuse)
        assert disk.running_sweep(folder) == "first"
    assert disk.running_sweep(folder) is None


def test_the_cache_without_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    for kind, entry in (("corpus", "abc"), ("corpus", ".abc-x1"), ("word2vec", "def")):
        (tmp_path / "cache" / kind / entry).mkdir(parents=True)
        (tmp_path / "cache" / kind / entry / "file").write_bytes(b"x" * 500_000)
    with FileLock(tmp_path / "cache/word2vec/def.lock"):
        assert clean.main(["--cache", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "removed 1.0 MB"
    assert list((tmp_path / "cache/corpus").iterdir()) == []
    assert (tmp_path / "cache/word2vec/def/file").exists()
    assert not (tmp_path / "mlflow.db").exists()
