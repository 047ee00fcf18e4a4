from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from sentiment.errors import InputError
from sentiment.tracking.logged_model import log_bundle
from sentiment.tracking.provenance import process_tags
from sentiment.tracking.runs import close_run, create_run
from sweeps import clean
from sweeps.registry import versions
from sweeps.registry.champion import champion_state, promote, rollback
from sweeps.tracking import disk_usage
from sweeps.tracking.queries import find_sweep, trials_of

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
    rows = [row.rstrip() for row in capsys.readouterr().out.splitlines()]
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
    versions.register(sweeps.client, "other", model_id=second, run_id=run, tags={}, description="")
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
        assert disk_usage.running_sweep(folder) == "first"
    assert disk_usage.running_sweep(folder) is None


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


def register(sweeps: Sweeps, model_id: str, sweep: str, name: str = "sentiment") -> None:
    """Register a model as a sweep does."""
    run_id = str(sweeps.client.get_logged_model(model_id).source_run_id)
    tags = {"dataset_fingerprint": "f", "sweep.name": sweep}
    versions.register(
        sweeps.client, name, model_id=model_id, run_id=run_id, tags=tags, description=""
    )


def make_champion(sweeps: Sweeps, version: int) -> None:
    state = champion_state(sweeps.client, "sentiment")
    promote(sweeps.client, "sentiment", version, state, {})


def version_numbers(sweeps: Sweeps, name: str = "sentiment") -> list[int]:
    return sorted(int(one.version) for one in versions.all_versions(sweeps.client, name))


def test_versions_that_no_alias_names_go(
    sweeps: Sweeps, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [*sweeps.add("first"), *sweeps.add("second")]
    for number, model in enumerate(models):
        register(sweeps, model, ("first", "second")[number // 2])
    sweeps.client.set_registered_model_alias("sentiment", "challenger", "1")
    # Another name needs the model of the last, and versions of others are not ours to remove.
    register(sweeps, models[3], "second", "films")
    sweeps.client.set_registered_model_alias("films", "champion", "1")
    versions.register(
        sweeps.client,
        "of others",
        model_id=models[0],
        run_id=str(sweeps.client.get_logged_model(models[0]).source_run_id),
        tags={},
        description="",
    )
    gone = [sweeps.files(model) for model in models[1:3]]
    assert sweeps.clean("--versions", "--dry-run") == 0
    told = capsys.readouterr().out
    assert "versions 2, 3, 4 without an alias; 1 version stays" in told
    assert "films" not in told
    assert "of others" not in told
    with pytest.raises(InputError, match="removing takes --yes"):
        sweeps.clean("--versions")
    assert version_numbers(sweeps) == [1, 2, 3, 4]
    size = sum(file.stat().st_size for path in gone for file in path.rglob("*") if file.is_file())
    assert sweeps.clean("--versions", "sentiment", "--yes") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"removed {clean.megabytes(size)}"
    assert version_numbers(sweeps) == [1]
    assert (version_numbers(sweeps, "films"), version_numbers(sweeps, "of others")) == ([1], [1])
    assert not any(path.exists() for path in gone)
    assert sweeps.has_models("first") == [True, False]
    assert sweeps.has_models("second") == [False, True]
    assert (sweeps.files(models[3]) / "MLmodel").is_file()
    page = sweeps.client.get_logged_model(models[3]).tags["mlflow.modelVersions"]
    assert page == '[{"name": "films", "version": "1"}]'
    with pytest.raises(InputError, match="--versions sentiment: each of its versions bears an"):
        sweeps.clean("--versions", "sentiment", "--yes")
    with pytest.raises(InputError, match="--versions nope: there is none; there is films, sent"):
        sweeps.clean("--versions", "nope", "--yes")


def test_former_champions_go_when_that_is_asked_for(sweeps: Sweeps) -> None:
    for model in [*sweeps.add("first"), *sweeps.add("second")]:
        register(sweeps, model, "first")
    for number in (1, 2, 3, 4):
        make_champion(sweeps, number)
    with pytest.raises(InputError, match="add --versions"):
        sweeps.clean("--former-champions")
    assert sweeps.clean("--versions", "--yes") == 0
    assert version_numbers(sweeps) == [1, 2, 3, 4]
    # 3 is `previous`.
    assert sweeps.clean("--versions", "--former-champions", "--yes") == 0
    assert version_numbers(sweeps) == [3, 4]
    # A rollback passes over what is gone, and says so where nothing is left.
    client = sweeps.client
    assert rollback(client, "sentiment", champion_state(client, "sentiment")).after == 3
    state = champion_state(client, "sentiment")
    with pytest.raises(InputError, match="before the present one; those before it were removed"):
        rollback(client, "sentiment", state)


def test_versions_of_sweeps_that_have_not_ended_stay(sweeps: Sweeps) -> None:
    for name, state in (("cut", "interrupted"), ("present", "running")):
        register(sweeps, sweeps.add(name, state=state)[0], name)
    # The version of a single training goes, its model stays.
    run = create_run(sweeps.client, sweeps.experiment, "x", tags={}, parameters={})
    model = log_bundle(sweeps.client, run, sweeps.bundle, name="x", metrics={}, step=1)
    close_run(sweeps.client, run, "FINISHED")
    tags = {"dataset_fingerprint": "f"}
    versions.register(
        sweeps.client, "sentiment", model_id=model, run_id=run, tags=tags, description=""
    )
    assert sweeps.clean("--versions", "--yes") == 0
    assert version_numbers(sweeps) == [1, 2]
    assert (sweeps.files(model) / "MLmodel").is_file()


@pytest.mark.parametrize("kind", ["models", "checkpoints", "state"])
def test_a_running_sweep_without_any_is_told_as_running(
    sweeps: Sweeps, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = {"sweep.role": "sweep", "sweep.name": "present", "sweep.state": "running"}
    create_run(sweeps.client, sweeps.experiment, "present", tags=tags, parameters={})
    with pytest.raises(InputError, match=f"--{kind} present: it is running, so it stays"):
        sweeps.clean(f"--{kind}", "present", "--yes")
    assert sweeps.clean(f"--{kind}", "--yes") == 0
    told = capsys.readouterr().out
    assert told == (
        "there is nothing of that to remove; what is of a running sweep stays (present)\n"
    )
    tags |= {"sweep.name": "over", "sweep.state": "finished"}
    run = create_run(sweeps.client, sweeps.experiment, "over", tags=tags, parameters={})
    close_run(sweeps.client, run, "FINISHED")
    with pytest.raises(InputError, match=f"--{kind} over: the sweep is finished and has none"):
        sweeps.clean(f"--{kind}", "over", "--yes")
