"""Optuna behind Ray Tune: suggest, report, tell.

The study in its storage is the only state. A resumed sweep opens the study again and builds a
fresh `OptunaSearcher` over it; Ray's own snapshots of a searcher are not used, because they lag
behind the storage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.search import Searcher

from sentiment.config import Objective
from sentiment.errors import InputError
from sweeps.objectives import Objectives
from sweeps.search.dominance import values_of
from sweeps.search.flatness import Flatness, FlatnessRule
from sweeps.search.rdb_storage import one_transaction
from sweeps.search.stateless_searcher import StatelessSearcher
from sweeps.search.study import ENDED_BY, RUN_ID, TIME_BUDGET, is_enqueued, unnumbered
from sweeps.search.trial_attributes import (
    EVALUATIONS,
    TRIAL_NUMBER,
    Evaluations,
    curve,
    evaluations_of,
)
from sweeps.space.space import SearchSpace
from sweeps.trials.outcomes import Outcome
from sweeps.trials.protocol import EXAMPLES, FAILURE, FINISHED, evaluations, facts_of
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import CHECKPOINT

_RAY_ID = "ray_trial"  # user attribute: Ray's id of the trial's latest start
_OUTCOMES: dict[TrialState, Outcome] = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "stopped_early",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class EndedTrial:
    """A trial of this search that has ended, as the study knows it.

    Attributes:
        number: the search's own.
        config: what `suggest` returned for it.
        outcome: as in the tag `sweep.outcome`.
        values: the first objective by training examples seen.
        evaluations: the same with the further objectives, where there are any.
    """

    number: int
    config: dict[str, Any]
    outcome: Outcome
    values: dict[int, float]
    evaluations: Evaluations = field(default_factory=dict)


class OptunaSearcher(StatelessSearcher):
    """Suggests the trials of a study to Ray, and reports to the study how they ended.

    How a trial ends decides what Optuna learns:

    - it reached its full budget: COMPLETE, with the *best* value over its evaluations, since the
      best checkpoint is what a trial leaves behind;
    - the scheduler stopped it: PRUNED, with its intermediate values at the examples seen, so that
      values of different budgets are not mixed up;
    - the sweep's time budget ended it: PRUNED as well, or FAIL where it has no value yet; its user
      attribute `ended_by` is `time budget`, since nothing judged it;
    - it failed for good, or ended without a finite value: FAIL.

    With several objectives a full trial has the others' values too, as of its last evaluation, and
    what exceeds a limit is a constraint of the trial. A stopped one is PRUNED without values: of
    the seconds, say, it has spent a part alone, by which it would lie on the front. Optuna's TPE
    takes pruned trials for worse than all complete ones, which is what the scheduler has found;
    NSGA-II and the Gaussian process learn from complete trials alone.

    Trials of this search that the storage shows as running have lost their process; they are
    suggested again first, under their numbers and with their settings, and so are failed trials
    that will be retried. So one study may have one search at a time.

    Args:
        study: of `make_study`.
        space: what to search.
        metric: the result's key with the first objective's value.
        max_trials: trials of this search in all, those of an interrupted start included.
        budget: training examples after which a trial has run to its end.
        seed: the trial with number n gets the seed `seed + n`.
        base: settings and whatever else all trials' configurations share.
        attempts: decides on retries, and finds the checkpoints that trials resume from; None: a
            failure is final, and a trial starts afresh.
        run_of: of a trial's number, the id of its MLflow run; None while the run is not made.
            It becomes the user attribute `mlflow_run_id`.
        objectives: all that the study has, and their limits; None: `metric` alone.
        until_flat: says when no new trial starts, as none would gain; None: all of them start.

    Attributes:
        flatness: of the search when it was found to be flat; None while it was not.

    Raises:
        InputError: `base` sets what the space searches.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        *,
        metric: str,
        max_trials: int,
        budget: int,
        seed: int,
        base: Mapping[str, Any] | None = None,
        attempts: RetryTracker | None = None,
        run_of: Callable[[int], str | None] = lambda number: None,
        objectives: Objectives | None = None,
        until_flat: FlatnessRule | None = None,
    ) -> None:
        mode = "min" if study.directions[0] == StudyDirection.MINIMIZE else "max"
        super().__init__(metric=metric, mode=mode)
        twice = sorted(set(base or {}) & set(space.dimensions))
        if twice:
            raise InputError(f"{twice[0]} is searched and can't be the same in all trials: fix it")
        self._key = metric
        self._objectives = objectives or Objectives(cast(Objective, metric))
        self._study = study
        self._space = space
        self._max_trials = max_trials
        self._budget = budget
        self._seed = seed
        self._base = dict(base or {})
        self._stopped = False
        self._until_flat = until_flat
        self.flatness: Flatness | None = None
        self._run_of = run_of
        self._out_of_time: set[str] = set()
        self._trials: dict[str, Trial] = {}
        self._reached: dict[str, Evaluations] = {}
        self._attempts = attempts
        self._interrupted: list[tuple[Trial, Evaluations]] = []
        started = []
        for trial in study.get_trials(deepcopy=False):
            if TRIAL_NUMBER in trial.user_attrs:
                started.append(trial.user_attrs[TRIAL_NUMBER])
                if trial.state == TrialState.RUNNING:
                    running = Trial(study, trial._trial_id)
                    self._interrupted.append((running, evaluations_of(trial, metric)))
        self._interrupted.sort(key=lambda each: each[0].user_attrs[TRIAL_NUMBER])
        self._next = max(started, default=-1) + 1
        self._asked_for = unnumbered(study)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the configuration of the next trial, or `Searcher.FINISHED`.

        None while only a retry could start another trial.
        """
        if self._stopped:
            return Searcher.FINISHED
        with one_transaction(self._study):
            return self._suggest(trial_id)

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        checkpoint = None
        if self._interrupted:
            trial, known = self._interrupted.pop(0)
            number = trial.user_attrs[TRIAL_NUMBER]
            checkpoint = self._attempts.start(number) if self._attempts else None
        elif self._next < self._max_trials and not self._is_flat():
            number = self._next
            self._next += 1
            trial = self._asked_for.pop(0) if self._asked_for else self._study.ask()
            trial.set_user_attr(TRIAL_NUMBER, number)
            known = {}
        else:
            return None if self._attempts and self._trials else Searcher.FINISHED
        trial.set_user_attr(_RAY_ID, trial_id)
        if trial.user_attrs.get(ENDED_BY) is not None:
            # A kill came between this and the end of the trial.
            trial.set_user_attr(ENDED_BY, None)
        self._trials[trial_id] = trial
        self._reached[trial_id] = known
        self._note_run(trial)
        config = self._config(trial, self._space.suggest(trial))
        return config if checkpoint is None else {**config, CHECKPOINT: checkpoint}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an evaluation; Ray leaves out the one at which a trial is stopped."""
        if trial_id in self._trials:
            self._report(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report to the study how a trial ended; a second call for a trial changes nothing."""
        if trial_id not in self._trials:
            return
        if error and self._tried_again(trial_id):
            return
        if result:
            self._report(trial_id, result)
        last = result or {}
        finished = last.get(FINISHED, False) or last.get(EXAMPLES, 0) >= self._budget
        self._tell(trial_id, finished=finished, error=error or FAILURE in last)

    def known_values(self, trial_id: str) -> Mapping[int, float]:
        """Return the values, by examples seen, at which a trial of Ray's was continued."""
        return curve(self.known_evaluations(trial_id), self._key)

    def known_evaluations(self, trial_id: str) -> Evaluations:
        """Return the same with the further objectives."""
        return self._reached.get(trial_id, {})

    def is_enqueued(self, trial_id: str) -> bool:
        """Whether a trial of Ray's has settings that were enqueued."""
        return trial_id in self._trials and is_enqueued(self._study, self._trials[trial_id])

    def run_out(self, trial_id: str) -> None:
        """Note that the time budget ends a trial of Ray's at the evaluation just made."""
        self._out_of_time.add(trial_id)

    def ran_out(self, trial_id: str) -> bool:
        """Whether the time budget has ended a trial of Ray's."""
        return trial_id in self._out_of_time

    def has_ended_turn(self, trial_id: str) -> bool:
        """Whether a trial of Ray's has stopped to start again, as those of a population do."""
        return False

    def ended(self) -> list[EndedTrial]:
        """Return the trials of this search that have ended, by number."""
        found = [
            EndedTrial(
                number=trial.user_attrs[TRIAL_NUMBER],
                config=self._config(trial, {**self._space.fixed, **trial.params}),
                outcome=_outcome_of(trial),
                values=curve(reached, self._key),
                evaluations=reached,
            )
            for trial in self._study.get_trials(deepcopy=False)
            if TRIAL_NUMBER in trial.user_attrs and trial.state in _OUTCOMES
            for reached in [evaluations_of(trial, self._key)]
        ]
        return sorted(found, key=lambda trial: trial.number)

    def stop(self) -> None:
        """Suggest nothing more; running trials continue."""
        self._stopped = True

    def close(self) -> None:
        """Report to the study the trials that Ray ended without a result, as at a time budget.

        Don't call it after an interruption: what is left running then is what a resume starts.
        """
        self.stop()
        for trial_id in list(self._trials):
            self.run_out(trial_id)
            self._tell(trial_id, finished=False, error=False)
        for trial, reached in self._interrupted:
            self._tell_out_of_time(trial, reached)
        self._interrupted.clear()
        for trial in self._asked_for:
            self._study.tell(trial, state=TrialState.FAIL)
        self._asked_for.clear()

    def _is_flat(self) -> bool:
        """Return whether more trials would gain nothing, by those that have ended."""
        if self._until_flat is None or self.flatness is not None:
            return self.flatness is not None
        best = min if self._mode == "min" else max
        values = [
            best(each.values.values())
            for each in self.ended()
            if each.values and each.outcome != "failed"
        ]
        judged = self._until_flat.judge(values)
        if judged.is_flat:
            self.flatness = judged
        return judged.is_flat

    def _config(self, trial: Trial | FrozenTrial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's configuration, by the settings that its parameters say."""
        number = trial.user_attrs[TRIAL_NUMBER]
        return {**settings, **self._base, "trial": number, "seed": self._seed + number}

    def _tried_again(self, trial_id: str) -> bool:
        """Queue a failed trial to start again, if it is retried; return whether it is."""
        number = self._trials[trial_id].user_attrs[TRIAL_NUMBER]
        if self._stopped or self._attempts is None or not self._attempts.fail(number):
            return False
        self._interrupted.append((self._trials.pop(trial_id), self._reached.pop(trial_id)))
        return True

    def _report(self, trial_id: str, result: Mapping[str, Any]) -> None:
        trial, reached = self._trials[trial_id], self._reached[trial_id]
        facts = facts_of(result)
        new: Evaluations = {}
        for evaluation in evaluations(result):
            values, step = values_of(self._objectives, evaluation, facts), evaluation.get(EXAMPLES)
            # A retried trial goes through the same steps again, with the same seed.
            if values is not None and step is not None and step not in reached:
                new[int(step)] = values
        reached |= new
        if not self._objectives.further:
            for step, value in curve(new, self._key).items():
                trial.report(value, step)
        elif new:
            trial.set_user_attr(EVALUATIONS, {str(step): each for step, each in reached.items()})
        self._note_run(trial)

    def _note_run(self, trial: Trial) -> None:
        """Set the id of the trial's run, once it is known."""
        if trial.user_attrs.get(RUN_ID) is None:
            run_id = self._run_of(trial.user_attrs[TRIAL_NUMBER])
            if run_id is not None:
                trial.set_user_attr(RUN_ID, run_id)

    def _tell(self, trial_id: str, finished: bool, error: bool) -> None:
        trial = self._trials.pop(trial_id)
        reached = self._reached.pop(trial_id)
        self._note_run(trial)
        if reached and self._objectives.limits:
            self._note_constraints(trial, reached)
        if not (error or finished) and trial_id in self._out_of_time:
            self._tell_out_of_time(trial, reached)
        elif error or not reached:
            self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        elif finished:
            self._study.tell(trial, self._values(trial, reached), skip_if_finished=True)
        else:
            self._study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)

    def _values(self, trial: Trial, reached: Evaluations) -> list[float]:
        """Return a full trial's values: the first objective's best, the others' last."""
        best = min if self._mode == "min" else max
        last = reached[max(reached)]
        further = [last[name] for name in self._objectives.further]
        return [best(curve(reached, self._key).values()), *further]

    def _note_constraints(self, trial: Trial, reached: Evaluations) -> None:
        """Set by what share of a limit a trial exceeds it, above 0 beyond it alone."""
        # A kill may have come between this and the end of the trial.
        noted, last = trial.constraints, reached[max(reached)]
        for limit in self._objectives.limits:
            if limit.objective not in noted and limit.objective in last:
                trial.set_constraint(limit.objective, limit.excess_of(last[limit.objective]))

    def _tell_out_of_time(self, trial: Trial, reached: Evaluations) -> None:
        # TPE takes a pruned trial without a value for a bad one; a failed one it leaves out.
        state = TrialState.PRUNED if reached else TrialState.FAIL
        trial.set_user_attr(ENDED_BY, TIME_BUDGET)
        self._study.tell(trial, state=state, skip_if_finished=True)


def _outcome_of(trial: FrozenTrial) -> Outcome:
    cut = trial.user_attrs.get(ENDED_BY) == TIME_BUDGET and trial.state != TrialState.COMPLETE
    return "out_of_time" if cut else _OUTCOMES[trial.state]
