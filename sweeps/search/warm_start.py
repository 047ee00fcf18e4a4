"""Warm start: the finished trials of an earlier sweep are added to a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import TrialState, create_trial

from sweeps.objectives import Objectives
from sweeps.search.study import ENDED_BY, TIME_BUDGET
from sweeps.search.trial_attributes import EVALUATIONS
from sweeps.space.space import SearchSpace
from sweeps.trials.outcomes import Outcome

_SOURCE = "source"  # user attribute: identity of the trial of an earlier sweep


@dataclass(frozen=True)
class PastTrial:
    """A finished trial of an earlier sweep on the same data.

    Attributes:
        source: its identity, such as a run's id; it is added to a study once.
        settings: its hyperparameters, as values or as text; a missing one had its default.
        outcome: as in the tag `sweep.outcome`; one of `sweeps.trials.outcomes.RANKED`.
        value: the best value over its evaluations; only of a completed trial.
        intermediate_values: the objective by training examples seen.
        costs: further objectives by their names, those that its run has recorded.
    """

    source: str
    settings: Mapping[str, Any]
    outcome: Outcome
    value: float | None = None
    intermediate_values: Mapping[int, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WarmStart:
    """How many past trials the study has, and how many did not fit."""

    used: int
    skipped: int


def warm_start(
    study: Study,
    past: Iterable[PastTrial],
    space: SearchSpace,
    objectives: Objectives | None = None,
) -> WarmStart:
    """Add to a study the finished trials of an earlier sweep with the same first objective.

    Those outside the space, and those without a finite value, are skipped; so are completed ones
    of which a further objective is not known. Trials that the study has already are not added
    again, so that a resumed sweep may repeat the call.

    Args:
        study: the study.
        past: the trials.
        space: what is searched.
        objectives: all that the study has; None: one.
    """
    further = objectives.further if objectives else ()
    distributions = space.distributions()
    known = {trial.user_attrs.get(_SOURCE) for trial in study.get_trials(deepcopy=False)}
    used = skipped = 0
    for trial in past:
        params = space.locate(trial.settings)
        values = {
            int(step): float(value)
            for step, value in trial.intermediate_values.items()
            if math.isfinite(value)
        }
        complete = trial.outcome == "completed"
        # Optuna's value of a pruned trial is its last one.
        value = trial.value if complete else values.get(max(values, default=-1))
        costs = {name: trial.costs[name] for name in further if name in trial.costs}
        unknown = complete and len(costs) < len(further)
        if params is None or value is None or not math.isfinite(value) or unknown:
            skipped += 1
            continue
        used += 1
        if trial.source in known:
            continue
        reached: dict[str, Any] = {"value": value, "intermediate_values": values}
        attributes: dict[str, Any] = {_SOURCE: trial.source}
        if trial.outcome == "out_of_time":
            attributes[ENDED_BY] = TIME_BUDGET
        if objectives and further:
            # A pruned trial has no values where there are several.
            reached = {"values": [value, *costs.values()]} if complete else {}
            reached["system_attrs"] = {
                f"{_CONSTRAINTS_KEY}:{limit.objective}": limit.excess_of(costs[limit.objective])
                for limit in objectives.limits
                if limit.objective in costs
            }
            attributes[EVALUATIONS] = {
                str(step): {objectives.first: each} for step, each in values.items()
            }
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                params=params,
                distributions={name: distributions[name] for name in params},
                user_attrs=attributes,
                **reached,
            )
        )
    return WarmStart(used, skipped)
