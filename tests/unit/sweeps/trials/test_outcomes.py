"""Outcomes in words and counts."""

import pytest

from sweeps.reporting.figures.theme import OUTCOME_COLOURS, OUTCOME_MARKS
from sweeps.trials.outcomes import (
    ENDED,
    OUTCOMES,
    RANKED,
    STATUS,
    budget_sentence,
    count_parts,
    counts_of,
)


def test_every_outcome_has_a_status_a_colour_and_a_mark():
    assert set(STATUS) == set(OUTCOMES) - {"running"}
    assert set(OUTCOME_COLOURS) == set(OUTCOME_MARKS) == set(OUTCOMES)
    assert len(set(OUTCOME_COLOURS.values())) == len(set(OUTCOME_MARKS.values())) == len(OUTCOMES)
    assert set(RANKED) < set(ENDED) < set(STATUS)


def test_counts_name_what_there_is_and_the_usual():
    counts = counts_of(["completed", "out_of_time", None, "out_of_time", "interrupted"])
    assert counts == {"completed": 1, "out_of_time": 2, "interrupted": 1, "running": 1}
    assert count_parts(counts) == [
        "1 completed",
        "0 stopped early",
        "2 out of time",
        "0 failed",
        "1 interrupted",
    ]


@pytest.mark.parametrize(
    ("seconds", "asked", "outcomes", "sentence"),
    [
        (None, 3, ["completed"] * 3, None),
        (20, 3, ["completed", "stopped_early", "failed"], None),
        (
            20,
            30,
            ["completed"] * 3 + ["out_of_time"] * 2,
            "The time budget of 20 seconds ended the search: 2 trials ended at an evaluation "
            "before their full length, 25 of 30 trials did not run.",
        ),
        (
            7200,
            2,
            ["completed", "out_of_time"],
            "The time budget of 2 hours ended the search: 1 trial ended at an evaluation before "
            "its full length.",
        ),
        (90, 2, ["failed"], "The time budget of 90 seconds ended the search: 1 of 2 trials did not "
         "run."),
        # An older record does not say how much time there was.
        (None, None, ["out_of_time"], "The time budget ended the search: 1 trial ended at an "
         "evaluation before its full length."),
    ],
)  # fmt: skip
def test_what_a_time_budget_cut_short_is_said(seconds, asked, outcomes, sentence):
    assert budget_sentence(seconds, asked, outcomes) == sentence
