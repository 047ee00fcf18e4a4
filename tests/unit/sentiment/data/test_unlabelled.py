"""Texts without labels: which are taken, what leaves, and what keeps its labels."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment.config import TextConfig
from sentiment.data.corpus import load_corpus
from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.data.summary import brief, described, group_line
from sentiment.errors import InputError

CLASSES = (("good", "up"), ("bad", "down"))
ROWS = [(f"{word} film number {i}", label) for i in range(40) for word, label in CLASSES]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a CSV, and returns its name; own.csv is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))

    def write(name: str, *lines: str, header: str = "text") -> str:
        Path(name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return name

    write("own.csv", *map(",".join, ROWS), header="text,label")
    return write


def own(said: list[str] | None = None, **options: Any) -> Dataset:
    config = DataConfig(data="own.csv", **options)
    return load_dataset(config, None if said is None else said.append)


def sizes(dataset: Dataset) -> dict[str, int]:
    return {name: len(split) for name, split in dataset.splits.items()}


def test_a_file_beside_ones_own(write: Callable[..., str]) -> None:
    plain = own()
    held = [plain.splits[name].texts[0] for name in ("test", "valid", "train")]
    lines = [
        "new one",
        f"{held[0].upper()}",
        f"  {held[1]}",
        held[2],
        held[2],
        "new two",
        "new two",
        '""',
        "  ",
    ]
    write("more.csv", *lines)
    said: list[str] = []
    dataset = own(said, unlabelled="more.csv")
    assert said == [
        "own.csv: 80 rows read, 0 skipped",
        "more.csv: 9 rows read, 2 skipped: 2 without a text",
        "more.csv: 1 text left unsup, it stands in test",
        "more.csv: 1 text left unsup, it stands in valid",
        "more.csv: 2 texts left unsup, they stand in train",
    ]
    assert dataset.splits["unsup"].texts == ["new one", "new two", "new two"]
    assert dataset.splits["unsup"].labels.shape == (0,)
    for name, split in plain.splits.items():
        assert dataset.splits[name].texts == split.texts
    assert dataset.fingerprint != plain.fingerprint
    assert dataset.fingerprint == own(unlabelled=("more.csv",)).fingerprint
    assert dataset.config == DataConfig(data="own.csv", unlabelled="more.csv")
    assert "own.csv unsup: 3 texts" in described(dataset)
    assert "12 test, 3 unsup texts" in brief(dataset)
    write("more.csv", "new one", "new three")
    assert own(unlabelled="more.csv").fingerprint != dataset.fingerprint


def test_only_twins_leave_the_data_set_as_it_is(write: Callable[..., str]) -> None:
    said: list[str] = []
    dataset = own(said, unlabelled="own.csv")  # with a column of labels, which is not read
    assert list(dataset.splits) == ["train", "valid", "test"]
    assert said[-1] == "own.csv: no text is left that is in no other split"
    assert said[1] == "own.csv: 80 rows read, 0 skipped"
    assert dataset.fingerprint == own().fingerprint
    assert dataset.word_splits == ("train",)


def test_every_form_of_file(write: Callable[..., str], tmp_path: Path) -> None:
    write("a1.csv", "of a1;1", header="text;n")
    write("a2.csv", "of a2")
    with gzip.open("lines.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": "of lines"}) + "\n" + json.dumps({"n": 1}) + "\n")
    Path("west.csv").write_bytes("text\nof west, très".replace(", ", " ").encode("cp1252"))
    texts = own(unlabelled=("a?.csv", "lines.jsonl.gz")).splits["unsup"].texts
    assert texts == ["of a1", "of a2", "of lines"]
    west = load_dataset(
        DataConfig(dataset="rotten-tomatoes", unlabelled="west.csv", encoding="cp1252")
    )
    assert west.splits["unsup"].texts == ["of west très"]
    Path("headless.tsv").write_text('one "mark\ttwo\n')
    bare = DataConfig(
        dataset="rotten-tomatoes", unlabelled="headless.tsv", no_header=True, quoting="none",
        text_column=("2", "1"),
    )  # fmt: skip
    assert load_dataset(bare).splits["unsup"].texts == ['two\none "mark']
    # A text of several lines, of which each looks like a row: there is no label to tell by.
    Path("long.csv").write_text('text\n"first\nsecond\nthird"\n')
    assert own(unlabelled="long.csv").splits["unsup"].texts == ["first\nsecond\nthird"]


def test_flags_of_either_kind_of_file_count(write: Callable[..., str]) -> None:
    Path("own.jsonl").write_text("\n".join(json.dumps({"text": t, "label": n}) for t, n in ROWS))
    Path("more.csv").write_text("text~n\nnew~1\n")
    dataset = load_dataset(DataConfig(data="own.jsonl", unlabelled="more.csv", delimiter="~"))
    assert dataset.splits["unsup"].texts == ["new"]
    with pytest.raises(InputError, match="--delimiter is for"):
        load_dataset(DataConfig(data="own.jsonl", delimiter="~"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("gone.csv",), "gone.csv: can't be read (No such file"),
        (("none*.csv",), "--unlabelled none*.csv: no file has such a name"),
        (("more.csv", "./more.csv"), "--unlabelled more.csv: the file is named twice"),
        (("more.csv:test",), "--unlabelled: a file of texts without labels is in no split"),
        (("https://host/more.csv",), "--unlabelled https://host/more.csv: not a file of this"),
        (("",), "--unlabelled is empty"),
        (("other.csv",), "other.csv: there is no column 'text'; did you mean 'Text'? Give --text-"),
        (("empty.csv",), "--unlabelled: empty.csv: there are no rows"),
        (("blank.csv", "empty.csv"), "--unlabelled: blank.csv and 1 more: there is no text"),
        (("numbers.jsonl",), "numbers.jsonl, line 1: the text is not a string, it is 7"),
        (("more.doc",), "unknown kind of file '.doc'"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    names: tuple[str, ...], message: str, write: Callable[..., str]
) -> None:
    write("more.csv", "new")
    write("more.doc", "new")
    write("other.csv", "new,1", header="Text,n")
    write("empty.csv")
    write("blank.csv", '""', "  ")
    Path("numbers.jsonl").write_text('{"text": 7}\n')
    for config in ({"data": "own.csv"}, {"dataset": "rotten-tomatoes"}):
        with pytest.raises(InputError) as caught:
            load_dataset(DataConfig(**config, unlabelled=names))
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_flags_that_nothing_goes_by_are_refused(write: Callable[..., str]) -> None:
    write("more.csv", "new")
    tomatoes = {"dataset": "rotten-tomatoes", "unlabelled": "more.csv"}
    with pytest.raises(InputError, match="--label-column is for a file of your own"):
        load_dataset(DataConfig(**tomatoes, label_column="stars"))
    with pytest.raises(InputError, match="--text-column is for a file of your own"):
        load_dataset(DataConfig(dataset="rotten-tomatoes", text_column="body"))
    with pytest.raises(InputError, match="--text-column text is named twice"):
        load_dataset(DataConfig(**tomatoes, text_column=("text", "text")))


def test_a_share_keeps_labels_by_class_and_moves_the_rest() -> None:
    said: list[str] = []
    plain = load_dataset(DataConfig())
    few = load_dataset(DataConfig(label_share=0.01), said.append)
    assert said == [
        "imdb-25k: 175 of 17,500 texts of train keep their labels, 17,325 went to unsup "
        "(--label-share 0.01)"
    ]
    assert sizes(few) == {"train": 175, "valid": 3_750, "test": 3_750, "unsup": 17_325}
    assert sorted(np.bincount(few.splits["train"].labels).tolist()) == [87, 88]
    for name in ("valid", "test"):
        assert few.splits[name].texts == plain.splits[name].texts
    label = dict(zip(plain.splits["train"].texts, plain.splits["train"].labels, strict=True))
    kept = few.splits["train"]
    assert [label[text] for text in kept.texts] == kept.labels.tolist()
    assert {*kept.texts, *few.splits["unsup"].texts} == {*plain.splits["train"].texts}
    # Change it only with the version of the data.
    assert few.fingerprint.startswith("b5b531105a73")
    more = load_dataset(DataConfig(label_share=0.1))
    assert {*kept.texts} < {*more.splits["train"].texts}
    other = load_dataset(DataConfig(label_share=0.01, split_seed=2))
    assert other.splits["train"].texts != kept.texts


def test_a_share_of_everything_changes_nothing(write: Callable[..., str]) -> None:
    assert own(label_share=1).fingerprint == own().fingerprint
    assert list(own(label_share=1).splits) == ["train", "valid", "test"]


def test_every_class_keeps_a_label_or_the_least_share_is_told(write: Callable[..., str]) -> None:
    rows = [*map(",".join, ROWS), *(f"rare film {i},rare" for i in range(5))]
    write("own.csv", *rows, header="text,label")
    train = own().splits["train"]
    assert np.bincount(train.labels).tolist() == [28, 3, 28]
    few = own(label_share=0.1).splits["train"]
    assert np.bincount(few.labels).tolist() == [3, 1, 2]  # 6 of 59, one of each at least
    with pytest.raises(InputError) as caught:
        own(label_share=0.03)
    message = "--label-share 0.03: of 59 texts of train that is 2 labels for 3 classes; give 0.043 "
    assert str(caught.value).startswith(message)
    assert np.bincount(own(label_share=0.043).splits["train"].labels).tolist() == [1, 1, 1]


def test_what_keeps_its_label_depends_on_the_texts_alone(write: Callable[..., str]) -> None:
    rows = [*map(",".join, ROWS), "Good film number 1,up", "good film number 1,up"]
    write("own.csv", *rows, header="text,label")
    before = own(label_share=0.3)
    write("own.csv", *reversed(rows), header="text,label")
    after = own(label_share=0.3)
    assert before.splits["train"].texts == after.splits["train"].texts[::-1]


def test_both_flags_and_groups(write: Callable[..., str]) -> None:
    rows = [f"{text},{label},{i // 4}" for i, (text, label) in enumerate(ROWS)]
    write("own.csv", *rows, header="text,label,product")
    write("more.csv", "new", *own().splits["train"].texts)
    said: list[str] = []
    dataset = own(said, unlabelled="more.csv", label_share=0.2, group_column="product")
    train = own(group_column="product").splits["train"]
    # What lost its label is there once, though the file has it too.
    assert len(dataset.splits["unsup"]) == len(train) - len(dataset.splits["train"]) + 1
    assert dataset.splits["unsup"].groups is None
    assert group_line(dataset) is not None


def test_word_types_are_ranked_over_both(write: Callable[..., str]) -> None:
    write("more.csv", "good unseen unseen", "unseen number zebra")
    whitespace = TextConfig(tokenizer="whitespace")
    plain, more = (load_corpus(own(**o), whitespace) for o in ({}, {"unlabelled": "more.csv"}))
    count = dict(zip(plain.words, plain.counts.tolist(), strict=True))
    assert dict(zip(more.words, more.counts.tolist(), strict=True)) == {
        **count, "good": count["good"] + 1, "number": count["number"] + 1, "unseen": 3, "zebra": 1
    }  # fmt: skip
    assert list(more.counts) == sorted(more.counts, reverse=True)
    assert (plain.word_splits, more.word_splits) == (("train",), ("train", "unsup"))
    unsup = more.splits["unsup"]
    assert [more.words[rank] for rank in unsup.tokens] == [
        "good",
        *["unseen"] * 3,
        "number",
        "zebra",
    ]


def test_reviews_that_imdb_brings_are_added_to(write: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "aclImdb"
    for half, size in (("train", 20), ("test", 5)):
        for name in ("neg", "pos"):
            (folder / half / name).mkdir(parents=True)
            for i in range(size):
                (folder / half / name / f"{i}_5.txt").write_text(f"{half} {name} {i}")
    (folder / "train/unsup").mkdir()
    for i in range(3):
        (folder / f"train/unsup/{i}_0.txt").write_text(f"unsup {i}")
    write("more.csv", "unsup 1", "test neg 2", "new")
    imdb = {"dataset": "imdb", "data_dir": str(folder)}
    plain = load_dataset(DataConfig(**imdb))
    assert plain.word_splits == ("train",)  # as before, so that its models and caches stay
    assert plain.fingerprint == "06dfcd1b6acb4144cb98e883b1aa6bfb56d97bf252620d0408f95bfceee21f9c"
    more = load_dataset(DataConfig(**imdb, unlabelled="more.csv"))
    assert more.splits["unsup"].texts == ["unsup 0", "unsup 1", "unsup 2", "new"]
    few = load_dataset(DataConfig(**imdb, label_share=0.5))
    assert sizes(few) == {"train": 14, "valid": 12, "test": 10, "unsup": 17}
    assert few.splits["unsup"].texts[:3] == ["unsup 0", "unsup 1", "unsup 2"]
