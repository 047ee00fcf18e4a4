"""Pieces of a text with the shades of their words."""

from __future__ import annotations

from sentiment.inference.prediction import TokenWeight
from sweeps.reporting.shading import Shaded, shaded

TEXT = "<b>bad film, no good"
WEIGHTS = (
    TokenWeight("<b>bad", 0, 6, 2.0),
    TokenWeight("film", 7, 11, 0.1),
    TokenWeight(",", 11, 12, -0.04),
    TokenWeight("no", 13, 15, 0.7),
    TokenWeight("good", 16, 20, -1.2),
)


def test_words_have_shades_by_their_share_of_the_largest_weight() -> None:
    assert list(shaded(TEXT, WEIGHTS)) == [
        Shaded("<b>bad", "for-3", "+2.00"),
        Shaded(" film, "),
        Shaded("no", "for-2", "+0.70"),
        Shaded(" "),
        Shaded("good", "against-3", "-1.20"),
    ]


def test_an_excerpt_keeps_the_shades_of_the_whole() -> None:
    whole = list(shaded(TEXT, WEIGHTS))
    for cut in range(len(TEXT) + 1):
        parts = [*shaded(TEXT, WEIGHTS, 0, cut), *shaded(TEXT, WEIGHTS, cut, 6000)]
        assert "".join(part.text for part in parts) == TEXT
        assert {(part.kind, part.weight) for part in parts} == {
            (part.kind, part.weight) for part in whole
        }
    assert list(shaded(TEXT, WEIGHTS, 3, 9)) == [Shaded("bad", "for-3", "+2.00"), Shaded(" fi")]


def test_a_text_without_weights_is_plain() -> None:
    assert list(shaded(TEXT, ())) == [Shaded(TEXT)]
    assert list(shaded("", ())) == []
