"""Training of what a search suggests: on the screen, in the record, and after memory ran out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from sentiment.config import Config
from sentiment.training.prepared_data import PreparedData
from sweeps.console.live_view import make_view
from sweeps.console.progress import Progress
from sweeps.errors import InsufficientMemoryError
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.ray_cluster import room_in_cluster
from sweeps.execution.tuner import run_trials, without_texts
from sweeps.pipeline.context import SweepContext
from sweeps.search.list_searcher import ListSearcher
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.schedulers import make_scheduler
from sweeps.tracking.pretraining import run_keys
from sweeps.tracking.roles import Role
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker
from sweeps.trials.watchdog import Watchdog

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher
    from ray.tune.stopper import Stopper


class TrialPlan(NamedTuple):
    """What suggests trials, and what ends them early."""

    search: Searcher
    scheduler: TrialScheduler
    stopper: Stopper | None = None


class Executor:
    """Runs trials for the stages of one sweep.

    Attributes:
        workers: the processes that train; fewer, once the memory has not sufficed.
    """

    def __init__(
        self,
        context: SweepContext,
        tracker: SweepTracker,
        prepared: PreparedData,
        checkpoints: Storage,
    ) -> None:
        """Start with as many workers as were planned.

        Args:
            context: the sweep.
            tracker: writes its record.
            prepared: data and word vectors.
            checkpoints: folder of Ray's own files, with a folder for every stage.
        """
        self.workers = context.workers
        self._context = context
        self._tracker = tracker
        self._prepared = without_texts(prepared)
        self._checkpoints = checkpoints

    def run_configs(
        self,
        configs: Mapping[str, Config],
        folder: str,
        role: Role,
        objective: str,
        tags: Mapping[str, str] | None = None,
        ended: Collection[str] = (),
    ) -> Progress:
        """Train given configurations, each to its end.

        Args:
            configs: by the key of the run, always in the same order: a run that is resumed finds
                its checkpoint by its place.
            folder: of the stage's checkpoints, within those of the sweep.
            role: what the runs are to the sweep.
            objective: metric that the progress shows.
            tags: further tags of the runs.
            ended: keys of runs that have ended before.

        Returns:
            The progress: how each run ended, by its key.
        """
        keys = {number: key for number, key in enumerate(configs) if key not in ended}
        progress = Progress(len(keys), self.workers.count, objective)

        def plan(attempts: RetryTracker) -> TrialPlan:
            over = {key for key, trial in progress.trials.items() if trial.outcome is not None}
            left = {number: configs[key] for number, key in keys.items() if key not in over}
            scheduler = make_scheduler(
                "fifo", self._context.rungs, self._context.settings.objective
            )
            return TrialPlan(ListSearcher(left, attempts), scheduler)

        self.run(plan, progress, folder, role=role, keys=keys, tags=tags)
        return progress

    def run(
        self,
        plan: Callable[[RetryTracker], TrialPlan],
        progress: Progress,
        folder: str,
        role: Role = "trial",
        keys: Mapping[int, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Run what a search suggests, on the screen and in the record.

        Where the memory does not suffice, fewer trials run at once from then on: the running ones
        are interrupted, and a new plan resumes them.

        Args:
            plan: gives search, scheduler and stopper, for trials that may be tried again.
            progress: of these trials.
            folder: of the stage's checkpoints, within those of the sweep.
            role: what the trials are to the sweep.
            keys: names of trials that are not known by their number.
            tags: further tags of their runs.

        Raises:
            InsufficientMemoryError: the memory does not suffice for a single trial.
        """
        attempts = RetryTracker(self._checkpoints / folder, self._context.settings.retries)
        while True:
            reduced = self.workers.reduce_concurrency(self._context.nodes)
            attempts.allow_concurrency_reduction(reduced is not None)
            try:
                self._run_once(plan(attempts), progress, attempts, role, keys, tags)
                return
            except InsufficientMemoryError as error:
                if reduced is None:
                    raise
                self.workers = reduced
                self._context.notify(
                    f"the memory does not suffice ({error}): from now on {reduced}; the trials "
                    "resume from their checkpoints"
                )

    def _run_once(
        self,
        plan: TrialPlan,
        progress: Progress,
        attempts: RetryTracker,
        role: Role,
        keys: Mapping[int, str] | None,
        tags: Mapping[str, str] | None,
    ) -> None:
        """Run a plan until it has ended, or the memory does not suffice."""
        context, search = self._context, plan.search
        optuna = search if isinstance(search, OptunaSearcher) else None
        view = make_view(progress, context.console, context.quiet)
        recorder = TrackingCallback(
            self._tracker,
            progress,
            view,
            notify=context.notify,
            dataset=context.dataset.name,
            dataset_fingerprint=context.dataset.fingerprint,
            attempts=attempts,
            watchdog=Watchdog(context.settings.trial_timeout),
            role=role,
            keys=keys,
            tags=tags,
            pretrained=run_keys(self._prepared.pretrained),
            ran_out=optuna.ran_out if optuna else lambda _: False,
            has_ended_turn=optuna.has_ended_turn if optuna else lambda _: False,
        )
        ended = optuna.ended() if optuna else []
        if ended:
            recorder.finish(ended)
            self._tracker.complete_counts()
        try:
            run_trials(
                search,
                plan.scheduler,
                prepared=self._prepared,
                workers=self.workers,
                callback=recorder,
                storage=attempts.storage,
                room=room_in_cluster(self.workers) if context.joins_cluster else None,
                stopper=plan.stopper,
                system_metrics=context.settings.system_metrics,
                timed_texts=context.timed_texts,
            )
            if optuna:
                # Trials that waited for another start when the time was up.
                optuna.close()
                recorder.finish(optuna.ended())
        finally:
            view.close()
