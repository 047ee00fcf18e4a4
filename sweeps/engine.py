"""Ray Tune at work: workers, scheduler, and the callback that joins Ray to the record."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

# Ray reads these when it is imported or started. Its own result files, its copies of the
# experiment's state and its figures of use are not wanted: the record is MLflow's.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from sentiment.config import Config, Objective
from sentiment.preparation import Prepared
from sentiment.record import run_parameters
from sentiment.train import describe
from sweeps.display import View
from sweeps.plan import REDUCTION, Rungs, Workers
from sweeps.progress import Progress, TrialState
from sweeps.search import StudySearch, mode_of
from sweeps.tracking import Role, SweepTracker
from sweeps.trial import EXAMPLES, FINISHED, MODEL_FOLDER, TrialWorker, hyperparameters

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


@contextlib.contextmanager
def local_ray(workers: Workers, gpus: int) -> Iterator[None]:
    """Start Ray on this machine with room for just these workers, and stop it at the end."""
    # A trial's failure is told and recorded by us; Ray would print its traceback three times.
    for name in ("ray", "ray.tune", "ray.air", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ray.init(
        # Not a cluster that happens to run here.
        address="local",
        num_cpus=workers.count * workers.cpus,
        num_gpus=gpus if workers.gpus else 0,
        include_dashboard=False,
        configure_logging=True,
        logging_level=logging.CRITICAL,
        log_to_driver=False,
    )
    # Ray ends the process at SIGTERM with a status of its own; to us it is Control-C.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        ray.shutdown()


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def make_scheduler(name: str, rungs: Rungs, objective: Objective) -> TrialScheduler:
    """Make the scheduler: `asha` stops the weaker half at each rung, `fifo` stops none.

    ASHA is asynchronous successive halving (Li et al., 2020, arXiv:1810.05934); its resource is
    training examples, so that batch sizes and fractions of an epoch compare.
    """
    if name == "fifo":
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr=EXAMPLES,
        metric=objective,
        mode=mode_of(objective),
        grace_period=rungs.first,
        max_t=rungs.budget,
        reduction_factor=REDUCTION,
    )


def recall(scheduler: TrialScheduler, values: Iterable[Mapping[int, float]]) -> None:
    """Let ASHA know the trials that ended before an interruption.

    Args:
        scheduler: from `make_scheduler`, with no trial yet; `fifo` compares none.
        values: of each trial, the objective by training examples seen.
    """
    if not isinstance(scheduler, AsyncHyperBandScheduler):
        return
    (bracket,) = scheduler._brackets
    sign = 1 if scheduler._mode == "max" else -1
    for number, trial in enumerate(values):
        for milestone, recorded in bracket._rungs:
            reached = [step for step in trial if step >= milestone]
            if reached:
                recorded[f"before-{number}"] = sign * trial[min(reached)]


def run_trials(
    search: Searcher,
    scheduler: TrialScheduler,
    *,
    prepared: Prepared,
    workers: Workers,
    recorder: Recorder,
    storage: Path,
    stopper: Stopper | None = None,
    system_metrics: bool = False,
) -> None:
    """Run what the search suggests until it has no more.

    Args:
        search: gives the trials and hears how they end.
        scheduler: decides which go on.
        prepared: data and word vectors; each node keeps one copy of them.
        workers: how many at once, and what each gets.
        recorder: hears of every event.
        storage: folder of Ray's own files, best checkpoints of running trials among them.
        stopper: ends trials at an evaluation.
        system_metrics: whether workers measure how busy they and their machines are.
    """
    trainable = tune.with_resources(
        tune.with_parameters(
            TrialWorker,
            prepared=prepared,
            threads=workers.cpus,
            system_metrics=system_metrics,
        ),
        {"cpu": workers.cpus, "gpu": workers.gpus},
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=-1,
            # One more than there is room for waits its turn, so that a worker is kept for it.
            # None does before a deadline, since it would start after it.
            max_concurrent_trials=workers.count + (stopper is None),
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=storage.name,
            storage_path=str(storage.parent),
            callbacks=[recorder],
            stop=stopper,
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
        ),
    )
    tuner.fit()


def _trial_name(trial: Trial) -> str:
    return f"{int(trial.config['trial']):05d}-{trial.trial_id}"


class TimeBudget(Stopper):
    """Ends each trial at its first evaluation after the deadline, and lets no new one start."""

    def __init__(self, deadline: float, search: StudySearch) -> None:
        """Set the deadline, by `time.monotonic()`."""
        self._deadline = deadline
        self._search = search

    def __getstate__(self) -> dict[str, Any]:
        """Keep the search out of Ray's snapshot, which nobody reads."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Tell whether a trial that has just been evaluated ends."""
        return self._over()

    def stop_all(self) -> bool:
        """Never stop running trials in the middle of an evaluation."""
        self._over()
        return False

    def _over(self) -> bool:
        over = time.monotonic() >= self._deadline
        if over:
            self._search.stop()
        return over


class Recorder(tune.Callback):
    """Carries what happens in Ray to the record and to the view."""

    def __init__(
        self,
        tracker: SweepTracker,
        progress: Progress,
        view: View,
        *,
        say: Callable[[str], None],
        dataset: str,
        dataset_fingerprint: str,
        role: Role = "trial",
        keys: Mapping[int, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Start with no trials.

        Args:
            tracker: writes the record.
            progress: what the view shows.
            view: told of changes.
            say: prints a line, of a trial that failed.
            dataset: the data set's name.
            dataset_fingerprint: its fingerprint.
            role: what the trials are to the sweep.
            keys: of trials that are known by a name rather than by their number.
            tags: further tags of their runs.
        """
        self._tracker = tracker
        self._progress = progress
        self._view = view
        self._say = say
        self._dataset = dataset
        self._fingerprint = dataset_fingerprint
        self._role: Role = role
        self._keys = dict(keys or {})
        self._tags = dict(tags or {})
        self._finished: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Keep clients, threads and terminals out of Ray's snapshot, which nobody reads."""
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Start the trial's run."""
        self._begin(trial)
        self._view.update()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an evaluation."""
        state = self._state(trial)
        metrics = {name: result[name] for name in RECORDED} | result.get("system", {})
        state.epoch, state.seconds = result["epoch"], result["seconds/total"]
        state.value = result[self._progress.objective]
        state.best = dict(result["best"])
        if result[FINISHED]:
            self._finished.add(trial.trial_id)
        state.facts = {**result["facts"], "seconds/cpu": result["seconds/cpu"]}
        self._tracker.trial_metrics(state.key, result[EXAMPLES], metrics)
        self._view.update()

    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        checkpoint: tune.Checkpoint,
        **info: Any,
    ) -> None:
        """Remember where the best checkpoint lies."""
        self._state(trial).model = str(Path(checkpoint.path, MODEL_FOLDER))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Record the end of a trial that ran to its end or was stopped."""
        state = self._begin(trial)
        state.outcome = "completed" if trial.trial_id in self._finished else "stopped_early"
        step = int(state.best.get(EXAMPLES, 0))
        if state.model is not None:
            self._tracker.log_trial_model(state.key, Path(state.model), _best(state), step)
        self._tracker.end_trial(state.key, state.outcome, metrics=_once(state), step=step)
        self._view.update()

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Record a trial that failed, with its traceback and what it had reached."""
        state = self._begin(trial)
        state.outcome = "failed"
        error = Path(trial.error_file).read_text() if trial.error_file else "the worker died"
        step = int(state.best.get(EXAMPLES, 0))
        if state.model is not None:
            self._tracker.log_trial_model(state.key, Path(state.model), _best(state), step)
        self._tracker.end_trial(state.key, "failed", metrics=_once(state), step=step, error=error)
        self._say(f"trial {state.key} failed: {_last_line(error)}")
        self._view.update()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Let the view know that time has passed."""
        self._view.update()

    def _begin(self, trial: Trial) -> TrialState:
        """Start the trial's run, unless that has happened; Ray skips it where a start fails."""
        key = self._key(trial)
        state = self._progress.trials.get(key)
        if state is None or state.outcome is not None:
            settings = hyperparameters(trial.config)
            config = Config.from_flat(settings)
            name = key if self._role == "baseline" else describe(config)
            if self._role == "confirmation":
                name = f"confirmation {name} seed {config.training.seed}"
            state = self._progress.trials[key] = TrialState(key, str(name), settings)
            parameters = run_parameters(config, self._dataset, self._fingerprint)
            self._tracker.start_trial(key, parameters, state.name, role=self._role, tags=self._tags)
        return state

    def _key(self, trial: Trial) -> int | str:
        number = int(trial.config["trial"])
        return self._keys.get(number, number)

    def _state(self, trial: Trial) -> TrialState:
        return self._progress.trials[self._key(trial)]


def _last_line(error: str) -> str:
    """Return what a traceback ends with: the kind of error and its message."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason is known"


def _best(state: TrialState) -> dict[str, float]:
    """Return what the best checkpoint reached, under the record's names."""
    return {f"best/{name}": value for name, value in state.best.items()}


def _once(state: TrialState) -> dict[str, float]:
    """Return what is recorded once of a trial; nothing of one that was never evaluated."""
    if not state.best:
        return {}
    return {**_best(state), **state.facts, "seconds/total": state.seconds}


def remove_storage(storage: Path) -> None:
    """Remove Ray's own files of a sweep that needs them no more."""
    shutil.rmtree(storage, ignore_errors=True)


def without_texts(prepared: Prepared) -> Prepared:
    """Return the prepared data without the raw texts, which no worker reads."""
    return replace(prepared, dataset=replace(prepared.dataset, splits={}))
