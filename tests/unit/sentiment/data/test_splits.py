from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.data.splits import KEYS, Split, hold_out, twin_key
from sentiment.errors import InputError


def _split(*groups: tuple[str, int, int]) -> Split:
    """Build a split of groups (text, label, copies)."""
    texts = [text for text, _, copies in groups for _ in range(copies)]
    labels = [label for _, label, copies in groups for _ in range(copies)]
    return Split(texts, np.array(labels, dtype=np.int64))


def _pairs(split: Split) -> list[tuple[str, int]]:
    return list(zip(split.texts, split.labels.tolist(), strict=True))


def test_each_class_gives_its_exact_share() -> None:
    whole = _split(*((f"n{i}", 0, 1) for i in range(100)), *((f"p{i}", 1, 1) for i in range(60)))
    kept, held = hold_out(whole, 0.15, "test", ["neg", "pos"])
    assert np.bincount(held.labels).tolist() == [15, 9]
    assert np.bincount(kept.labels).tolist() == [85, 51]
    assert sorted(_pairs(kept) + _pairs(held)) == sorted(_pairs(whole))


def test_the_draw_never_changes() -> None:
    whole = _split(*((f"text {i}", i % 2, 1) for i in range(20)))
    _, held = hold_out(whole, 0.2, "test", ["neg", "pos"])
    assert held.texts == ["text 6", "text 10", "text 11", "text 19"]


def test_another_seed_draws_other_texts() -> None:
    whole = _split(*((f"text {i}", i % 2, 1) for i in range(200)))
    _, held = hold_out(whole, 0.5, "test", ["neg", "pos"])
    _, other = hold_out(whole, 0.5, "test", ["neg", "pos"], seed=7)
    assert len(other) == len(held) == 100
    assert 30 < len(set(held.texts) & set(other.texts)) < 70


def test_the_draw_does_not_depend_on_the_order_of_rows() -> None:
    whole = _split(*((f"text {i}", i % 3, 1 + i % 2) for i in range(90)))
    order = np.random.default_rng(0).permutation(len(whole))
    turned = Split([whole.texts[row] for row in order], whole.labels[order])
    _, held = hold_out(whole, 0.3, "valid", ["a", "b", "c"])
    _, same = hold_out(turned, 0.3, "valid", ["a", "b", "c"])
    assert sorted(held.texts) == sorted(same.texts)


def test_parts_for_other_purposes_are_drawn_anew() -> None:
    whole = _split(*((f"text {i}", i % 2, 1) for i in range(200)))
    _, valid = hold_out(whole, 0.5, "valid", ["neg", "pos"])
    _, test = hold_out(whole, 0.5, "test", ["neg", "pos"])
    assert 30 < len(set(valid.texts) & set(test.texts)) < 70


def test_repeated_texts_are_drawn_as_often_as_others() -> None:
    whole = _split(
        *((f"one {i}", i % 2, 1) for i in range(2000)),
        *((f"two {i}", i % 2, 2) for i in range(500)),
    )
    _, held = hold_out(whole, 0.2, "test", ["neg", "pos"])
    assert len(held) == 600
    assert 75 < sum(text.startswith("two") for text in set(held.texts)) < 125


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=6, max_size=120),
    st.floats(0.05, 0.95),
)
def test_no_text_stands_in_both_and_none_is_lost(rows: list[tuple[int, int]], share: float) -> None:
    rows = rows + [(100 + i, i % 3) for i in range(6)]
    whole = Split([str(text) for text, _ in rows], np.array([label for _, label in rows], np.int64))
    kept, held = hold_out(whole, share, "test", ["a", "b", "c"])
    assert not set(kept.texts) & set(held.texts)
    assert Counter(_pairs(kept) + _pairs(held)) == Counter(_pairs(whole))
    assert set(kept.labels.tolist()) == set(held.labels.tolist()) == {0, 1, 2}


def test_classes_of_nothing_but_repeated_texts() -> None:
    whole = _split(*((f"{label}{i}", label, 10) for label in (0, 1) for i in range(3)))
    kept, held = hold_out(whole, 0.15, "test", ["neg", "pos"])
    assert np.bincount(kept.labels).tolist() == [20, 20]
    assert np.bincount(held.labels).tolist() == [10, 10]


def test_a_class_with_one_text_cannot_be_divided() -> None:
    whole = _split(("a", 0, 1), ("b", 0, 1), ("c", 1, 5))
    with pytest.raises(InputError, match="'pos' has too few different texts to draw a test split"):
        hold_out(whole, 0.15, "test", ["neg", "pos"])


TWINS = ["Caf\u00e9 au lait", "caf\u00e9  au\tlait ", "\u3000CAFE\u0301 au\u00a0lait\n"]


def test_twins_differ_in_white_space_case_and_normal_form_alone() -> None:
    assert {twin_key(text) for text in TWINS} == {"caf\u00e9 au lait"}
    apart = ["cafe au lait", "caf\u00e9 aulait", "caf\u00e9 au lait!", "caf\u00e9<br />au lait"]
    assert len({twin_key(text) for text in [TWINS[0], *apart]}) == 5
    assert twin_key("\ud800 A") == "\ud800 a"


def test_twins_are_drawn_together() -> None:
    texts = [f"text {i}{blanks}" for i in range(60) for blanks in ("", " ", "  ")]
    whole = Split(texts, np.arange(180, dtype=np.int64) // 3 % 2)
    kept, held = hold_out(whole, 0.2, "test", ["neg", "pos"])
    assert len(held) == 36
    assert not {text.strip() for text in held.texts} & {text.strip() for text in kept.texts}
    # Equal texts alone are twins to the earlier version.
    kept, held = hold_out(whole, 0.2, "test", ["neg", "pos"], KEYS[1])
    assert {text.strip() for text in held.texts} & {text.strip() for text in kept.texts}


@pytest.mark.parametrize("purpose", ["test", "valid"])
def test_texts_without_twins_are_drawn_as_by_the_earlier_version(purpose: str) -> None:
    whole = _split(*((f" Text  {i}\t", i % 2, 1 + i % 3 // 2) for i in range(90)))
    drawn = [hold_out(whole, 0.2, purpose, ["neg", "pos"], KEYS[n])[1].texts for n in (1, 2)]
    assert drawn[0] == drawn[1]


def test_without_removes_twins_alone() -> None:
    unlabelled = Split(["a", "b", "A ", "ab"], np.empty(0, dtype=np.int64))
    left = unlabelled.without(_split(("a", 0, 1)))
    assert left.texts == ["b", "ab"]
    assert left.labels.shape == (0,)
    assert len(_split(("a", 1, 2)).without(_split(("a", 0, 1)))) == 0


def _films(count: int, seed: int) -> Split:
    """Texts of films of one to twelve reviews, most of one kind, and some of no film."""
    random = np.random.default_rng(seed)
    texts, labels, films = [], [], []
    for film in range(count):
        liked = random.random()
        for review in range(int(random.integers(1, 13))):
            texts.append(f"film {film} review {review}")
            labels.append(int(random.random() < liked))
            films.append(f"tt{film}")
    texts += [f"alone {number}" for number in range(10)]
    labels += [number % 2 for number in range(10)]
    return Split(texts, np.array(labels, dtype=np.int64), [*films, *[None] * 10])


@pytest.mark.parametrize("share", [0.1, 0.15, 0.3])
def test_groups_stand_whole_in_one_split_in_about_the_share_of_each_class(share: float) -> None:
    whole = _films(200, 7)
    kept, held = hold_out(whole, share, "valid", ["neg", "pos"])
    assert kept.groups is not None and held.groups is not None
    assert (set(kept.groups) & set(held.groups)) <= {None}
    assert sorted(kept.texts + held.texts) == sorted(whole.texts)
    for label, size in enumerate(np.bincount(whole.labels)):
        assert np.bincount(held.labels)[label] / size == pytest.approx(share, abs=0.02)


def test_the_draw_of_groups_does_not_depend_on_the_order_of_rows() -> None:
    whole = _films(60, 3)
    order = np.random.default_rng(1).permutation(len(whole))
    assert whole.groups is not None
    mixed = Split(
        [whole.texts[row] for row in order],
        whole.labels[order],
        [whole.groups[row] for row in order],
    )
    drawn = [hold_out(each, 0.2, "test", ["neg", "pos"])[1] for each in (whole, mixed)]
    assert sorted(drawn[0].texts) == sorted(drawn[1].texts)


def test_twins_join_their_groups() -> None:
    texts = ["One", "two", "one ", "three", "four", "TWO"]
    split = Split(texts, np.zeros(6, np.int64), ["a", "a", "b", "b", "c", None])
    assert sorted(map(sorted, split.together())) == [[0, 1, 2, 3, 5], [4]]


def test_groups_of_a_given_split_leave_the_others() -> None:
    train = Split(["x", "y", "z", "u"], np.zeros(4, np.int64), ["a", "b", None, "c"])
    test = Split(["v", "Z"], np.zeros(2, np.int64), ["b", "c"])
    assert train.without(test).texts == ["x"]


def test_too_few_groups_are_refused() -> None:
    whole = Split([f"t{i}" for i in range(20)], np.arange(20) % 2, ["only"] * 20)
    with pytest.raises(InputError, match="too few groups to draw a test split"):
        hold_out(whole, 0.2, "test", ["neg", "pos"])
