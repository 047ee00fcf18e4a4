"""Which trials of several objectives are dominated while they train, by all that is known then.

A trial's parameters are known from its first evaluation on, its latency is measured at each report,
and its seconds are those that it took so far, as those of the others to the same rung.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sweeps.objectives import Objectives, dominates, merit
from sweeps.search.trial_attributes import Evaluations
from sweeps.trials.protocol import EXAMPLES, costs_of, facts_of

KnownEvaluations = Callable[[str], Evaluations]
"""Of Ray's id of a trial: what it had reached where it continued."""


class Dominance:
    """What the trials of a search have reached, by every objective.

    Where there are limits, a trial beyond one is dominated by any other within them, and
    dominates none of those: so it is not spared for being, say, the most accurate.
    """

    def __init__(
        self, objectives: Objectives, known: KnownEvaluations = lambda trial_id: {}
    ) -> None:
        """Start without trials.

        Args:
            objectives: all that counts.
            known: evaluations of resumed trials.
        """
        self._objectives = objectives
        self._known = known
        self._reached: dict[str, Evaluations] = {}

    def resume(self, trial_id: str) -> None:
        """Take note of what a trial of Ray's had reached; nothing, if it is new."""
        self.place(trial_id, self._known(trial_id))

    def place(self, trial_id: str, evaluations: Evaluations) -> None:
        """Take note of what a trial had reached before."""
        self._reached[trial_id] = dict(evaluations)

    def add(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Take note of a result."""
        found = values_of(self._objectives, result, facts_of(result))
        if found is not None:
            self._reached.setdefault(trial_id, {}).setdefault(int(result[EXAMPLES]), found)

    def is_dominated(self, trial_id: str, at: float, others: Iterable[str] | None = None) -> bool:
        """Whether another trial is at least as good by all objectives and better by one.

        Args:
            trial_id: the trial.
            at: training examples at which they are compared: at the first evaluation from there on.
            others: the trials that it is compared with; None: all.
        """
        own = self._at(trial_id, at)
        if own is None:
            return True
        for other in self._reached if others is None else others:
            values = None if other == trial_id else self._at(other, at)
            if values is not None and self._dominates(values, own):
                return True
        return False

    def _at(self, trial_id: str, examples: float) -> dict[str, float] | None:
        reached = self._reached.get(trial_id, {})
        step = min((step for step in reached if step >= examples), default=None)
        return None if step is None else reached[step]

    def _dominates(self, one: Mapping[str, float], other: Mapping[str, float]) -> bool:
        within = [self._is_within(each) for each in (one, other)]
        if within[0] != within[1]:
            return within[0]
        names = [name for name in self._objectives.names if name in one and name in other]
        return dominates(*([merit(name, each[name]) for name in names] for each in (one, other)))

    def _is_within(self, values: Mapping[str, float]) -> bool:
        return all(
            limit.objective not in values or limit.excess_of(values[limit.objective]) <= 0
            for limit in self._objectives.limits
        )


def values_of(
    objectives: Objectives, evaluation: Mapping[str, Any], facts: Mapping[str, float]
) -> dict[str, float] | None:
    """Return the objectives that are known at an evaluation, by name; None without the first.

    Args:
        objectives: all that counts.
        evaluation: of a trial.
        facts: what is known of the trial as a whole.
    """
    first = evaluation.get(objectives.first)
    if first is None or not math.isfinite(first):
        return None
    return {objectives.first: float(first), **objectives.costs(costs_of(evaluation, facts))}
