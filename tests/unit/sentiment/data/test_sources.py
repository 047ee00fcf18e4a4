from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentiment.data.config import DataConfig
from sentiment.data.sources import Source, absolute, common_name, find_sources, split_name
from sentiment.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.csv", "b.csv", "test.csv", "odd:test", "odd[1].csv"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a.csv"], [("a.csv", None)]),
        (["?.csv"], [("a.csv", None), ("b.csv", None)]),
        (["a.csv", "test.csv:test"], [("a.csv", "train"), ("test.csv", "test")]),
        (["?.csv:Training", "test.csv: VAL"],
         [("a.csv", "train"), ("b.csv", "train"), ("test.csv", "valid")]),
        (["odd:test"], [("odd:test", None)]),
        (["odd[1].csv"], [("odd[1].csv", None)]),
        (["nowhere.csv"], [("nowhere.csv", None)]),
        (["a.csv", "nowhere.csv:test"], [("a.csv", "train"), ("nowhere.csv", "test")]),
    ],
)  # fmt: skip
def test_files_patterns_and_splits(
    names: list[str], found: list[tuple[str, str | None]], folder: Path
) -> None:
    assert find_sources(names) == [Source(Path(name), split) for name, split in found]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.csv:tets"], "unknown split 'tets'; did you mean test?"),
        (["a.csv:x"], "unknown split 'x'; there are train, training, valid"),
        (["z*.csv"], "--data z*.csv: no file has such a name"),
        (["a.csv", "?.csv"], "--data a.csv: the file is named twice"),
        (["a.csv", "./a.csv:test"], "the file is named twice"),
        ([""], "--data is empty"),
        (["https://host/a.csv"], "not a file of this machine"),
    ],
)
def test_wrong_names(names: list[str], message: str, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_sources(names)
    assert message in str(caught.value)


def test_names_that_are_not_utf8_are_refused(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    Path(name).touch()
    for given in (name, "caf*.csv"):
        with pytest.raises(InputError, match="the file's name is not UTF-8; rename it"):
            find_sources([given])
    below = Path(os.fsdecode(b"caf\xe9"))
    below.mkdir()
    os.chdir(below)
    with pytest.raises(InputError, match="is not UTF-8"):
        find_sources(["x.csv"])


@pytest.mark.parametrize("name", ["val", "Dev", " eval ", "validation", "DEVELOPMENT"])
def test_a_split_has_several_names(name: str) -> None:
    assert split_name(name) == "valid"
    assert split_name("Training") == "train"


def test_places_hold_in_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = DataConfig(data=("a.csv", "~/parts/*.csv:test"), label_column="stars")
    moved = absolute(config)
    assert moved.data == (str(folder / "a.csv"), "/home/me/parts/*.csv:test")
    assert moved.label_column == "stars"
    assert absolute(moved) == moved
    assert absolute(DataConfig(dataset="imdb", data_dir="x")).data_dir == str(folder / "x")
    assert absolute(DataConfig(unlabelled="b.csv")).unlabelled == (str(folder / "b.csv"),)
    assert absolute(DataConfig()) == DataConfig()


def test_a_data_set_of_several_files_has_a_name() -> None:
    assert common_name([Source(Path("x/a.csv.gz"))]) == "a.csv.gz"
    assert common_name([Source(Path("a.csv")), Source(Path("b.csv"))]) == "a.csv+1"
