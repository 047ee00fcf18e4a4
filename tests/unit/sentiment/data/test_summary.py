from __future__ import annotations

from pathlib import Path

import numpy as np

from sentiment.data.config import DataConfig
from sentiment.data.datasets import load_dataset
from sentiment.data.summary import brief, described, label_counts


def test_what_a_file_is_made_of(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{'x' * (i + 1)},{('0', '1', '0.0')[i % 3]}" for i in range(30)]
    path.write_text("\n".join(["text,label", *rows, ",1"]))
    said: list[str] = []
    dataset = load_dataset(DataConfig(data=str(path), skip_incomplete=True), said.append)
    assert said == ["t.csv: 31 rows read, 1 skipped: 1 without a text"]
    assert list(described(dataset)) == [
        "t.csv train: 21 texts: neg (14), pos (7)",
        "t.csv valid: 4 texts: neg (3), pos (1)",
        "t.csv test: 5 texts: neg (3), pos (2)",
        "labels: neg (20), pos (10)",
        "label '0' is written '0' (10), '0.0' (10)",
        "lengths: the shortest texts have 1, 2, 3 characters, the longest 28, 29, 30",
    ]
    assert brief(dataset) == (
        "t.csv: 21 train, 4 valid, 5 test texts of 1 to 30 characters, labels neg (20), pos (10)"
    )


def test_many_labels_are_cut_short() -> None:
    names = [f"l{i}" for i in range(100)]
    counts = label_counts(names, np.arange(100))
    assert counts.startswith("l0 (1), l1 (1), ")
    assert counts.endswith(" and 88 labels more")
