"""Nothing is unpickled from training to serving, and no name or archive leaves its folder."""

from __future__ import annotations

import ast
import io
import json
import pickle
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

import sentiment
import sweeps
from sentiment import cli
from sentiment.config import TextConfig
from sentiment.data.corpus import Corpus, load_corpus
from sentiment.data.datasets import Dataset, Split
from sentiment.errors import InputError
from sentiment.inference.bundle import FILES, Bundle
from sentiment.io.archive import read_members
from sentiment.io.cache import cached, sha256_of
from sentiment.tracking.logged_model import save_mlflow_model
from sentiment.tracking.model_uri import find_model, resolve_model
from sentiment.tracking.store import open_store
from sweeps.config import SweepSettings
from sweeps.serving.ports import warn_if_open
from sweeps.serving.served_model import load_served
from sweeps.tracking.queries import find_sweep

UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "read_pickle"}


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    mark = tmp_path / "unpickled"
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301 - it does go off
    mark.unlink()
    return mark


def _corpus() -> Corpus:
    texts = {"train": ["a film", "great"], "valid": ["bad"], "test": ["a great film"]}
    splits = {
        name: Split(some, np.zeros(len(some), dtype=np.int64)) for name, some in texts.items()
    }
    dataset = Dataset("tiny", ("neg", "pos"), splits, "f" * 64)
    return load_corpus(dataset, TextConfig(tokenizer="whitespace"))


@pytest.mark.parametrize("package", [sentiment, sweeps])
def test_no_module_unpickles(package: object) -> None:
    for path in Path(package.__file__).parent.rglob("*.py"):  # type: ignore[attr-defined]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").partition(".")[0]]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
                loads = isinstance(node.value, ast.Name) and node.value.id == "torch"
                assert not (loads and node.attr == "load"), f"{path}: torch.load"
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path
            assert not UNPICKLERS & set(names), f"{path}: {names}"


@pytest.mark.parametrize("file", FILES)
def test_pickle_in_place_of_a_bundles_file_is_refused(
    file: str, make_bundle: Callable[[int], Path], mark: Path, tmp_path: Path
) -> None:
    folder = Bundle.load(make_bundle(0)).save(tmp_path / "model")
    for write in (
        lambda path: path.write_bytes(pickle.dumps(Bomb(mark))),
        lambda path: torch.save(Bomb(mark), path),
    ):
        write(folder / file)
        with pytest.raises(InputError, match=file):
            Bundle.load(folder)
    assert not mark.exists()


def test_pickles_in_a_logged_models_folder_are_ignored(
    make_bundle: Callable[[int], Path], mark: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    save_mlflow_model(make_bundle(0), folder)
    expected = Bundle.load(resolve_model(str(folder))).predict(["great film"])
    bomb = pickle.dumps(Bomb(mark))
    for place in ("python_model.pkl", "model.pkl", "artifacts/bundle/weights.pt"):
        (folder / place).write_bytes(bomb)
    # As MLflow describes a model whose object is a pickle.
    described = (folder / "MLmodel").read_text()
    changed = described.replace("model_code_path:", "python_model: python_model.pkl\n    unused:")
    assert changed != described
    (folder / "MLmodel").write_text(changed)
    (folder / "code" / "sentiment" / "__init__.py").write_text(f"open({str(mark)!r}, 'w')")
    assert np.array_equal(Bundle.load(resolve_model(str(folder))).predict(["great film"]), expected)
    # The server takes the bundle, and neither the code nor the description beside it.
    assert np.array_equal(
        load_served(find_model(str(folder))).bundle.predict(["great film"]), expected
    )
    assert not mark.exists()


def test_pickle_in_the_cache_is_refused(
    mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    corpus = _corpus()
    assert corpus.counts.size
    (entry,) = (tmp_path / "cache" / "corpus").iterdir()
    np.save(entry / "counts.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    # A torn or changed entry is built again.
    assert np.array_equal(_corpus().counts, corpus.counts)
    # Whoever can write there may make the checksums fit too.
    np.save(entry / "counts.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    manifest = json.loads((entry / "manifest.json").read_text())
    path = entry / "counts.npy"
    manifest["counts.npy"] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    (entry / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        _corpus()
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../x", "..", "", "a/b", "/etc", ".hidden", "x\0", "m-" * 200])
def test_names_of_cache_entries_stay_in_the_cache(name: str) -> None:
    for names in ((name, "f1"), ("models", name)):
        with pytest.raises(ValueError, match="no name of a cache entry"):
            cached(*names, build=lambda folder: None)


@pytest.mark.parametrize("experiment", ["..", ".", "../../x", "a/b"])
def test_names_of_experiments_stay_beside_the_store(
    experiment: str, store_uri: str, tmp_path: Path
) -> None:
    client, experiment_id = open_store(store_uri, experiment)
    location = Path(client.get_experiment(experiment_id).artifact_location)
    assert location.parent == tmp_path / "mlruns"
    assert location.name not in (".", "..")


@pytest.mark.parametrize("name", ["../../evil.txt", "/etc/evil.txt", "a/../../evil.txt"])
def test_archives_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    path = tmp_path / "reviews.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(InputError, match="lies outside its folder"):
        read_members(path, re.compile(""), 100_000)


def test_credentials_reach_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(argv: list[str] | None) -> None:
        raise InputError("unrecognized arguments: --store=http://somebody:hunter2@host/x")

    def break_down(argv: list[str] | None) -> None:
        raise RuntimeError("API request to http://somebody:hunter2@host/api failed")

    for main, status in ((fail, 2), (break_down, 1)):
        with pytest.raises(SystemExit) as ended:
            cli.run(main)
        assert ended.value.code == status
        told = capsys.readouterr().err
        assert "hunter2" not in told
        assert "http://***@host" in told


def test_messages_bring_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(argv: list[str] | None) -> None:
        raise InputError("no such label: \x1b[31mred\x07" + "x" * 10_000)

    with pytest.raises(SystemExit):
        cli.run(fail)
    told = capsys.readouterr().err
    assert told.startswith(r"error: no such label: \x1b[31mred\x07xxx")
    assert len(told) < 2_100


@pytest.mark.parametrize(
    ("host", "open_to_others"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("::", True)],
)
def test_server_that_others_reach_says_so(
    host: str, open_to_others: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_if_open(host)
    assert ("asks for no password" in capsys.readouterr().err) == open_to_others


def test_settings_of_a_sweep_hold_no_address() -> None:
    text = SweepSettings(trials=3, tracking_uri="http://somebody:hunter2@host").to_json()
    assert "hunter2" not in text
    assert SweepSettings.from_json(text).tracking_uri is None


def test_name_of_a_sweep_in_the_store_stays_a_name(store: tuple[MlflowClient, str]) -> None:
    client, experiment_id = store
    tags = {"sweep.role": "sweep", "sweep.name": "../../elsewhere"}
    client.create_run(experiment_id, tags=tags)
    for name in (None, "../../elsewhere"):
        with pytest.raises(InputError, match="no sweep can have"):
            find_sweep(client, [experiment_id], name)
