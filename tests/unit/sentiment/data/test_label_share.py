"""Few labels kept, the other texts without."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment.config import TextConfig
from sentiment.data.corpus import load_corpus
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.data.identity import mismatch, portable
from sentiment.data.label_share import keep_labels
from sentiment.data.splits import Split
from sentiment.errors import InputError

WHOLE = DataConfig(dataset="rotten-tomatoes")
FEW = WHOLE.model_copy(update={"label_share": 0.02})


def test_of_each_class_a_share_is_kept_and_the_rest_is_unlabelled() -> None:
    whole, few = load_dataset(WHOLE), load_dataset(FEW)
    assert {name: len(split) for name, split in few.splits.items()} == {
        "train": 120,
        "valid": 1_280,
        "test": 1_280,
        "unsup": 5_970 - 120,
    }
    assert np.bincount(few.splits["train"].labels).tolist() == [60, 60]
    together = [*few.splits["train"].texts, *few.splits["unsup"].texts]
    assert sorted(together) == sorted(whole.splits["train"].texts)
    for name in ("valid", "test"):
        assert few.splits[name].texts == whole.splits[name].texts
    label_of = dict(zip(whole.splits["train"].texts, whole.splits["train"].labels, strict=True))
    kept = few.splits["train"]
    assert [label_of[text] for text in kept.texts] == kept.labels.tolist()
    assert few.fingerprint != whole.fingerprint
    assert mismatch(few, few.fingerprint, "it") is None
    assert portable(FEW) == {"dataset": "rotten-tomatoes", "label_share": 0.02}


def test_the_texts_of_a_smaller_share_are_among_those_of_a_larger() -> None:
    texts = [
        set(load_dataset(WHOLE.model_copy(update={"label_share": share})).splits["train"].texts)
        for share in (0.01, 0.02, 0.1)
    ]
    assert texts[0] < texts[1] < texts[2]
    other = load_dataset(FEW.model_copy(update={"split_seed": 1})).splits["train"].texts
    assert len(texts[1] & set(other)) < len(other) / 2


def test_words_of_texts_without_labels_are_known() -> None:
    whole, few = (load_corpus(load_dataset(data), TextConfig()) for data in (WHOLE, FEW))
    assert few.words == whole.words
    np.testing.assert_array_equal(few.counts, whole.counts)
    assert len(few.splits["train"]) == 120


def test_a_class_keeps_a_label_or_the_share_is_refused() -> None:
    labels = np.array([0] * 100 + [1] * 4)
    splits = {"train": Split([f"text {number}" for number in range(104)], labels)}
    kept = keep_labels(splits, 0.25, ("a", "b"), 1)
    assert np.bincount(kept["train"].labels).tolist() == [25, 1]
    message = (
        "--label-share 0.1: no label would be left of 'b', which has 4 texts in train; give 0.25"
    )
    with pytest.raises(InputError, match=message):
        keep_labels(splits, 0.1, ("a", "b"), 1)
    unsup = Split(["more"], np.empty(0))
    more = keep_labels({**splits, "unsup": unsup}, 0.25, ("a", "b"), 1)["unsup"]
    assert len(more) == 104 - 26 + 1
    assert more.texts[-1] == "more"
    assert len(more.labels) == 0
