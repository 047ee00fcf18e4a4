"""Dimensions of a search space: a choice or a range, and the conditions that make it active."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Scalar = None | bool | int | float | str


@dataclass(frozen=True)
class Condition:
    """Holds in the trials in which the choice `parent` took one of `values`."""

    parent: str
    values: tuple[Scalar, ...]

    def holds(self, taken: Mapping[str, Scalar]) -> bool:
        """Whether the condition holds, given the values taken so far."""
        return self.parent in taken and taken[self.parent] in self.values


@dataclass(frozen=True)
class Choice:
    """One of some values, in no order."""

    values: tuple[Scalar, ...]
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class IntRange:
    """An integer from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class FloatRange:
    """A number from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    when: tuple[Condition, ...] = ()


Dimension = Choice | IntRange | FloatRange


def suggest(dimension: Dimension, name: str, trial: Trial) -> Scalar:
    """Return the value that Optuna suggests for a hyperparameter."""
    value: Scalar
    match dimension:
        case Choice(choices):
            value = trial.suggest_categorical(name, choices)
        case IntRange(low, high, log, step):
            value = trial.suggest_int(name, low, high, step=step, log=log)
        case FloatRange(low, high, log):
            value = trial.suggest_float(name, low, high, log=log)
    return value


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's distribution of a dimension."""
    from optuna import distributions as optuna

    match dimension:
        case Choice(choices):
            return optuna.CategoricalDistribution(choices)
        case IntRange(low, high, log, step):
            return optuna.IntDistribution(low, high, log=log, step=step)
        case FloatRange(low, high, log):
            return optuna.FloatDistribution(low, high, log=log)


def is_active(dimension: Dimension, taken: Mapping[str, Scalar]) -> bool:
    """Whether all conditions of a dimension hold, given the values taken so far."""
    return all(condition.holds(taken) for condition in dimension.when)


def contains(dimension: Dimension, value: Scalar) -> bool:
    """Whether a value is one of a choice, or lies in a range and on its steps."""
    if isinstance(dimension, Choice):
        return value in dimension.values
    if not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    return isinstance(dimension, FloatRange) or (value - dimension.low) % dimension.step == 0
