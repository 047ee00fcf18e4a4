"""Schedulers: which trials stop before their full budget, also in a search that is resumed.

Their resource is training examples, so that batch sizes and fractions of an epoch compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from sentiment.config import Objective
from sentiment.objective import mode_of
from sweeps.search.dominance import Dominance
from sweeps.search.optuna_searcher import EndedTrial
from sweeps.search.rungs import REDUCTION, Rungs, bracket_of
from sweeps.trials.protocol import EXAMPLES

KnownValues = Callable[[str], Mapping[int, float]]
"""Of Ray's id of a trial: the objective by examples seen where it continued."""

Spared = Callable[[str], bool]
"""Whether a trial, by Ray's id, is trained to its full budget in any case."""

_MOST_WORKERS = 10_000
MEDIAN_OF = 5
"""Other trials that must have come as far before the median stops one."""


class ResumableASHA(AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al., 2020, arXiv:1810.05934) for resumed trials.

    With several brackets it is Hyperband (Li et al., 2018, JMLR 18, 185): the trials of each
    bracket are compared with one another, those of a later bracket from a later rung on. A resumed
    trial is put back only into the rungs from which it was promoted.

    With several objectives a trial that is among the weaker ones by the first continues where no
    other at its rung dominates it.
    """

    def __init__(
        self,
        known: KnownValues,
        spared: Spared,
        dominance: Dominance | None = None,
        **options: Any,
    ) -> None:
        """Start with empty rungs.

        Args:
            known: values of resumed trials.
            spared: trials that are compared, and not stopped.
            dominance: of trials of several objectives; None: there is one.
            options: of `AsyncHyperBandScheduler`.
        """
        super().__init__(**options)
        self._known = known
        self._spared = spared
        self._dominance = dominance

    @property
    def milestones(self) -> tuple[float, ...]:
        """Training examples at which trials are compared, the first rung first."""
        return tuple(sorted({at for bracket in self._brackets for at, _ in bracket._rungs}))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Place a trial in the rungs that it has passed: none if it is new."""
        super().on_trial_add(tune_controller, trial)
        # Ray draws the bracket; a resumed search must find the same one again.
        number = int(trial.config["trial"])
        self._trial_info[trial.trial_id] = self._bracket(number)
        self._place(number, trial.trial_id, self._known(trial.trial_id))
        if self._dominance:
            self._dominance.resume(trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Compare a trial with the others of its bracket; return whether it continues."""
        if self._dominance:
            self._dominance.add(trial.trial_id, result)
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if result[EXAMPLES] >= self._max_t:
            return decision
        if self._spared(trial.trial_id):
            return TrialScheduler.CONTINUE
        if decision == TrialScheduler.STOP and self._is_on_front(trial, result[EXAMPLES]):
            return TrialScheduler.CONTINUE
        return decision

    def restore_trials(self, trials: Iterable[EndedTrial]) -> None:
        """Place trials that ended before an interruption."""
        for trial in trials:
            trial_id = f"before-{trial.number}"
            self._place(trial.number, trial_id, trial.values)
            if self._dominance:
                self._dominance.place(trial_id, trial.evaluations)

    def _is_on_front(self, trial: Trial, examples: int) -> bool:
        """Whether no other trial dominates one at the rung that it has just reached."""
        if self._dominance is None:
            return False
        rungs = self._bracket(int(trial.config["trial"]))._rungs
        milestone, recorded = next(each for each in rungs if each[0] <= examples)
        return not self._dominance.is_dominated(trial.trial_id, milestone, recorded)

    def _bracket(self, number: int) -> Any:
        return self._brackets[bracket_of(number, len(self._brackets))]

    def _place(self, number: int, trial_id: str, values: Mapping[int, float]) -> None:
        sign = 1 if self._mode == "max" else -1
        for milestone, recorded in self._bracket(number)._rungs:
            recorded.pop(trial_id, None)
            reached = [step for step in values if step >= milestone]
            if reached:
                recorded[trial_id] = sign * values[min(reached)]


class ResumableMedian(MedianStoppingRule):
    """The median stopping rule (Golovin et al., 2017, "Google Vizier") for resumed trials.

    A trial stops where its best value is worse than the median of the others' running means.
    """

    def __init__(
        self,
        known: KnownValues,
        spared: Spared,
        rungs: Rungs,
        objective: Objective,
        dominance: Dominance | None = None,
    ) -> None:
        """Start without results.

        Args:
            known: values of resumed trials.
            spared: trials that are compared, and not stopped.
            rungs: before the first of them none is stopped; at all of them a trial reports at once.
            objective: what trials are compared by.
            dominance: of trials of several objectives, of which only dominated ones are stopped.
        """
        super().__init__(
            time_attr=EXAMPLES,
            metric=objective,
            mode=mode_of(objective),
            grace_period=rungs.first,
            min_samples_required=MEDIAN_OF,
        )
        self._known = known
        self._spared = spared
        self._dominance = dominance
        self.milestones = rungs.milestones

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Note what a resumed trial had reached."""
        super().on_trial_add(tune_controller, trial)
        self._note(trial, self._known(trial.trial_id))
        if self._dominance:
            self._dominance.resume(trial.trial_id)

    def restore_trials(self, trials: Iterable[EndedTrial]) -> None:
        """Note what trials had reached that ended before an interruption."""
        for trial in trials:
            self._note(trial.number, trial.values)
            if self._dominance:
                self._dominance.place(f"before-{trial.number}", trial.evaluations)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Compare a trial with the others; return whether it continues."""
        if self._dominance:
            self._dominance.add(trial.trial_id, result)
        if self._spared(trial.trial_id):
            self._results[trial].append(result)
            return TrialScheduler.CONTINUE
        decision: str = super().on_trial_result(tune_controller, trial, result)
        dominance, examples = self._dominance, result[EXAMPLES]
        if dominance and not dominance.is_dominated(trial.trial_id, examples):
            # Ray has taken note that it ends.
            self._stopped_trials.discard(trial)
            return TrialScheduler.CONTINUE
        return decision

    def _on_insufficient_samples(self, tune_controller: Any, trial: Trial, time: float) -> str:
        """Let a trial continue; Ray would pause it, and start others from its place."""
        return TrialScheduler.CONTINUE

    def _note(self, trial: Any, values: Mapping[int, float]) -> None:
        results = [{EXAMPLES: step, self._metric: values[step]} for step in sorted(values)]
        if results:
            self._results[trial] = results
        else:
            self._results.pop(trial, None)


class PopulationTurns(FIFOScheduler):
    """Ends each start of a trial of a population with its turn.

    Ray's own PBT refuses a search algorithm, and keeps the population in snapshots that lag behind
    the study. Here `sweeps.search.population_searcher.PopulationSearcher` decides what follows.
    """

    def __init__(
        self, milestones: Sequence[int], known: KnownValues, end_turn: Callable[[str], None]
    ) -> None:
        """Start with no trials.

        Args:
            milestones: training examples at which turns end.
            known: values of trials that have been trained before.
            end_turn: called with Ray's id of a trial that stops, and will start again.
        """
        super().__init__()
        self.milestones = tuple(milestones)
        self._known = known
        self._end_turn = end_turn
        self._ends: dict[str, float] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Note where the turn of a trial ends."""
        super().on_trial_add(tune_controller, trial)
        if not self._ends:
            # Between two turns no trial is pending, and Ray would end all workers but one.
            cache = tune_controller._tune_controller._actor_cache
            cache.increase_max(trial.placement_group_factory, by=_MOST_WORKERS)
        reached = max(self._known(trial.trial_id), default=0)
        left = [milestone for milestone in self.milestones if milestone > reached]
        self._ends[trial.trial_id] = left[0] if left else math.inf

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop a trial at the end of its turn."""
        if result[EXAMPLES] < self._ends[trial.trial_id]:
            return TrialScheduler.CONTINUE
        self._end_turn(trial.trial_id)
        return TrialScheduler.STOP


Resumable = ResumableASHA | ResumableMedian
"""A scheduler that stops trials: it has `milestones` and `restore_trials`."""
Staged = Resumable | PopulationTurns
"""A scheduler with `milestones`, at which a trial reports at once."""


def make_scheduler(
    name: str,
    rungs: Rungs,
    objective: Objective,
    known: KnownValues = lambda trial_id: {},
    spared: Spared = lambda trial_id: False,
    dominance: Dominance | None = None,
) -> TrialScheduler:
    """Make a scheduler.

    Args:
        name: one of `sweeps.config.SCHEDULERS` but pbt, which is `PopulationTurns`.
        rungs: where trials are compared.
        objective: what by.
        known: values of resumed trials.
        spared: trials that are compared, and not stopped.
        dominance: of trials of several objectives; None: there is one.
    """
    if name == "fifo":
        return FIFOScheduler()
    if name == "median":
        return ResumableMedian(known, spared, rungs, objective, dominance)
    return ResumableASHA(
        known,
        spared,
        dominance,
        time_attr=EXAMPLES,
        metric=objective,
        mode=mode_of(objective),
        grace_period=rungs.first,
        max_t=rungs.budget,
        reduction_factor=REDUCTION,
        brackets=rungs.brackets(name),
    )
