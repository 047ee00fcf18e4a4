"""Rungs of successive halving: when trials are compared, in training examples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from sentiment.errors import InputError

REDUCTION = 2
"""Of the trials that reach a rung about one in so many continues to the next."""
FIRST_RUNG_EPOCHS = 0.4
"""The first rung is at this many epochs at the latest, well before one is over."""
LEAST_HALVINGS = 3
FIRST_RUNG = 1_000
"""Training examples before which trials of few texts are not compared: sixteen steps."""
TURNS = 8
"""Turns of a population, of equal length."""


@dataclass(frozen=True)
class Rungs:
    """When trials are compared with one another, in training examples.

    Attributes:
        milestones: all comparisons, each at about `REDUCTION` times the one before.
        budget: the full budget of a trial.
        evaluations_per_epoch: so many that one is at every rung but the first.
        early_evaluations: before these.
    """

    milestones: tuple[int, ...]
    budget: int
    evaluations_per_epoch: float
    early_evaluations: int = 1

    @property
    def evaluations(self) -> dict[str, float | int]:
        """The settings of a trial that is evaluated at every rung.

        The first rung has a separate, early evaluation: evaluations at that interval throughout
        would take a quarter of a full trial's time.
        """
        return {
            "evaluations_per_epoch": self.evaluations_per_epoch,
            "early_evaluations": self.early_evaluations,
        }

    @property
    def first(self) -> int:
        """The first comparison."""
        return self.milestones[0]

    def brackets(self, scheduler: str) -> int:
        """Return the number of brackets: hyperband has one that begins at each rung."""
        return len(self.milestones) if scheduler == "hyperband" else 1

    def mean_examples(self, scheduler: str) -> float:
        """Return the training examples that a trial is expected to see, on average.

        Of the trials that reach a rung half continue to the next; the median stops half of them
        somewhere after the first.
        """
        if scheduler in ("fifo", "pbt"):
            return float(self.budget)
        if scheduler == "median":
            return (self.first + self.budget) / 2
        brackets, ends = self.brackets(scheduler), [*self.milestones, self.budget]
        cycle = 2 ** (brackets - 1)
        total = 0.0
        for number in range(cycle):
            skipped = bracket_of(number, brackets)
            own = [0, *ends[skipped:]]
            widths = (end - start for start, end in pairwise(own))
            total += sum(width / REDUCTION**passed for passed, width in enumerate(widths))
        return total / cycle

    def describe(self, scheduler: str) -> str:
        """Return what a scheduler does to the trials of a search, in a few words."""
        if scheduler == "fifo":
            return "none is stopped early"
        if scheduler == "pbt":
            return (
                f"after every {self.first:,} examples the weakest quarter continue from the "
                "weights of the best"
            )
        if scheduler == "median":
            return (
                f"from {self.first:,} examples on a trial ends whose best value is worse than the "
                "median of the others' means"
            )
        at = ", ".join(f"{examples:,}" for examples in self.milestones)
        brackets = self.brackets(scheduler)
        within = f" of each of {brackets} brackets" if brackets > 1 else ""
        return f"at {at} examples the weaker half{within} ends"


def bracket_of(number: int, brackets: int) -> int:
    """Return the bracket of a trial by its number: half are in the first, half of the rest next.

    Hyperband gives brackets with more rungs more trials, as more of these end early.
    """
    zeros = ((number + 1) & -(number + 1)).bit_length() - 1
    return min(zeros, brackets - 1)


def plan_rungs(epochs: float, examples: int, first_rung: int = 0) -> Rungs:
    """Place the rungs of a budget of `epochs` over a train split of `examples` texts.

    Args:
        epochs: the budget.
        examples: texts of an epoch.
        first_rung: training examples before which no rung is, if three are behind.

    Raises:
        InputError: the budget is not above 0.
    """
    _check_epochs(epochs)
    halvings = LEAST_HALVINGS
    while (
        epochs / REDUCTION**halvings > FIRST_RUNG_EPOCHS
        and epochs * examples / REDUCTION ** (halvings + 1) >= first_rung
    ):
        halvings += 1
    parts = [REDUCTION**power for power in range(halvings, 0, -1)]
    return Rungs(
        milestones=tuple(sorted({max(1, int(epochs * examples / part)) for part in parts})),
        budget=math.ceil(epochs * examples),
        evaluations_per_epoch=parts[1] / epochs,
    )


def plan_turns(epochs: float, examples: int) -> Rungs:
    """Place the turns of a population, of a budget of `epochs` over `examples` texts.

    Raises:
        InputError: the budget is not above 0.
    """
    _check_epochs(epochs)
    return Rungs(
        milestones=tuple(
            sorted({max(1, int(turn * epochs * examples / TURNS)) for turn in range(1, TURNS)})
        ),
        budget=math.ceil(epochs * examples),
        evaluations_per_epoch=TURNS / epochs,
        early_evaluations=0,
    )


def _check_epochs(epochs: float) -> None:
    if not 0 < epochs < math.inf:
        raise InputError(f"--max-epochs {epochs:g}: give a number above 0, such as 1.5")
