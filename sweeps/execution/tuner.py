"""Ray Tune at work: workers, scheduler, and the callback that joins Ray to the record."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sweeps.execution.ray_env  # noqa: F401 - before Ray

# isort: split
import ray
from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.stopper import Stopper

from sentiment.config import Config, Objective, describe
from sentiment.tracking.runs import run_parameters
from sentiment.training.checkpoint import MODEL_FOLDER, read_notes
from sentiment.training.prepared_data import PreparedData
from sentiment.wording import duration
from sweeps.console.live_view import View
from sweeps.console.progress import Progress, TrialState
from sweeps.execution.resources import REDUCTION, Rungs, Workers
from sweeps.search.optuna_searcher import EndedTrial, mode_of
from sweeps.tracking.tracker import Role, SweepTracker
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.outcomes import Outcome
from sweeps.trials.protocol import EXAMPLES, FAILURE, FINISHED, PRECISION, evaluations
from sweeps.trials.retry import (
    FailFastMonitor,
    RetryTracker,
    SweepError,
    Watchdog,
    folder_prefix,
    is_lost_node,
)
from sweeps.trials.trainable import TrialWorker, hyperparameters

RECORDED = (
    "train/loss",
    "train/accuracy",
    "valid/loss",
    "valid/accuracy",
    "valid/f1",
    "epoch",
    "learning_rate",
    "tokens_per_second",
)
"""Metrics of an evaluation that go into the record."""


WORKERS_A_WAITING_TRIAL = 4
"""Workers for each trial that is suggested before there is room for it."""
_LONGEST_LINE = 160
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ResumableASHA(AsyncHyperBandScheduler):
    """ASHA that goes on with trials that it has judged before.

    It is asynchronous successive halving (Li et al., 2020, arXiv:1810.05934). A trial that starts
    again stands in the rungs at which it was let go on, and in no other.
    """

    def __init__(self, known: Callable[[str], Mapping[int, float]], **options: Any) -> None:
        """Make it.

        Args:
            known: of Ray's id of a trial, the objective by examples seen where it was let go on.
            options: of Ray's own.
        """
        super().__init__(**options)
        self._known = known

    @property
    def rungs(self) -> tuple[float, ...]:
        """Training examples at which trials are compared, the first rung first."""
        (bracket,) = self._brackets
        return tuple(sorted(milestone for milestone, _ in bracket._rungs))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take a trial in, new or starting again."""
        super().on_trial_add(tune_controller, trial)
        self._place(trial.trial_id, self._known(trial.trial_id))

    def recall(self, values: Iterable[Mapping[int, float]]) -> None:
        """Take in trials that ended before an interruption, by their values."""
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


def run_trials(
    search: Searcher,
    scheduler: TrialScheduler,
    *,
    prepared: PreparedData,
    workers: Workers,
    recorder: TrackingCallback,
    storage: Storage,
    room: Callable[[], int] | None = None,
    stopper: Stopper | None = None,
    system_metrics: bool = False,
    worker: type[tune.Trainable] | None = None,
) -> None:
    """Run what the search suggests until it has no more.

    Args:
        search: gives the trials and hears how they end.
        scheduler: decides which go on.
        prepared: data and word vectors; each node keeps one copy of them.
        workers: how many at once, and what each gets.
        recorder: hears of every event.
        storage: folder of Ray's own files, the trials' checkpoints among them.
        room: tells how many workers fit now; as many as `workers` says, if None.
        stopper: ends trials at an evaluation.
        system_metrics: whether workers measure how busy they and their machines are.
        worker: what each process runs, set up as `TrialWorker` is; that one, if None.

    Raises:
        InsufficientMemoryError: the memory does not suffice for so many at once.
        RecordError: something can't be recorded.
        SweepError: most of the first trials have failed in the same way.
    """
    # More than there is room for wait their turn, so that workers are kept for them, and so that
    # many that end at once find their next trials suggested. None do before a deadline, since they
    # would start after it.
    waiting = max(1, workers.count // WORKERS_A_WAITING_TRIAL) if stopper is None else 0
    fitting = room or (lambda: workers.count)
    trainable = tune.with_resources(
        tune.with_parameters(
            worker or TrialWorker,
            prepared=prepared,
            storage=storage,
            # Other nodes don't see the driver's disk.
            scratch=None if room or storage.local is None else str(storage.local / "scratch"),
            gpu_memory=workers.memory_share,
            threads=workers.cpus,
            system_metrics=system_metrics,
            rungs=scheduler.rungs if isinstance(scheduler, ResumableASHA) else (),
        ),
        {"cpu": workers.cpus, "gpu": workers.gpus},
    )
    parent, _, name = storage.path.rpartition("/")
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=DynamicConcurrencyLimiter(search, lambda: fitting() + waiting),
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=parent,
            storage_filesystem=None if storage.local else storage.filesystem,
            callbacks=[recorder],
            stop=stopper,
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    except TuneError:
        if recorder.failure is not None:
            raise recorder.failure from None
        raise


class DynamicConcurrencyLimiter(ConcurrencyLimiter):
    """Lets as many trials live at once as there is room for now."""

    def __init__(self, searcher: Searcher, room: Callable[[], int]) -> None:
        """Take the search, and what tells how many fit."""
        super().__init__(searcher, max_concurrent=max(1, room()))
        self._room = room

    def __getstate__(self) -> dict[str, Any]:
        """Keep what asks the cluster out of Ray's snapshot, which nobody reads."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the search's suggestion, or None while there is no room."""
        self.max_concurrent = self._room()
        return super().suggest(trial_id)


class InsufficientMemoryError(SweepError):
    """The memory does not suffice for as many trials as run at once."""


def _trial_name(trial: Trial) -> str:
    return f"{folder_prefix(int(trial.config['trial']))}{trial.trial_id}"


def _kept(method: Callable[..., None]) -> Callable[..., None]:
    """Keep what a method of a recorder raises: Ray wraps it, or takes it for the trial's."""

    @functools.wraps(method)
    def call(self: TrackingCallback, *args: Any, **options: Any) -> None:
        try:
            method(self, *args, **options)
        except Exception as error:
            self.failure = self.failure or error
            raise

    return call


class TrackingCallback(tune.Callback):
    """Carries what happens in Ray to the record and to the view, and ends workers that hang.

    Attributes:
        failure: what recording failed with, or why the sweep has no hope; None while all is well.
    """

    def __init__(
        self,
        tracker: SweepTracker,
        progress: Progress,
        view: View,
        *,
        say: Callable[[str], None],
        dataset: str,
        dataset_fingerprint: str,
        attempts: RetryTracker,
        patience: Watchdog | None = None,
        role: Role = "trial",
        keys: Mapping[int, str] | None = None,
        tags: Mapping[str, str] | None = None,
        ran_out: Callable[[str], bool] = lambda trial_id: False,
    ) -> None:
        """Start with no trials.

        Args:
            tracker: writes the record.
            progress: what the view shows.
            view: told of changes.
            say: prints a line, of a trial that failed.
            dataset: the data set's name.
            dataset_fingerprint: its fingerprint.
            attempts: knows which trials are tried again, and their checkpoints.
            patience: tells which workers hang; the default, if None.
            role: what the trials are to the sweep.
            keys: of trials that are known by a name rather than by their number.
            tags: further tags of their runs.
            ran_out: whether the time budget has ended a trial, by Ray's id of it.
        """
        self._tracker = tracker
        self._progress = progress
        self._view = view
        self._say = say
        self._dataset = dataset
        self._fingerprint = dataset_fingerprint
        self._attempts = attempts
        self._patience = patience or Watchdog()
        self._role: Role = role
        self._keys = dict(keys or {})
        self._tags = dict(tags or {})
        self._ran_out = ran_out
        self._first = FailFastMonitor()
        self.failure: Exception | None = None
        self._hung: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Keep clients, threads and terminals out of Ray's snapshot, which nobody reads."""
        return {}

    def finish(self, ended: Sequence[EndedTrial]) -> None:
        """Complete the record of trials that ended, but whose record was cut off.

        Args:
            ended: as the study knows them; those whose record is whole are passed over.
        """
        for trial in ended:
            if self._tracker.has_ended(trial.number):
                continue
            state = self._begin(trial.config)
            state.checkpoint = self._attempts.newest(trial.number)
            if state.checkpoint is not None:
                with (self._attempts.storage / state.checkpoint).on_disk() as folder:
                    notes = read_notes(folder)
                for result in notes["results"]:
                    self._take(state, {**result, "facts": notes["facts"]})
            error = None
            if trial.outcome == "failed":
                error = "the sweep was cut off as it failed; its other failures are beside this"
            self._end(state, trial.outcome, error)

    @_kept
    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Start the trial's run."""
        self._begin(trial.config)
        self._attempts.watch(int(trial.config["trial"]), functools.partial(_error_of, trial))
        self._patience.start(trial)
        self._view.update()

    @_kept
    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an evaluation, and those before it that have not been reported."""
        self._patience.report(trial)
        state = self._state(trial)
        if FAILURE in result:
            state.error = result[FAILURE]
            return
        for evaluation in evaluations(result):
            self._take(state, {**evaluation, "facts": result["facts"]})
        self._view.update()

    @_kept
    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        checkpoint: tune.Checkpoint,
        **info: Any,
    ) -> None:
        """Remember where the best model lies."""
        self._patience.start(trial)
        self._state(trial).checkpoint = "/".join(Path(checkpoint.path).parts[-2:])

    @_kept
    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Record a trial that ran to its end, was stopped, ran out of time, or can't be trained."""
        self._patience.end(trial)
        state = self._begin(trial.config)
        if state.error is not None:
            self._fail(state, state.error)
        else:
            self._end(state, self._outcome(state, trial.trial_id))
            self._first.end()
        self._view.update()

    @_kept
    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Record a trial that failed, with its traceback and what it had reached."""
        self._patience.end(trial)
        if self.failure is not None:
            return  # the recorder's own, which Ray takes for the trial's
        state = self._begin(trial.config)
        error = self._hung.pop(trial.trial_id, _error_of(trial))
        number = int(trial.config["trial"])
        if self._attempts.awaits(number):
            on = "it goes on from its last checkpoint"
            if is_lost_node(error):
                self._say(f"trial {state.key} lost its node; {on}, on another")
            elif self._attempts.crowded is None:
                count = self._attempts.failures(number)
                self._tracker.note_failure(state.key, count, error)
                self._say(
                    f"trial {state.key} failed: {_last_line(error)}; {on}, retry {count} of "
                    f"{self._attempts.retries}"
                )
        else:
            self._fail(state, error)
        self._view.update()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """End workers that hang, and the sweep if recording has failed or there is no hope.

        Raises:
            InsufficientMemoryError: the memory does not suffice for so many trials at once.
            RecordError: something can't be recorded.
            SweepError: most of the first trials have failed in the same way.
        """
        if self.failure is None and self._attempts.crowded is not None:
            self.failure = InsufficientMemoryError(_last_line(self._attempts.crowded))
        if self.failure is not None:
            raise self.failure
        for trial in self._patience.exhausted():
            assert isinstance(trial, Trial)
            self._patience.end(trial)
            self._hung[trial.trial_id] = (
                f"the worker reported nothing for {duration(self._patience.limit)} and was ended"
            )
            actor = trial.temporary_state.ray_actor
            assert actor is not None, "a trial that was started has a worker"
            ray.kill(actor)
        self._view.update()

    def _begin(self, config: dict[str, Any]) -> TrialState:
        """Start the trial's run, unless that has happened; Ray skips it where a start fails."""
        key = self._key(config)
        state = self._progress.trials.get(key)
        if state is None or state.outcome is not None:
            settings = hyperparameters(config)
            checked = Config.from_flat(settings)
            name = str(key) if self._role == "baseline" else describe(checked)
            if self._role == "confirmation":
                name = f"confirmation {name} seed {checked.training.seed}"
            state = TrialState(key, name, settings, checked.training.epochs)
            self._progress.trials[key] = state
            parameters = run_parameters(checked, self._dataset, self._fingerprint)
            self._tracker.start_trial(key, parameters, name, role=self._role, tags=self._tags)
        return state

    def _take(self, state: TrialState, result: dict[str, Any]) -> None:
        """Record an evaluation; one that the record has already is passed over there."""
        metrics = {name: result[name] for name in RECORDED} | result.get("system", {})
        state.epoch, state.seconds = result["epoch"], result["seconds/total"]
        state.value = result[self._progress.objective]
        state.best = dict(result["best"])
        state.finished = result[FINISHED]
        state.precision = result[PRECISION]
        state.evaluated = int(result["ended"] * 1000)
        state.facts = {**result["facts"], "seconds/cpu": result["seconds/cpu"]}
        self._tracker.trial_metrics(state.key, result[EXAMPLES], metrics, state.evaluated)

    def _fail(self, state: TrialState, error: str) -> None:
        """Record that a trial has failed for good."""
        self._end(state, "failed", error)
        self._say(f"trial {state.key} failed: {_last_line(error)}")
        self._first.end(_last_line(error))

    def _end(self, state: TrialState, outcome: Outcome, error: str | None = None) -> None:
        """Record a trial's end as of its last evaluation, so that it can be recorded once more."""
        state.outcome = outcome
        step = int(state.best.get(EXAMPLES, 0))
        at = state.evaluated
        if state.checkpoint is not None:
            with (self._attempts.storage / state.checkpoint / MODEL_FOLDER).on_disk() as folder:
                self._tracker.log_trial_model(state.key, folder, _best(state), step, at)
        self._tracker.end_trial(
            state.key,
            outcome,
            metrics=_once(state),
            step=step,
            error=error,
            at=at,
            precision=state.precision,
        )
        if isinstance(state.key, int):
            # The journal has the model now; what goes on needs no more.
            self._attempts.forget(state.key)

    def _outcome(self, state: TrialState, trial_id: str) -> Outcome:
        if state.finished:
            return "completed"
        return "out_of_time" if self._ran_out(trial_id) else "stopped_early"

    def _key(self, config: dict[str, Any]) -> int | str:
        number = int(config["trial"])
        return self._keys.get(number, number)

    def _state(self, trial: Trial) -> TrialState:
        return self._progress.trials[self._key(trial.config)]


def _error_of(trial: Trial) -> str:
    """Return what a trial has failed with."""
    text = Path(trial.error_file).read_text() if trial.error_file else "the worker died"
    return _COLOURS.sub("", text)


def _last_line(error: str) -> str:
    """Return what a traceback ends with, in a line: the kind of error and its message."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return textwrap.shorten(lines[-1], _LONGEST_LINE) if lines else "no reason is known"


def _best(state: TrialState) -> dict[str, float]:
    """Return what the best checkpoint reached, under the record's names."""
    return {f"best/{name}": value for name, value in state.best.items()}


def _once(state: TrialState) -> dict[str, float]:
    """Return what is recorded once of a trial; nothing of one that was never evaluated."""
    if not state.best:
        return {}
    return {**_best(state), **state.facts, "seconds/total": state.seconds}


def without_texts(prepared: PreparedData) -> PreparedData:
    """Return the prepared data without the raw texts, which no worker reads."""
    return replace(prepared, dataset=replace(prepared.dataset, splits={}))
