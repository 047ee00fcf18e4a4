from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from sentiment.data.labels import (
    Classes,
    LabelMap,
    check_lookalikes,
    class_order,
    is_none,
    normal_label,
    spelling,
)
from sentiment.errors import InputError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("0.0", "0"), ("1.", "1"), ("+1", "1"), ("-1.50", "-1.5"), ("-0.0", "0"), ("10", "10"),
        (" a b ", "a b"), ("007", "007"), ("1e3", "1e3"), ("1.0.0", "1.0.0"), ("", ""),
        ("9" * 5000 + ".0", "9" * 5000),
    ],
)  # fmt: skip
def test_numbers_are_labels_by_value(text: str, label: str) -> None:
    assert normal_label(text) == label


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (True, "True"), (1e17, "100000000000000000"), (0.5, "0.5"), (None, None),
        (float("nan"), None), (Decimal("1E+2"), "100"), (Decimal("0.50"), "0.50"),
        (np.float64(1.5), "1.5"), (b" a ", "a"), (" b ", "b"),
    ],
)  # fmt: skip
def test_values_of_any_type_have_a_spelling(value: Any, text: str | None) -> None:
    assert spelling(value) == text


def test_words_for_a_missing_label() -> None:
    assert all(map(is_none, ("", "nan", "NaN", "null", "None", "NA", "N/A", "<NA>", "#N/A")))
    assert not any(map(is_none, ("no", "0", "nano", "nil", "neutral")))


def test_a_label_map_is_read_in_several_ways() -> None:
    for entries in (["0=neg,4=pos"], ["0=neg", "4.0=pos"], ["0 = neg, 4 = pos"]):
        assert LabelMap.parse(entries).names == {"0": "neg", "4": "pos"}
    assert LabelMap.parse(['"a,b"=c,d=', "a=b=x"]).names == {"a,b": "c", "d": None, "a=b": "x"}
    assert LabelMap.parse(["a=a", "b=c"]).kept_apart() == {"a"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [("0", "'0' is not OLD=NEW"), ("=x", "'=x' is not"), ("0=a,0.0=b", "'0' is named twice")],
)
def test_a_wrong_label_map(entry: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        LabelMap.parse([entry])
    assert str(caught.value).startswith(f"--label-map {entry}: ")


@pytest.mark.parametrize(
    "labels", [("neg", "Neg"), ("1", "01"), ("very good", "Very  Good"), ("é", "e\u0301")]
)
def test_labels_that_look_alike_are_shown(labels: tuple[str, str]) -> None:
    counts = Counter({labels[0]: 3, labels[1]: 1, "other": 5})
    with pytest.raises(InputError) as caught:
        check_lookalikes("t.csv", counts, frozenset())
    for label in labels:
        assert f"{label!r} ({counts[label]} rows)" in str(caught.value)
    check_lookalikes("t.csv", counts, frozenset(labels[1:]))
    check_lookalikes("t.csv", Counter({labels[0]: 1, "2": 1, "20": 2}), frozenset())


def test_what_the_message_proposes_is_understood() -> None:
    counts = Counter({"a,b": 3, "A,B": 1})
    with pytest.raises(InputError) as caught:
        check_lookalikes("t.csv", counts, frozenset())
    assert "--label-map '\"A,B=a,b\"' joins them" in str(caught.value)
    assert LabelMap.parse(['"A,B=a,b"']).names == {"A,B": "a,b"}


def test_classes_are_named_and_shown_as_they_are_written() -> None:
    spellings = {"0": Counter({"0": 1, "0.0": 2}), "1": Counter({"1": 1})}
    classes = Classes.of(["1", "0", "1"], spellings)
    assert classes.names == ("neg", "pos")
    assert classes.shown("0") == "'0.0' (neg)"
    assert classes.shown("1") == "'1' (pos)"
    assert classes.numbers(["1", "0"]).tolist() == [1, 0]
    assert Classes.of(["b", "a"], {}).shown("b") == "'b'"
    spellings = {"other": Counter({"2": 1, "3": 1, "2.0": 4, "4": 1, "5": 1})}
    assert Classes.of(["other"], spellings).shown("other") == "'2.0', '3', '4', … (other)"


@pytest.mark.parametrize(
    ("model", "data", "order"),
    [
        (("neg", "pos"), ("neg", "pos"), [0, 1]),
        (("0.0", "1.0"), ("neg", "pos"), [0, 1]),
        (("1", "0"), ("neg", "pos"), [1, 0]),
        (("False", "True"), ("false", "true"), [0, 1]),
        (("1.0", "10.0", "2.5"), ("1", "10", "2.50"), [0, 1, 2]),
        (("b", "a"), ("a", "b"), [1, 0]),
        (("neg", "pos"), ("1", "2"), None),
        (("a", "b"), ("a", "b", "c"), None),
        (("1", "1.0"), ("1", "2"), None),
    ],
)
def test_the_labels_of_model_and_data_are_compared_by_value(
    model: tuple[str, ...], data: tuple[str, ...], order: list[int] | None
) -> None:
    assert class_order(model, data) == order
