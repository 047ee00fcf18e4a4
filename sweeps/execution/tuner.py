"""Ray Tune at work: the trials of a search, trained by workers that share the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import sweeps.execution.ray_env  # noqa: F401 - before Ray

# isort: split
from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from sentiment.training.prepared_data import PreparedData
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.concurrency import DynamicConcurrencyLimiter
from sweeps.execution.resources import Workers
from sweeps.search.schedulers import Staged
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import folder_prefix
from sweeps.trials.trainable import TrialWorker

WORKERS_A_WAITING_TRIAL = 4
"""Workers for each trial that is suggested before there is room for it."""


def run_trials(
    search: Searcher,
    scheduler: TrialScheduler,
    *,
    prepared: PreparedData,
    workers: Workers,
    callback: TrackingCallback,
    storage: Storage,
    room: Callable[[], int] | None = None,
    stopper: Stopper | None = None,
    system_metrics: bool = False,
    worker: type[tune.Trainable] | None = None,
    timed_texts: Sequence[str] = (),
) -> None:
    """Run what the search suggests until it has no more.

    Args:
        search: suggests the trials and is notified how they end.
        scheduler: decides which trials continue.
        prepared: data and word vectors; each node keeps one copy of them.
        workers: how many at once, and what each gets.
        callback: is notified of every event.
        storage: folder of Ray's own files, the trials' checkpoints among them.
        room: returns how many workers fit now; None: always the count of `workers`.
        stopper: ends trials at an evaluation.
        system_metrics: whether workers measure how busy they and their machines are.
        worker: what each process runs, set up as `TrialWorker` is; that one, if None.
        timed_texts: by which workers measure the latency of a trial; none: they don't.

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
            rungs=scheduler.milestones if isinstance(scheduler, Staged) else (),
            **({"timed_texts": tuple(timed_texts)} if timed_texts else {}),
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
            callbacks=[callback],
            stop=stopper,
            verbose=0,
            # It prints nothing then. Ray's default in a notebook clears the cell.
            progress_reporter=tune.CLIReporter(),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    except TuneError:
        if callback.failure is not None:
            raise callback.failure from None
        raise


def without_texts(prepared: PreparedData) -> PreparedData:
    """Return the prepared data without the raw texts, which no worker reads."""
    return replace(prepared, dataset=replace(prepared.dataset, splits={}))


def _trial_name(trial: Trial) -> str:
    return f"{folder_prefix(int(trial.config['trial']))}{trial.trial_id}"
