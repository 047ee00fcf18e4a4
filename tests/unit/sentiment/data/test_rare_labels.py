from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentiment.data.config import DataConfig
from sentiment.data.datasets import Dataset, load_dataset
from sentiment.errors import InputError

COMMON = [(f"film {i}", str(i % 2)) for i in range(40)]
RARE = [("a", "rare"), ("a", "rare"), ("b", "rare"), ("c", "odd"), ("d", "few"), ("e", "few")]


def load(path: Path, rows: list[tuple[str, ...]], **options: Any) -> Dataset:
    header = "text,label,part" if len(rows[0]) == 3 else "text,label"
    path.write_text("\n".join([header, *map(",".join, rows)]))
    if len(rows[0]) == 3:
        options["split_column"] = "part"
    return load_dataset(DataConfig(data=str(path), **options))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def test_all_are_told_at_once(path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(path, COMMON + RARE)
    message = str(caught.value)
    assert "3 labels have fewer than 3 different texts to train on" in message
    assert "('few': 2, 'rare': 2, 'odd': 1)" in message
    assert "--rare-labels drop leaves them out, --rare-labels join:other makes them" in message


def test_they_are_left_out(path: Path) -> None:
    dataset = load(path, COMMON + RARE, rare_labels="drop")
    assert dataset.label_names == ("neg", "pos")
    assert sum(map(len, dataset.splits.values())) == 40
    assert dataset.account is not None
    assert str(dataset.account) == "t.csv: 46 rows read, 6 skipped: 6 with a rare label"
    assert dataset.fingerprint == load(path, COMMON).fingerprint


def test_they_become_one(path: Path) -> None:
    dataset = load(path, COMMON + RARE, rare_labels="join:other")
    assert dataset.label_names == ("0", "1", "other")
    assert sum(map(len, dataset.splits.values())) == 46
    dataset = load(path, [*COMMON, *RARE], rare_labels="join:1")
    assert dataset.label_names == ("neg", "pos")
    with pytest.raises(InputError, match=r"1 label has fewer than 3 .* \('odd': 1\)"):
        load(path, [*COMMON, ("c", "odd")], rare_labels="join:odd")


def test_the_user_says_what_is_rare(path: Path) -> None:
    rows = [*COMMON, *((f"x {i}", "third") for i in range(5))]
    assert len(load(path, rows).label_names) == 3
    with pytest.raises(InputError, match=r"fewer than 6 different texts .* \('third': 5\)"):
        load(path, rows, min_label_count=6)
    assert len(load(path, rows, min_label_count=6, rare_labels="drop").label_names) == 2
    assert len(load(path, rows, min_label_count=5, rare_labels="drop").label_names) == 3


def test_texts_count_that_may_be_trained_on(path: Path) -> None:
    parts = [(text, label, ("train", "valid", "test")[i // 2 % 3]) for i, (text, label) in
             enumerate(COMMON)]  # fmt: skip
    rows = [*parts, ("x", "third", "train"), ("y", "third", "test")]
    assert len(load(path, rows).label_names) == 3
    rows = [*parts, ("x", "third", "test"), ("y", "third", "valid"), ("x", "third", "train")]
    with pytest.raises(InputError, match=r"label has no text in the train split .* \('third': 0\)"):
        load(path, rows)
    assert load(path, rows, rare_labels="drop").label_names == ("neg", "pos")


def test_texts_with_other_labels_too_may_not_be_enough(path: Path) -> None:
    # Each text of the third label stands so often that all are drawn into one split.
    shared = [(f"s {i}", label) for i in range(3) for label in ("third", *"01" * 40)]
    rows = [*COMMON, *shared]
    try:
        dataset = load(path, rows)
    except InputError as error:
        assert "'third'" in str(error) and "--rare-labels drop" in str(error)
        dataset = load(path, rows, rare_labels="drop")
        assert dataset.label_names == ("neg", "pos")


def test_labels_are_named_as_they_are_written(path: Path) -> None:
    rows = [*((f"film {i}", "0.0") for i in range(40)), ("x", "1.0"), ("y", "1.0")]
    with pytest.raises(InputError, match=r"\('1.0' \(pos\): 2\)"):
        load(path, rows)
    with pytest.raises(InputError, match=r"one class only, '0\.0' \(0\); two or more"):
        load(path, rows, rare_labels="drop")


def test_very_many_labels_are_cut_short(path: Path) -> None:
    with pytest.raises(
        InputError, match=r"20,000 labels have fewer than 3 .* and 19,990 more"
    ) as e:
        load(path, [(f"t{i}", f"l{i}") for i in range(20_000)])
    assert len(str(e.value)) < 1000
    with pytest.raises(InputError, match=r"has no class left; t.csv: 20 rows read, 20 skipped"):
        load(path, [(f"t{i}", f"l{i}") for i in range(20)], rare_labels="drop")
