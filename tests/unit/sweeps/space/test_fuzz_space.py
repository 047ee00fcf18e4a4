"""Space files that people get wrong and programs make: refused in a line, without a hang."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment.config import SECTION_OF
from sentiment.errors import InputError
from sweeps.space.space import SearchSpace

LAUGHS = b"cell: &a [gru, gru, gru]\n" + b"".join(
    b"x%d: &%c [*%c, *%c, *%c, *%c]\n" % (c, c + 1, c, c, c, c) for c in range(97, 120)
)
NUMBERS = b", ".join(b"%d" % number for number in range(1, 3001))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"7",
        b"cell: l\0stm",
        b"cell: \xe9",
        b"cell:\tgru",
        LAUGHS,
        b"&x a: *x",
        b"&x {? *x : 1}",
        b"cell: &x {choice: [*x]}",
        b"cell: " + b"[" * 5000 + b"]" * 5000,
        b"cell: " + b"{a: " * 3000,
        b'cell: !!python/object/apply:os.system ["false"]',
        b"? !!binary aGVsbG8=\n: 1",
        b"hidden_dim: {int: [1, " + b"9" * 5000 + b"]}",
        b"hidden_dim: {int: [8, 64], step: 99999999999999999999}",
        b"hidden_dim: {choice: [" + NUMBERS + b"]}",
        b"momentum: {float: [0, 0.9], when: {optimizer: [[[[a]]]]}}",
        b"base: ../../etc/passwd",
        b'embedding: "\\ud800"',
        b"epochs: .inf",
    ],
)
def test_spaces_made_by_hand(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as told:
        SearchSpace.load(path)
    assert len(str(told.value).splitlines()) <= 2


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("gru")
)
ENTRIES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["choice", "int", "float", "log", "step", "when", "cell", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*SECTION_OF, "base", "wings"]), ENTRIES, max_size=4))
def test_random_spaces(mapping: dict[str, object]) -> None:
    try:
        space = SearchSpace.from_mapping(mapping)
    except InputError as error:
        assert len(str(error).splitlines()) <= 2
    else:
        assert SearchSpace.from_mapping(space.to_mapping()) == space


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    path.write_bytes(b"cell: " + content)
    try:
        SearchSpace.load(path)
    except InputError as error:
        assert len(str(error).splitlines()) <= 2
