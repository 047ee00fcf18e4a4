"""Which of two values of an objective is the better one."""

from typing import get_args

import pytest

from sentiment.config import Objective
from sentiment.objective import best, best_key, direction_of, is_better, merit, mode_of


def test_directions_and_modes():
    assert {each: (direction_of(each), mode_of(each)) for each in get_args(Objective)} == {
        "valid/accuracy": ("maximize", "max"),
        "valid/f1": ("maximize", "max"),
        "valid/loss": ("minimize", "min"),
    }


@pytest.mark.parametrize("objective", get_args(Objective))
def test_better_best_and_merit_agree(objective):
    better, worse = (0.3, 0.5) if objective == "valid/loss" else (0.5, 0.3)
    assert is_better(objective, better, worse)
    assert not is_better(objective, worse, better)
    assert not is_better(objective, better, better)
    assert best(objective, [worse, better]) == better
    assert merit(objective, better) > merit(objective, worse)
    assert best_key(objective) == f"best/{objective}"
