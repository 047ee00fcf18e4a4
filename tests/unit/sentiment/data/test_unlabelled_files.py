"""Texts without labels from files of the user's own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from sentiment.config import TextConfig
from sentiment.data.corpus import load_corpus
from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.data.identity import portable
from sentiment.data.sources import absolute
from sentiment.data.splits import twin_key
from sentiment.errors import InputError


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    rows = [f"film number {number},{'good' if number % 2 else 'bad'}" for number in range(60)]
    path.write_text("\n".join(["text,label", *rows]))
    return path


def load(labelled: Path, *unlabelled: Path, **changes: object) -> tuple[Dataset, list[str]]:
    said: list[str] = []
    names = tuple(map(str, unlabelled))
    config = DataConfig(data=(str(labelled),), unlabelled=names or None, **changes)  # type: ignore[arg-type]
    return load_dataset(config, said.append), said


def test_they_become_the_split_unsup(labelled: Path, tmp_path: Path) -> None:
    plain, _ = load(labelled)
    path = tmp_path / "more.csv"
    held = plain.splits["test"].texts[0], plain.splits["valid"].texts[0]
    known = plain.splits["train"].texts[0]
    lines = ["text", "new one", '"a second, longer"', "NEW  one", "", *held, known.upper(), '" "']
    path.write_text("\n".join(lines))
    found, said = load(labelled, path)
    assert found.splits["unsup"].texts == ["new one", "a second, longer"]
    assert len(found.splits["unsup"].labels) == 0
    assert said[-1] == (
        "more.csv: 7 rows read, 2 texts without labels; left out: 1 repeated, 1 in test, "
        "1 in valid, 1 in train, 1 without a text"
    )
    for name in ("train", "valid", "test"):
        assert found.splits[name].texts == plain.splits[name].texts
    assert found.fingerprint != plain.fingerprint
    assert not {*map(twin_key, found.splits["unsup"].texts)} & {
        twin_key(text) for name in ("train", "valid", "test") for text in found.splits[name].texts
    }
    words = load_corpus(found, TextConfig()).words
    assert "second" in words
    assert "second" not in load_corpus(plain, TextConfig()).words


def test_forms_of_files_and_a_column_of_labels(labelled: Path, tmp_path: Path) -> None:
    rows = tmp_path / "a.jsonl"
    rows.write_text("\n".join(json.dumps({"text": f"json {n}", "label": "good"}) for n in range(3)))
    packed = tmp_path / "b.tsv.gz"
    packed.write_bytes(gzip.compress(b"label\ttext\nbad\tfrom tsv\n"))
    found, said = load(labelled, rows, packed)
    assert found.splits["unsup"].texts == ["json 0", "json 1", "json 2", "from tsv"]
    assert said[-1] == "a.jsonl+1: 4 rows read, 4 texts without labels"


def test_the_same_texts_as_the_labelled_ones_leave_no_split(labelled: Path) -> None:
    copy = labelled.with_name("copy.csv")
    copy.write_bytes(labelled.read_bytes())
    plain, _ = load(labelled)
    found, _ = load(labelled, copy)
    assert list(found.splits) == ["train", "valid", "test"]
    assert found.fingerprint == plain.fingerprint


def test_beside_a_data_set_by_name_and_few_labels(tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text("body\nsomething new\n")
    config = DataConfig(
        dataset="rotten-tomatoes", unlabelled=(str(path),), text_column=("body",), label_share=0.1
    )
    found = load_dataset(config)
    assert len(found.splits["train"]) == 596
    assert len(found.splits["unsup"]) == 5_970 - 596 + 1
    assert "something new" in found.splits["unsup"].texts
    assert portable(config)["unlabelled"] == ["more.csv"]
    relative = config.model_copy(update={"unlabelled": ("more.csv",)})
    assert absolute(relative).unlabelled == (str(Path("more.csv").absolute()),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("review\nx\n", "there is no column 'text'; .*the columns are 'review'"),
        (None, "No such file|no such file|can't be read"),
    ],
)
def test_files_that_can_not_be_read(
    labelled: Path, tmp_path: Path, content: str | None, says: str
) -> None:
    path = tmp_path / "more.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=says):
        load(labelled, path)


def test_names_that_can_not_be(labelled: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text("text\nx\n")
    with pytest.raises(InputError, match=r"--unlabelled .*more.csv: the file is named twice"):
        load(labelled, path, path)
    with pytest.raises(InputError, match=r"--unlabelled .*: texts without labels are in no split"):
        load(labelled, Path(f"{path}:test"))
    with pytest.raises(InputError, match=r"--unlabelled .*none.csv: no file has such a name"):
        load(labelled, tmp_path / "*none.csv")
