"""Warm start: the finished trials of an earlier sweep are added to a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState, create_trial

from sweeps.search.study import ENDED_BY, TIME_BUDGET
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
    """

    source: str
    settings: Mapping[str, Any]
    outcome: Outcome
    value: float | None = None
    intermediate_values: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WarmStart:
    """How many past trials the study has, and how many did not fit."""

    used: int
    skipped: int


def warm_start(study: Study, past: Iterable[PastTrial], space: SearchSpace) -> WarmStart:
    """Add to a study the finished trials of an earlier sweep with the same objective.

    Those outside the space, and those without a finite value, are skipped. Trials that the
    study has already are not added again, so that a resumed sweep may repeat the call.
    """
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
        if params is None or value is None or not math.isfinite(value):
            skipped += 1
            continue
        used += 1
        if trial.source in known:
            continue
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                value=value,
                params=params,
                distributions={name: distributions[name] for name in params},
                intermediate_values=values,
                user_attrs={
                    _SOURCE: trial.source,
                    **({ENDED_BY: TIME_BUDGET} if trial.outcome == "out_of_time" else {}),
                },
            )
        )
    return WarmStart(used, skipped)
