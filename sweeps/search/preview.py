"""Preview of a search: the settings of its next trials, before any is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from sentiment.config import Objective
from sweeps.objectives import Objectives
from sweeps.search.study import (
    enqueue_first,
    fitting_sampler,
    make_study,
    numbered,
    unnumbered,
)
from sweeps.search.tpe import Cost
from sweeps.search.trial_attributes import TRIAL_NUMBER
from sweeps.search.warm_start import PastTrial, warm_start
from sweeps.space.space import SearchSpace


def first_suggestions(
    space: SearchSpace,
    sampler: str,
    seed: int,
    count: int,
    objective: Objective = "valid/accuracy",
    past: Iterable[PastTrial] = (),
    cost: Cost | None = None,
    before: Sequence[FrozenTrial] = (),
    guided: int = 0,
    objectives: Objectives | None = None,
) -> list[dict[str, Any]]:
    """Return the settings of a sweep's first or next trials, as long as no other has ended.

    Args:
        space: what is searched.
        sampler: see `make_sampler`.
        seed: of the sampler.
        count: how many.
        objective: what the study's values are.
        past: trials of another sweep to start from.
        cost: of a trial, for the sampler.
        before: the trials in the study of a sweep that is resumed.
        guided: in how many of the first trials the space's prior counts.
        objectives: all that the study has, the first as `objective`; None: one.

    Raises:
        InputError: the sampler does not fit the space.
    """
    further = objectives.further if objectives else ()
    study = make_study(None, "preview", objective, space, sampler, seed, cost, guided, further)
    first = len(numbered(before))
    if before:
        study.add_trials(before)
        study.sampler = fitting_sampler(sampler, space, seed, first, cost, guided)
    else:
        enqueue_first(study, space)
    warm_start(study, past, space, objectives)
    suggestions = []
    interrupted = unnumbered(study)
    for number in range(first, first + count):
        trial = interrupted.pop(0) if interrupted else study.ask()
        trial.set_user_attr(TRIAL_NUMBER, number)
        suggestions.append(space.suggest(trial))
    return suggestions
