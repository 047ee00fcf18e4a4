"""Comparison of values of an objective: the one place that knows which objective is minimized."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sentiment.config import Objective


def is_minimized(objective: str) -> bool:
    """Whether smaller values of an objective, or of another metric, are better."""
    return objective.endswith("/loss")


def direction_of(objective: Objective) -> Literal["minimize", "maximize"]:
    """Return the direction of a study of an objective, in Optuna's words."""
    return "minimize" if is_minimized(objective) else "maximize"


def mode_of(objective: Objective) -> Literal["min", "max"]:
    """Return the mode of a scheduler or searcher of an objective, in Ray's words."""
    return "min" if is_minimized(objective) else "max"


def merit(objective: str, value: float) -> float:
    """Return the value, negated for an objective that is minimized: the better, the greater."""
    return -value if is_minimized(objective) else value


def is_better(objective: Objective, value: float, than: float) -> bool:
    """Whether a value beats another one; a tie does not."""
    return merit(objective, value) > merit(objective, than)


def best(objective: Objective, values: Iterable[float]) -> float:
    """Return the best of some values.

    Raises:
        ValueError: there are none.
    """
    return min(values) if is_minimized(objective) else max(values)


def best_key(objective: Objective) -> str:
    """Return the name in MLflow of a trial's value at its best checkpoint."""
    return f"best/{objective}"


def recurrent_name(objective: str) -> str:
    """Return the name of the RNN's own value of a metric of a model with an n-gram branch."""
    split, _, metric = objective.partition("/")
    return f"{split}/recurrent_{metric}"
