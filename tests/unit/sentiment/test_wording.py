"""Counts and durations in messages."""

import pytest

from sentiment.wording import counted, duration


def test_a_count_meets_its_noun():
    assert [counted(n, "trial") for n in (0, 1, 2, 25_000)] == [
        "0 trials",
        "1 trial",
        "2 trials",
        "25,000 trials",
    ]
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (0.04, "0 seconds"),
        (1, "1 second"),
        (1.02, "1 second"),
        (6.34, "6.3 seconds"),
        (9.96, "10 seconds"),
        (36.4, "36 seconds"),
        (119.4, "119 seconds"),
        (119.6, "2 minutes"),
        (150, "2.5 minutes"),
        (678, "11 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (9_000, "2.5 hours"),
        (36_000, "10 hours"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text
