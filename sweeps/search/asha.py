"""Schedulers: asynchronous successive halving that can be resumed, or none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from sentiment.config import Objective
from sentiment.objective import mode_of
from sweeps.search.rungs import REDUCTION, Rungs
from sweeps.trials.protocol import EXAMPLES


class ResumableASHA(AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al., 2020, arXiv:1810.05934) for resumed trials.

    A resumed trial is put back only into the rungs from which it was promoted.
    """

    def __init__(self, known: Callable[[str], Mapping[int, float]], **options: Any) -> None:
        """Start with empty rungs.

        Args:
            known: of Ray's id of a trial, the objective by examples seen where it continued.
            options: of `AsyncHyperBandScheduler`.
        """
        super().__init__(**options)
        self._known = known

    @property
    def rungs(self) -> tuple[float, ...]:
        """Training examples at which trials are compared, the first rung first."""
        (bracket,) = self._brackets
        return tuple(sorted(milestone for milestone, _ in bracket._rungs))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Place a trial in the rungs that it has passed: none if it is new."""
        super().on_trial_add(tune_controller, trial)
        self._place(trial.trial_id, self._known(trial.trial_id))

    def restore_trials(self, values: Iterable[Mapping[int, float]]) -> None:
        """Place trials that ended before an interruption, by their objective at examples seen."""
        for number, trial in enumerate(values):
            self._place(f"before-{number}", trial)

    def _place(self, trial_id: str, values: Mapping[int, float]) -> None:
        (bracket,) = self._brackets
        sign = 1 if self._mode == "max" else -1
        for milestone, recorded in bracket._rungs:
            recorded.pop(trial_id, None)
            reached = [step for step in values if step >= milestone]
            if reached:
                recorded[trial_id] = sign * values[min(reached)]


def make_scheduler(
    name: str,
    rungs: Rungs,
    objective: Objective,
    known: Callable[[str], Mapping[int, float]] = lambda trial_id: {},
) -> TrialScheduler:
    """Make the scheduler: `asha` stops the weaker half at each rung, `fifo` stops none.

    Its resource is training examples, so that batch sizes and fractions of an epoch compare.

    Args:
        name: asha or fifo.
        rungs: where trials are compared.
        objective: what by.
        known: see `ResumableASHA`.
    """
    if name == "fifo":
        return FIFOScheduler()
    return ResumableASHA(
        known,
        time_attr=EXAMPLES,
        metric=objective,
        mode=mode_of(objective),
        grace_period=rungs.first,
        max_t=rungs.budget,
        reduction_factor=REDUCTION,
    )
