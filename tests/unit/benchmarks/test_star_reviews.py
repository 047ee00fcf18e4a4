"""Reviews in five classes: labels from the files' names, one class thinned out, splits in order."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import star_reviews

STARS = (1, 2, 3, 4, 7, 8, 9, 10)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive in the official layout, with thirty reviews of each number of stars."""
    path = tmp_path / "train.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for number in range(240):
            stars = STARS[number % 8]
            folder = "neg" if stars < 5 else "pos"
            text = f"review {number} of {stars}".encode()
            entry = tarfile.TarInfo(f"aclImdb/train/{folder}/{number}_{stars}.txt")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        tar.addfile(tarfile.TarInfo("aclImdb/train/unsup/0_0.txt"))
    return path


def test_labels_follow_from_the_stars(archive: Path) -> None:
    reviews = star_reviews.read(archive)
    counts = Counter(label for _, label in reviews)
    assert counts == {"1": 30, "2-3": 60, "4": 30, "7-8": 60, "9-10": 60}
    labels = {1: "1", 3: "2-3", 4: "4", 8: "7-8", 10: "9-10"}
    for text, label in reviews:
        stars = int(text.rpartition(" ")[2])
        assert stars not in labels or label == labels[stars]


def test_one_class_is_rare_and_a_seed_repeats_the_file(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TEXTS": 150, "TRAIN": 60, "VALID": 30}.items():
        monkeypatch.setattr(star_reviews, name, value)
    for output in ("one.csv", "two.csv"):
        star_reviews.main([str(archive), str(tmp_path / output)])
    found = pd.read_csv(tmp_path / "one.csv", dtype=str)
    assert found.equals(pd.read_csv(tmp_path / "two.csv", dtype=str))
    assert found["split"].tolist() == ["train"] * 60 + ["valid"] * 30 + ["test"] * 60
    assert (found["label"] == "4").sum() == 3
    assert found["text"].is_unique
