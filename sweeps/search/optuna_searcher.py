"""Optuna behind Ray Tune: suggest, report, tell.

The study in its storage is the only state. A sweep that goes on after an interruption opens the
study again and builds a fresh `OptunaSearcher` over it; Ray's own snapshots of a searcher are not
used, because they lag behind the storage.

Numbers: a trial of the search has its own number, counted from 0 and kept in the user attribute
`trial`. Optuna's number differs where an earlier sweep's trials were told first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from ray.tune.search import Searcher

from sentiment.config import Objective
from sentiment.errors import InputError
from sweeps.search.rdb_storage import add_attributes, open_study_storage
from sweeps.search.samplers import Cost, make_sampler
from sweeps.space.space import Space
from sweeps.trials.outcomes import Outcome
from sweeps.trials.protocol import EXAMPLES, FAILURE, FINISHED, evaluations
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import CHECKPOINT

_NUMBER = "trial"  # user attribute: the search's own number of a trial
_RAY_ID = "ray_trial"  # user attribute: Ray's id of the trial's latest start
_RUN_ID = "mlflow_run_id"  # user attribute: the trial's run, for readers of the study
_ENDED_BY = "ended_by"  # user attribute: what ended a trial that neither it nor the scheduler did
_TIME_BUDGET = "time budget"
_OUTCOMES: dict[TrialState, Outcome] = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "stopped_early",
    TrialState.FAIL: "failed",
}
_SOURCE = "source"  # user attribute: which trial of an earlier sweep was told


def note_runs(study: Study, run_of: Callable[[int], str | None]) -> None:
    """Name the runs of trials that ended before these were made.

    Args:
        study: the study.
        run_of: of a trial's number, the id of its MLflow run.
    """
    unknown = {
        trial.number: run_of(number)
        for number, trial in numbered(study.get_trials(deepcopy=False)).items()
        if _RUN_ID not in trial.user_attrs
    }
    found = {number: run_id for number, run_id in unknown.items() if run_id is not None}
    add_attributes(study, _RUN_ID, found)


def numbered(trials: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """Return the trials of a study that are its search's own, by their numbers there."""
    own = (trial for trial in trials if _NUMBER in trial.user_attrs)
    return {trial.user_attrs[_NUMBER]: trial for trial in sorted(own, key=_number_of)}


def _number_of(trial: FrozenTrial) -> int:
    return int(trial.user_attrs[_NUMBER])


def mode_of(objective: Objective) -> Literal["min", "max"]:
    """Say whether an objective is to be small or large."""
    return "min" if objective == "valid/loss" else "max"


@dataclass(frozen=True)
class EndedTrial:
    """A trial of this search that has ended, as the study knows it.

    Attributes:
        number: the search's own.
        config: what `suggest` returned for it.
        outcome: as in the tag `sweep.outcome`.
        values: the objective by training examples seen.
    """

    number: int
    config: dict[str, Any]
    outcome: Outcome
    values: dict[int, float]


class OptunaSearcher(Searcher):
    """Gives Ray the trials of a study, and tells the study how they ended.

    How a trial ends decides what Optuna learns:

    - it reached its full budget: COMPLETE, with the *best* value over its evaluations, since the
      best checkpoint is what a trial leaves behind;
    - the scheduler stopped it: PRUNED, with its intermediate values at the examples seen, so that
      values of different budgets are not mixed up;
    - the sweep's time budget ended it: PRUNED as well, or FAIL where it has no value yet; its user
      attribute `ended_by` is `time budget`, since nothing judged it;
    - it failed for good, or ended without a finite value: FAIL.

    Trials of this search that the storage shows as running have lost their process; they are
    suggested again first, under their numbers and with their settings, and so are those that fail
    and are to be tried again. So one study may have one search at a time.

    Args:
        study: of `make_study`.
        space: what to search.
        metric: the result's key with the objective's value.
        max_trials: trials of this search in all, those of an interrupted start included.
        budget: training examples after which a trial has run to its end.
        seed: the trial with number n gets the seed `seed + n`.
        base: settings and whatever else all trials' configurations share.
        attempts: decides on failures, and knows from where a trial goes on; None: a failure is
            final, and a trial starts afresh.
        run_of: of a trial's number, the id of its MLflow run; None while the run is not made.
            It becomes the user attribute `mlflow_run_id`.

    Raises:
        InputError: `base` sets what the space searches.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        *,
        metric: str,
        max_trials: int,
        budget: int,
        seed: int,
        base: Mapping[str, Any] | None = None,
        attempts: RetryTracker | None = None,
        run_of: Callable[[int], str | None] = lambda number: None,
    ) -> None:
        mode = "min" if study.direction == StudyDirection.MINIMIZE else "max"
        super().__init__(metric=metric, mode=mode)
        twice = sorted(set(base or {}) & set(space.dimensions))
        if twice:
            raise InputError(f"{twice[0]} is searched and can't be the same in all trials: fix it")
        self._key = metric
        self._study = study
        self._space = space
        self._max_trials = max_trials
        self._budget = budget
        self._seed = seed
        self._base = dict(base or {})
        self._stopped = False
        self._run_of = run_of
        self._out_of_time: set[str] = set()
        self._trials: dict[str, Trial] = {}
        self._values: dict[str, dict[int, float]] = {}
        self._attempts = attempts
        self._interrupted: list[tuple[Trial, dict[int, float]]] = []
        started = []
        for trial in study.get_trials(deepcopy=False):
            if _NUMBER in trial.user_attrs:
                started.append(trial.user_attrs[_NUMBER])
                if trial.state == TrialState.RUNNING:
                    running = Trial(study, trial._trial_id)
                    self._interrupted.append((running, dict(trial.intermediate_values)))
            elif trial.state == TrialState.RUNNING:
                # The process died between asking for a trial and numbering it.
                study.tell(trial.number, state=TrialState.FAIL)
        self._interrupted.sort(key=lambda each: each[0].user_attrs[_NUMBER])
        self._next = max(started, default=-1) + 1

    def __getstate__(self) -> dict[str, Any]:
        """Keep the study out of Ray's pickles, where nobody reads it."""
        return {"_metric": self._metric, "_mode": self._mode}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the configuration of the next trial, or `Searcher.FINISHED`.

        None while nothing but a failure of a running trial could make for another start.
        """
        if self._stopped:
            return Searcher.FINISHED
        checkpoint = None
        if self._interrupted:
            trial, known = self._interrupted.pop(0)
            number = trial.user_attrs[_NUMBER]
            checkpoint = self._attempts.start(number) if self._attempts else None
        elif self._next < self._max_trials:
            number = self._next
            self._next += 1
            trial = self._study.ask()
            trial.set_user_attr(_NUMBER, number)
            known = {}
        else:
            return None if self._attempts and self._trials else Searcher.FINISHED
        trial.set_user_attr(_RAY_ID, trial_id)
        if trial.user_attrs.get(_ENDED_BY) is not None:
            # A kill came between this and the end of the trial.
            trial.set_user_attr(_ENDED_BY, None)
        self._trials[trial_id] = trial
        self._values[trial_id] = known
        self._note_run(trial)
        config = self._config(number, self._space.suggest(trial))
        return config if checkpoint is None else {**config, CHECKPOINT: checkpoint}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an evaluation; Ray leaves out the one at which a trial is stopped."""
        if trial_id in self._trials:
            self._report(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended; a second call for a trial changes nothing."""
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
        """Return the values, by examples seen, at which a trial of Ray's was let go on."""
        return self._values.get(trial_id, {})

    def run_out(self, trial_id: str) -> None:
        """Note that the time budget ends a trial of Ray's at the evaluation just made."""
        self._out_of_time.add(trial_id)

    def ran_out(self, trial_id: str) -> bool:
        """Whether the time budget has ended a trial of Ray's."""
        return trial_id in self._out_of_time

    def ended(self) -> list[EndedTrial]:
        """Return the trials of this search that have ended, by number."""
        found = [
            EndedTrial(
                number=trial.user_attrs[_NUMBER],
                config=self._config(
                    trial.user_attrs[_NUMBER], {**self._space.fixed, **trial.params}
                ),
                outcome=_outcome_of(trial),
                values=dict(trial.intermediate_values),
            )
            for trial in self._study.get_trials(deepcopy=False)
            if _NUMBER in trial.user_attrs and trial.state in _OUTCOMES
        ]
        return sorted(found, key=lambda trial: trial.number)

    def stop(self) -> None:
        """Suggest nothing more; running trials go on."""
        self._stopped = True

    def close(self) -> None:
        """Tell the study of trials that Ray ended without a word, as it does at a time budget.

        Don't call it after an interruption: what is left running then is what a resume starts.
        """
        self.stop()
        for trial_id in list(self._trials):
            self.run_out(trial_id)
            self._tell(trial_id, finished=False, error=False)
        for trial, values in self._interrupted:
            self._tell_out_of_time(trial, values)
        self._interrupted.clear()

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the study has it all."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write nothing: the study has it all."""

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Read nothing: the study has it all."""

    def _config(self, number: int, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, **self._base, "trial": number, "seed": self._seed + number}

    def _tried_again(self, trial_id: str) -> bool:
        """Put a trial that has failed among those to start again, if it is to be tried again."""
        number = self._trials[trial_id].user_attrs[_NUMBER]
        if self._stopped or self._attempts is None or not self._attempts.fail(number):
            return False
        self._interrupted.append((self._trials.pop(trial_id), self._values.pop(trial_id)))
        return True

    def _report(self, trial_id: str, result: Mapping[str, Any]) -> None:
        values = self._values[trial_id]
        for evaluation in evaluations(result):
            value, step = evaluation.get(self._key), evaluation.get(EXAMPLES)
            # A retried trial goes through the same steps again, with the same seed.
            if value is None or step is None or step in values or not math.isfinite(value):
                continue
            self._trials[trial_id].report(float(value), int(step))
            values[int(step)] = float(value)
        self._note_run(self._trials[trial_id])

    def _note_run(self, trial: Trial) -> None:
        """Set the id of the trial's run, once it is known."""
        if trial.user_attrs.get(_RUN_ID) is None:
            run_id = self._run_of(trial.user_attrs[_NUMBER])
            if run_id is not None:
                trial.set_user_attr(_RUN_ID, run_id)

    def _tell(self, trial_id: str, finished: bool, error: bool) -> None:
        trial = self._trials.pop(trial_id)
        values = self._values.pop(trial_id)
        self._note_run(trial)
        if not (error or finished) and trial_id in self._out_of_time:
            self._tell_out_of_time(trial, values)
        elif error or not values:
            self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        elif finished:
            best = min if self._mode == "min" else max
            self._study.tell(trial, best(values.values()), skip_if_finished=True)
        else:
            self._study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)

    def _tell_out_of_time(self, trial: Trial, values: Mapping[int, float]) -> None:
        # TPE takes a pruned trial without a value for a bad one; a failed one it leaves out.
        state = TrialState.PRUNED if values else TrialState.FAIL
        trial.set_user_attr(_ENDED_BY, _TIME_BUDGET)
        self._study.tell(trial, state=state, skip_if_finished=True)


def _outcome_of(trial: FrozenTrial) -> Outcome:
    cut = trial.user_attrs.get(_ENDED_BY) == _TIME_BUDGET and trial.state != TrialState.COMPLETE
    return "out_of_time" if cut else _OUTCOMES[trial.state]


def make_study(
    storage_url: str | None,
    name: str,
    objective: Objective,
    space: Space,
    sampler: str = "tpe",
    seed: int = 1234,
    cost: Cost | None = None,
) -> Study:
    """Open a study, or create it.

    The storage is a database, by default an SQLite file: each step is a transaction, so that a
    killed process loses nothing it had told and leaves no lock, and a server takes the same URL.

    Args:
        storage_url: SQLAlchemy's, such as `sqlite:///sweeps.db`; None: in memory.
        name: of the study in the storage.
        objective: what the study's values are.
        space: what will be searched; a study that exists must have the same.
        sampler: see `make_sampler`.
        seed: of the sampler.
        cost: of a trial, for the sampler.

    Raises:
        InputError: the storage can't be opened, the sampler does not fit, or the study in the
            storage has another objective or space.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fitting = make_sampler(sampler, space, seed, cost=cost)
    study = optuna.create_study(
        storage=None if storage_url is None else open_study_storage(storage_url),
        study_name=name,
        sampler=fitting,
        direction="minimize" if mode_of(objective) == "min" else "maximize",
        load_if_exists=True,
    )
    for key, value, flag in (
        ("objective", objective, "--objective"),
        ("space", space.fingerprint, "--space and --set"),
    ):
        before = study.user_attrs.get(key)
        if before is None:
            study.set_user_attr(key, value)
        elif before != value:
            raise InputError(
                f"sweep {name} was started with another {key}: "
                f"resume it with the same {flag}, or start a new one"
            )
    if study.metric_names is None:
        with warnings.catch_warnings():
            # Optuna calls it experimental; we pin its major version.
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([objective])
    drawn = sum(_NUMBER in trial.user_attrs for trial in study.get_trials(deepcopy=False))
    if drawn:
        study.sampler = make_sampler(sampler, space, seed, drawn, cost)
    return study


@dataclass(frozen=True)
class PastTrial:
    """A finished trial of an earlier sweep on the same data.

    Attributes:
        source: its identity, such as a run's id; a study is told of it once.
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
    """How many past trials the study was told, and how many did not fit."""

    used: int
    skipped: int


def warm_start(study: Study, past: Iterable[PastTrial], space: Space) -> WarmStart:
    """Tell a study the finished trials of an earlier sweep with the same objective.

    Those outside the space, and those without a finite value, are skipped. What the study was
    told before is not told again, so that a resumed sweep may ask for the same.
    """
    distributions = space.distributions()
    told = {trial.user_attrs.get(_SOURCE) for trial in study.get_trials(deepcopy=False)}
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
        if trial.source in told:
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
                    **({_ENDED_BY: _TIME_BUDGET} if trial.outcome == "out_of_time" else {}),
                },
            )
        )
    return WarmStart(used, skipped)


def first_suggestions(
    space: Space,
    sampler: str,
    seed: int,
    count: int,
    objective: Objective = "valid/accuracy",
    past: Iterable[PastTrial] = (),
    cost: Cost | None = None,
    before: Sequence[FrozenTrial] = (),
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

    Raises:
        InputError: the sampler does not fit the space.
    """
    study = make_study(None, "preview", objective, space, sampler, seed, cost)
    if before:
        study.add_trials(before)
        study.sampler = make_sampler(sampler, space, seed, len(numbered(before)), cost)
    warm_start(study, past, space)
    return [space.suggest(study.ask()) for _ in range(count)]
