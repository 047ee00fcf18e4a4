"""One sweep from its settings to its registered winner."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from mlflow import MlflowClient
from optuna import load_study
from optuna.trial import FrozenTrial
from rich.console import Console

from sentiment import cli
from sentiment.config import Config
from sentiment.data.corpus import text_key
from sentiment.data.datasets import Dataset, load_dataset
from sentiment.data.diagnosis import LAUNCH, answer_warnings, tokenization_warning
from sentiment.data.identity import mismatch
from sentiment.data.sources import absolute
from sentiment.data.summary import brief
from sentiment.data.tokenizer import tokenizer
from sentiment.embeddings.sources import VectorSpec
from sentiment.errors import InputError
from sentiment.evaluate import split_log_probabilities
from sentiment.inference.bundle import Bundle
from sentiment.inference.metrics import Scores, score
from sentiment.io.processes import available_cores
from sentiment.nn.devices import configure_threads, pick_precision, precision_name
from sentiment.recipes.recipe import Recipe
from sentiment.tracking.dataset_input import dataset_input
from sentiment.tracking.experiment import experiment_flag
from sentiment.tracking.http import one_try_each, several_tries
from sentiment.tracking.model_uri import CHAMPION, fetch_bundle, version_of_alias
from sentiment.tracking.runs import (
    check_writable,
    find_store,
    open_store,
    parameter_text,
    read_store,
    tracking_uri,
)
from sentiment.training.prepared_data import PreparedData, prepare
from sentiment.wording import counted
from sweeps.analysis.predictions import Predictions, bundle_predictions
from sweeps.analysis.seed_replicates import Confirmation, confirmation_configs, summarize
from sweeps.analysis.sweep_data import read_sweep
from sweeps.config import SweepSettings
from sweeps.console.live_view import make_view
from sweeps.console.progress import Progress, ended_state
from sweeps.console.summary import SweepResult, print_result, resume_command, start_line
from sweeps.errors import InsufficientMemoryError
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.ray_cluster import (
    asks_for_token,
    check_no_other,
    check_storage,
    cluster_nodes,
    local_ray,
    room_in_cluster,
)
from sweeps.execution.ray_directory import choose_directory
from sweeps.execution.resources import (
    Node,
    Workers,
    describe_nodes,
    plan_workers,
)
from sweeps.execution.stoppers import TimeBudget
from sweeps.execution.tuner import run_trials, without_texts
from sweeps.pipeline import baselines, dry_run
from sweeps.pipeline.estimate import Estimate, Estimator, tfidf_seconds
from sweeps.pipeline.resume import ResumedSweep
from sweeps.registry import versions
from sweeps.registry.challenger import RegisteredWinner, register_winner, registered_winner
from sweeps.registry.isolated_scoring import IsolatedPredictions
from sweeps.registry.recorded_predictions import keep_predictions
from sweeps.report import publish, where
from sweeps.reporting import notes
from sweeps.reporting.notes import Subject
from sweeps.search.asha import ResumableASHA, make_scheduler
from sweeps.search.cost_model import TrialCost
from sweeps.search.list_searcher import ListSearcher
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.rdb_storage import open_study_storage
from sweeps.search.rungs import Rungs, plan_rungs
from sweeps.search.samplers import make_sampler
from sweeps.search.study import make_study, note_runs
from sweeps.search.study_location import StudyLocation
from sweeps.search.warm_start import PastTrial, warm_start
from sweeps.signals import interruptible
from sweeps.space.hyperparameters import NOT_RANGES
from sweeps.space.space import SearchSpace
from sweeps.terminal import say
from sweeps.tracking.queries import (
    TrialRecord,
    best_trials,
    find_sweep,
    finished_trials,
    leaderboard,
    sweep_run,
    trials_of,
)
from sweeps.tracking.retention import keep_best_models
from sweeps.tracking.runs_view import keep_trials_view
from sweeps.tracking.tracker import (
    Role,
    SweepTracker,
    check_sweep_name,
    close_orphans,
    new_sweep_name,
)
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker
from sweeps.trials.watchdog import Watchdog
from sweeps.workspace import SETTINGS_FILE, SPACE_FILE, Workspace

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher
    from ray.tune.stopper import Stopper

_log = logging.getLogger(__name__)

STATE_FOLDER = Path(".sweeps")
"""Beside the store: each sweep's study and, while it runs, Ray's own files."""


class Plan(NamedTuple):
    """What runs trials: who suggests them, and who ends them early."""

    search: Searcher
    scheduler: TrialScheduler
    stopper: Stopper | None = None


class Choice(NamedTuple):
    """A sweep's winner.

    Attributes:
        winner: the best trial by validation; None if none was evaluated.
        test: its metrics on the test split.
        registered: its version; None if it was removed from the registry.
    """

    winner: TrialRecord | None
    test: dict[str, float]
    registered: RegisteredWinner | None


class Sweep:
    """A sweep; made, it has checked its settings against the machine, the data and the store."""

    def __init__(
        self,
        settings: SweepSettings,
        console: Console,
        quiet: bool = False,
        resumed: ResumedSweep | None = None,
    ) -> None:
        """Check the settings; nothing is written.

        Args:
            settings: what to do.
            console: where to print.
            quiet: print no live view.
            resumed: the sweep that goes on; None for a new one.

        Where the settings name a cluster, `sweeps.execution.ray_cluster.joined_ray` has joined it.

        Raises:
            InputError: the settings are wrong, or don't fit the machine, the data or the store; or
                this process runs a Ray already.
            SweepError: the disk of Ray's files is full.
        """
        self.settings = settings
        self.started = time.monotonic()
        self._console = console
        self._quiet = quiet
        self._resumed = resumed
        self._warnings: list[str] = []
        self._predictions: Predictions | None = None
        self._storage = None if settings.storage is None else Storage(settings.storage)
        self._studies = StudyLocation(settings.study_storage)
        if settings.address is None:
            check_no_other()
            choose_directory()
            self._nodes = [Node(available_cores(), torch.cuda.device_count())]
        else:
            self._nodes = cluster_nodes()
        if settings.storage is not None or len(self._nodes) > 1:
            storage = self._storage or Storage(STATE_FOLDER)
            check_storage(storage, settings.storage, settings.address is not None)
        self._cores = sum(node.cpus for node in self._nodes)
        self._gpus = sum(node.gpus for node in self._nodes)
        self.workers: Workers = plan_workers(
            self._nodes,
            cpus_per_trial=settings.cpus_per_trial,
            gpus_per_trial=settings.gpus_per_trial,
            concurrency=settings.concurrency,
        )
        on_gpu = self.workers.gpus > 0
        name = settings.space or ("gpu" if on_gpu else "cpu")
        self.space: SearchSpace = (
            resumed.space if resumed else SearchSpace.load(name).fix(settings.overrides)
        )
        make_sampler(settings.sampler, self.space, settings.seed)
        versions.check_model_name(settings.model_name)
        self._check_store()
        if resumed:
            name, why = "of the sweep", "it goes on"
        elif settings.space:
            why = "as asked for"
        else:
            here = counted(self._gpus, "GPU is", "GPUs are")
            why = f"{here} here" if on_gpu else "no GPU is used"
        if settings.address is not None:
            self._say(f"cluster: {describe_nodes(self._nodes)}")
            if not asks_for_token():
                self._say("note: whoever reaches this cluster can run code on it; docs/scaling.md")
            if on_gpu and any(not node.gpus for node in self._nodes):
                self._say("trials run on the GPUs alone; with --gpus-per-trial 0 on all cores")
        self._say(f"space {name} ({why}); {self.workers}, of {counted(self._cores, 'core')}")
        device = torch.device("cuda" if on_gpu else "cpu")
        self.dtype = pick_precision(settings.precision, device)
        self.dataset: Dataset = load_dataset(settings.data, self._say)
        seen = resumed.dataset_fingerprint if resumed else None
        if resumed and seen is not None:
            self._check_same_data(seen, resumed.name)
        texts = self.dataset.splits["train"].texts
        # What takes long on a GPU is the number of steps, hardly the size of a layer.
        self._cost = None if on_gpu else TrialCost(texts)
        self.rungs: Rungs = plan_rungs(settings.max_epochs, len(texts))
        self._check_configs()

    def print_plan(self) -> None:
        """Print what a run would do."""
        plan = dry_run.Plan(
            self.settings,
            self.dataset,
            self.space,
            self.rungs,
            self.dtype,
            self._past_trials(),
            self._cost,
            self._trials_before(),
            self._resumed is not None and self._resumed.search_over,
        )
        width = self._console.width if self._console.is_terminal else dry_run.LOG_WIDTH
        for line in dry_run.plan_lines(plan, width):
            self._say(line)
        seeds = self.settings.final_seeds
        if seeds:
            self._say(f"then the winner's settings again with {counted(seeds, 'seed')}")
        left = self._baselines_left()
        if left:
            self._say(f"baselines: {', '.join(left)}")
        if self._cost is None:
            self._say("time: not estimated for GPUs")
            return
        estimator = Estimator(self._cost, self.rungs, self.workers, self.dtype)
        search = estimator.trials(self.space, plan.left, self.settings.scheduler == "asha")
        recipes = [recipe.config.flat() for recipe in self._recipes if recipe.name in left]
        beside = estimator.baselines(recipes, self.dataset)
        if baselines.TFIDF in left:
            beside += tfidf_seconds(self.dataset)
        estimate = Estimate(
            min(search, self.settings.time_budget or search),
            estimator.confirmation(self.space, seeds),
            beside,
        )
        self._say(dry_run.estimate_line(estimate))

    def _trials_before(self) -> list[FrozenTrial] | None:
        """Return the trials in the study of the sweep that is resumed; None of a new one."""
        if self._resumed is None:
            return None
        folder = Workspace(STATE_FOLDER / self._resumed.name)
        if not self._studies.holds(folder):
            return []
        storage = open_study_storage(self._studies.url(folder))
        try:
            study = load_study(study_name=self._resumed.name, storage=storage)
        except KeyError:
            return []  # a kill came between the database and the study
        return study.get_trials(deepcopy=False)

    def _baselines_left(self) -> list[str]:
        """Return the names of the baselines that have not ended."""
        if not self.settings.baselines:
            return []
        ended = self._resumed.ended_baselines if self._resumed else frozenset()
        names = [*(recipe.name for recipe in self._recipes), baselines.TFIDF]
        return [name for name in names if name not in ended]

    def run(self) -> SweepResult:
        """Run the sweep.

        Raises:
            InputError: the store, the name or the data turn out wrong.
            RecordError: what happened can't be written to the store, or not now.
            KeyboardInterrupt: after what ran has been recorded as interrupted.
        """
        with interruptible(), one_try_each():
            return self._run_recorded()

    def _run_recorded(self) -> SweepResult:
        settings, resumed = self.settings, self._resumed
        past = self._past_trials()
        self._say(brief(self.dataset))
        prepared = prepare(self.dataset, self._configs(), progress=self._say)
        self._warn_of_tokens(prepared)
        client, experiment_id = open_store(self._uri, settings.experiment)
        if resumed:
            folder = Workspace(STATE_FOLDER / resumed.name)
            folder.take()
            folder.write(settings.to_json(), self.space.to_yaml())
        else:
            folder = self._claim(client, experiment_id)
        try:
            with self._studies.taken(folder.path.name):
                return self._run_in(folder, client, experiment_id, prepared, past)
        finally:
            folder.release()

    def _run_in(
        self,
        folder: Workspace,
        client: MlflowClient,
        experiment_id: str,
        prepared: PreparedData,
        past: Sequence[PastTrial],
    ) -> SweepResult:
        settings, name = self.settings, folder.path.name
        tracker = self._start_record(client, experiment_id, folder)
        closed = close_orphans(client)
        if closed:
            runs = counted(len(closed), "run")
            self._say(f"closed {runs} that an ended process had left running")
        try:
            self._say(start_line(name, settings, self._resumed, tracker.run_id))
            subject = self._subject(tracker)
            tracker.describe(notes.running_sweep(subject))
            searched = list(self.space.dimensions)
            tracker.ask(
                lambda: keep_trials_view(client, experiment_id, name, settings.objective, searched)
            )
            with self._ray():
                self._search(tracker, prepared, past, folder)
                chosen = self._choose(tracker, subject)
                winner, test = chosen.winner, chosen.test
                version = chosen.registered.version if chosen.registered else None
                confirmed = None
                if settings.final_seeds and winner is not None:
                    confirmed = self._confirm(tracker, prepared, folder, winner)
                    ran = len(best_trials(self._trials(tracker), settings.objective))
                    text = notes.winners_version(
                        subject, winner, ran, test, confirmed, self._warnings
                    )
                    if version is not None:
                        tracker.ask(
                            lambda: client.update_model_version(
                                settings.model_name, str(version), text
                            )
                        )
                if settings.baselines:
                    self._run_baselines(tracker, prepared, folder)
            tracker.flush()
            removed = tracker.ask(
                lambda: keep_best_models(
                    client, client.get_run(tracker.run_id), settings.keep_models, settings.objective
                )
            )
            trials = self._trials(tracker)
            tracker.log_table(leaderboard(trials, settings.objective))
            champion = tracker.ask(lambda: version_of_alias(client, settings.model_name, CHAMPION))
            tracker.describe(
                notes.ended_sweep(subject, trials, winner, test, version, confirmed, self._warnings)
            )
            tracker.end("finished")
        except BaseException:
            # Also at Control-C: the record must not stay open.
            try:
                tracker.end("interrupted")
            finally:
                command = resume_command(name, settings)
                self._say(f"sweep {name} was cut off; go on with it: {command}")
            raise
        self._checkpoints(folder).remove()
        result = SweepResult(
            name=name,
            run_id=tracker.run_id,
            trials=trials,
            winner=winner,
            test=test,
            registered=chosen.registered,
            champion=int(champion.version) if champion else None,
            seconds=time.monotonic() - self.started,
            asked=settings.trials,
            time_budget=settings.time_budget,
            confirmation=confirmed,
            removed=removed,
            warnings=tuple(self._warnings),
        )
        examples = len(self.dataset.splits["train"].texts)
        self._report(client, tracker.run_id)
        print_result(self._console, result, settings, self._uri, experiment_id, examples)
        return result

    def _report(self, client: MlflowClient, run_id: str) -> None:
        """Make the report of a sweep that has ended; a failure is told, and costs the report."""
        try:
            with several_tries():
                run = client.get_run(run_id)
                record = read_sweep(client, run)
                publish(client, record, self.settings.tracking_uri, self.dataset, self._predictions)
        except Exception as error:  # noqa: BLE001 - the sweep is recorded, whatever a picture does
            _log.warning("the report could not be made", exc_info=error)
            flags = cli.store_flag(self.settings.tracking_uri)
            flags += experiment_flag(self.settings.experiment)
            self._say(f"the sweep is recorded; to make its report: python -m sweeps.report{flags}")
            return
        self._say(f"report: {where(client, run)}")

    def _ray(self) -> AbstractContextManager[None]:
        joined = self.settings.address is not None
        return nullcontext() if joined else local_ray(self.workers, self._gpus)

    def _checkpoints(self, folder: Workspace) -> Storage:
        """Return where Ray's own files of the sweep lie, the trials' checkpoints among them."""
        return self._storage / folder.path.name if self._storage else Storage(folder.ray)

    @cached_property
    def _uri(self) -> str:
        return tracking_uri(self.settings.tracking_uri)

    def _say(self, text: str) -> None:
        say(self._console, text)

    def _check_store(self) -> None:
        """Raise an InputError where the store, if it is there, can't take this sweep."""
        name = self.settings.name
        if name is not None:
            check_sweep_name(name)
        check_writable(self._uri)
        client = find_store(self._uri)
        if self._resumed or name is None:
            return
        folder = Workspace(STATE_FOLDER / name)
        taken = folder.path.exists() or self._studies.holds(folder)
        if client is not None:
            experiment = client.get_experiment_by_name(self.settings.experiment)
            ids = [experiment.experiment_id] if experiment else []
            taken = taken or (bool(ids) and sweep_run(client, ids, name) is not None)
        if taken:
            raise self._taken(name)

    def _check_configs(self) -> None:
        """Raise an InputError where the space needs what isn't there, or can't fit the data."""
        configs = self._configs()
        for config in configs:
            VectorSpec.of(config.model)
        for text in {config.text for config in configs}:
            tokenizer(text)
        losses = self.space.combinations(["loss"])
        if len(self.dataset.label_names) > 2 and {"loss": "bce"} in losses:
            raise InputError(
                f"loss=bce is for two classes, {self.dataset.name} has "
                f"{len(self.dataset.label_names)}: leave loss at auto"
            )

    def _check_same_data(self, seen: str, sweep: str) -> None:
        """Raise an InputError where a sweep saw data of another fingerprint."""
        different = mismatch(self.dataset, seen, f"the sweep {sweep}")
        if different is not None:
            raise InputError(f"{different}; bring the same back, or start a new sweep without it")

    def _configs(self) -> list[Config]:
        """Return a configuration for each corpus and each word vectors that trials may need."""
        configs = [Config.from_flat(each) for each in self.space.combinations(NOT_RANGES)]
        if self.settings.baselines:
            configs += [recipe.config for recipe in self._recipes]
        return configs

    @cached_property
    def _recipes(self) -> list[Recipe]:
        shared = {
            "precision": self.settings.precision,
            "seed": self.settings.seed,
            "language": self.settings.overrides.get("language", "en"),
        }
        return [
            replace(recipe, settings={**recipe.settings, **shared})
            for recipe in baselines.recipes_for(self.dataset)
        ]

    def _past_trials(self) -> list[PastTrial]:
        """Return the trials of the sweep to start from.

        Raises:
            InputError: there is no such sweep, or it saw other data or another objective.
        """
        if self.settings.warm_start is None:
            return []
        client = read_store(self._uri)
        experiment = client.get_experiment_by_name(self.settings.experiment)
        ids = [experiment.experiment_id] if experiment else []
        try:
            sweep = find_sweep(client, ids, self.settings.warm_start)
            seen = sweep.data.params.get("dataset_fingerprint")
            if seen is not None:
                self._check_same_data(seen, sweep.data.tags["sweep.name"])
            return finished_trials(client, sweep, self.dataset.fingerprint, self.settings.objective)
        except InputError as error:
            raise InputError(f"--warm-start {self.settings.warm_start}: {error}") from None

    def _claim(self, client: MlflowClient, experiment_id: str) -> Workspace:
        """Make the sweep's folder, under the name that was asked for or a new one."""
        settings, space = self.settings, self.space.to_yaml()
        name = settings.name or new_sweep_name(client, experiment_id, self.dataset.name)
        stem, count = name, 1
        while True:
            try:
                path = STATE_FOLDER / name
                if self._studies.is_shared and self._studies.holds(Workspace(path)):
                    raise FileExistsError(path)
                return Workspace.claim(path, settings.to_json(), space)
            except FileExistsError:
                if settings.name is not None:
                    raise self._taken(name) from None
            # Another sweep was started in the same second.
            count += 1
            name = f"{stem}-{count}"

    def _taken(self, name: str) -> InputError:
        return InputError(
            f"--name {name}: there is a sweep of that name; go on with it by --resume {name}, "
            f"or name another (or remove {STATE_FOLDER / name} if its record is gone)"
        )

    def _warn_of_tokens(self, prepared: PreparedData) -> None:
        """Say at once where the tokenizer did not split the texts, and again at the end."""
        for text in {config.text for config in self._configs()}:
            warning = tokenization_warning(prepared.corpora[text_key(text)], text, LAUNCH)
            if warning is not None and warning not in self._warnings:
                self._warnings.append(warning)
                self._say(f"warning: {warning}")

    def _warn_of_answers(self, tracker: SweepTracker, winner: TrialRecord, model_id: str) -> None:
        """Look at what the winner says of the validation split, for a warning and the report."""
        client = tracker.client
        bundle = Bundle.load(tracker.ask(lambda: fetch_bundle(client, model_id)))
        predicted = bundle_predictions(bundle, self.dataset, "valid")
        self._predictions = predicted
        self._warnings += answer_warnings(
            predicted.scores().confusion,
            predicted.label_names,
            model="the winner",
            objective=self.settings.objective,
            class_weights=str(winner.parameters.get("class_weights")),
            options=LAUNCH,
            unsplit=bool(self._warnings),
        )

    def _start_record(
        self, client: MlflowClient, experiment_id: str, folder: Workspace
    ) -> SweepTracker:
        """Start the record of a sweep, or go on with it."""
        settings, resumed = self.settings, self._resumed
        parameters = {
            "dataset": self.dataset.name,
            "dataset_fingerprint": self.dataset.fingerprint,
            "trials": str(settings.trials),
            "max_epochs": f"{settings.max_epochs:g}",
            "sampler": settings.sampler,
            "scheduler": settings.scheduler,
            "time_budget": parameter_text(settings.time_budget),
            "seed": str(settings.seed),
            "workers": str(self.workers),
            "cores": str(self._cores),
        }
        if resumed and resumed.run_id is not None:
            tracker = SweepTracker.resume(
                client,
                client.get_run(resumed.run_id),
                parameters={**parameters, "objective": settings.objective},
                folder=folder.path,
                say=self._say,
            )
            tracker.log_text(self.space.to_yaml(), SPACE_FILE)
        else:
            tracker = SweepTracker.start(
                client,
                experiment_id,
                folder.path.name,
                objective=settings.objective,
                parameters=parameters,
                precision=precision_name(self.dtype),
                space_yaml=self.space.to_yaml(),
                inputs=[dataset_input(self.dataset, settings.data)],
                folder=folder.path,
                say=self._say,
            )
        tracker.log_text(settings.to_json(), SETTINGS_FILE)
        return tracker

    def _subject(self, tracker: SweepTracker) -> Subject:
        tags = tracker.ask(lambda: tracker.client.get_run(tracker.run_id)).data.tags
        return Subject(
            name=tracker.name,
            run_id=tracker.run_id,
            experiment_id=tracker.experiment_id,
            settings=self.settings,
            dataset=self.dataset,
            space=self.space,
            rungs=self.rungs,
            command=tags["provenance.command"],
            commit=tags.get("provenance.git_commit"),
            threads=self.workers.cpus,
        )

    def _search(
        self,
        tracker: SweepTracker,
        prepared: PreparedData,
        past: Sequence[PastTrial],
        folder: Workspace,
    ) -> None:
        settings = self.settings
        study = make_study(
            self._studies.url(folder),
            tracker.name,
            settings.objective,
            self.space,
            settings.sampler,
            settings.seed,
            self._cost,
        )
        if past:
            told = warm_start(study, past, self.space)
            used = counted(told.used, "trial")
            self._say(f"warm start: {used} told, {told.skipped} outside the space")
        base = {
            "epochs": settings.max_epochs,
            **self.rungs.evaluations,
            "objective": settings.objective,
            "precision": settings.precision,
        }
        deadline = None
        if settings.time_budget is not None:
            deadline = time.monotonic() + settings.time_budget
        searched = self.space.dimensions
        ended = self._resumed.ended if self._resumed else ()
        over = self._resumed is not None and self._resumed.search_over
        trials = len(ended) if over else settings.trials
        progress = Progress(trials, self.workers.count, settings.objective, deadline, searched)
        for trial in ended:
            progress.trials[trial.key] = ended_state(trial)

        def plan(attempts: RetryTracker) -> Plan:
            search = OptunaSearcher(
                study,
                self.space,
                metric=settings.objective,
                max_trials=trials,
                budget=self.rungs.budget,
                seed=settings.seed,
                base=base,
                attempts=attempts,
                run_of=tracker.known_run,
            )
            scheduler = make_scheduler(
                settings.scheduler, self.rungs, settings.objective, search.known_values
            )
            if isinstance(scheduler, ResumableASHA):
                ended = search.ended()
                scheduler.restore_trials(
                    trial.values for trial in ended if trial.outcome != "failed"
                )
            stopper = None if deadline is None else TimeBudget(deadline, search)
            return Plan(search, scheduler, stopper)

        storage = self._checkpoints(folder) / "trial"
        self._run(tracker, prepared, progress, plan, storage)
        tracker.flush()
        note_runs(study, tracker.known_run)

    def _confirm(
        self,
        tracker: SweepTracker,
        prepared: PreparedData,
        folder: Workspace,
        winner: TrialRecord,
    ) -> Confirmation:
        """Train the winner's settings with other seeds, score those on the test split."""
        configs = confirmation_configs(winner, self.settings.final_seeds)
        ended = self._resumed.ended_confirmations if self._resumed else frozenset()
        # Numbered by their place among all: one that goes on finds its checkpoint by the number.
        keys = {number: key for number, key in enumerate(configs) if key not in ended}
        self._say(f"confirmation: {winner.name} with {counted(len(configs), 'other seed')}")
        progress = Progress(len(keys), self.workers.count, self.settings.objective)
        self._run(
            tracker,
            prepared,
            progress,
            self._fixed({n: configs[key] for n, key in keys.items()}, keys, progress),
            self._checkpoints(folder) / "confirmation",
            role="confirmation",
            keys=keys,
            tags={"sweep.trial": str(winner.key)},
        )
        tracker.flush()
        for run in self._trials(tracker):
            # One that was cut off between its training and this has no score yet.
            if run.key in configs and run.outcome == "completed" and "test/loss" not in run.metrics:
                assert run.model_id is not None, "a run that was evaluated has a model"
                test = self._score_bundle(tracker, run.model_id).metrics("test")
                tracker.add_metrics(run.key, test, int(run.metrics["best/examples"]))
        tracker.flush()
        confirmed = summarize(self._trials(tracker), list(configs))
        tracker.sweep_metrics(confirmed.metrics())
        return confirmed

    def _run_baselines(
        self, tracker: SweepTracker, prepared: PreparedData, folder: Workspace
    ) -> None:
        """Train the recipes beside the search, score them and TF-IDF on the test split."""
        ended = self._resumed.ended_baselines if self._resumed else frozenset()
        waiting = {n: each for n, each in enumerate(self._recipes) if each.name not in ended}
        keys = {number: recipe.name for number, recipe in waiting.items()}
        self._say(f"baselines: {', '.join([*keys.values(), baselines.TFIDF])}")
        progress = Progress(len(keys), self.workers.count, "valid/loss")
        plan = self._fixed({n: each.config for n, each in waiting.items()}, keys, progress)
        storage = self._checkpoints(folder) / "baseline"
        self._run(tracker, prepared, progress, plan, storage, role="baseline", keys=keys)
        for trial in progress.trials.values():
            if trial.outcome == "completed":
                model_id = tracker.model_of(trial.key)
                assert model_id is not None, "a run that was evaluated has a model"
                scores = self._score_bundle(tracker, model_id)
                tracker.add_metrics(trial.key, scores.metrics("test"))
                valid = trial.best["valid/accuracy"]
                self._say(f"  {trial.name:<28} valid {valid:.4f}  test {scores.accuracy:.4f}")
        if baselines.TFIDF not in ended:
            self._say(f"  {baselines.record_tfidf(tracker, self.dataset, self.settings.seed)}")

    def _fixed(
        self, configs: Mapping[int, Config], keys: Mapping[int, str], progress: Progress
    ) -> Callable[[RetryTracker], Plan]:
        """Return what runs those of given configurations that have not ended."""

        def plan(attempts: RetryTracker) -> Plan:
            ended = {key for key, trial in progress.trials.items() if trial.outcome is not None}
            left = {
                number: config for number, config in configs.items() if keys[number] not in ended
            }
            scheduler = make_scheduler("fifo", self.rungs, self.settings.objective)
            return Plan(ListSearcher(left, attempts), scheduler)

        return plan

    def _run(
        self,
        tracker: SweepTracker,
        prepared: PreparedData,
        progress: Progress,
        plan: Callable[[RetryTracker], Plan],
        storage: Storage,
        *,
        role: Role = "trial",
        keys: Mapping[int, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Run what a search suggests, on the screen and in the record.

        Where the memory does not suffice, fewer run at once from then on: what runs is cut off,
        and a new plan goes on with it.

        Args:
            tracker: writes the record.
            prepared: data and word vectors.
            progress: of these trials.
            plan: gives search, scheduler and stopper, for trials that may be tried again.
            storage: folder of Ray's own files.
            role: what the trials are to the sweep.
            keys: names of trials that are not known by their number.
            tags: further tags of their runs.
        """
        attempts = RetryTracker(storage, self.settings.retries)
        while True:
            fewer = self.workers.fewer(self._nodes)
            attempts.allow_concurrency_reduction(fewer is not None)
            search, scheduler, stopper = plan(attempts)
            view = make_view(progress, self._console, self._quiet)
            recorder = TrackingCallback(
                tracker,
                progress,
                view,
                say=self._say,
                dataset=self.dataset.name,
                dataset_fingerprint=self.dataset.fingerprint,
                attempts=attempts,
                watchdog=Watchdog(self.settings.trial_timeout),
                role=role,
                keys=keys,
                tags=tags,
                ran_out=search.ran_out if isinstance(search, OptunaSearcher) else lambda _: False,
            )
            ended = search.ended() if isinstance(search, OptunaSearcher) else []
            if ended:
                recorder.finish(ended)
                tracker.complete_counts()
            joined = self.settings.address is not None
            try:
                run_trials(
                    search,
                    scheduler,
                    prepared=without_texts(prepared),
                    workers=self.workers,
                    callback=recorder,
                    storage=storage,
                    room=room_in_cluster(self.workers) if joined else None,
                    stopper=stopper,
                    system_metrics=self.settings.system_metrics,
                )
                if isinstance(search, OptunaSearcher):
                    # Trials that waited for another start when the time was up.
                    search.close()
                    recorder.finish(search.ended())
                return
            except InsufficientMemoryError as error:
                if fewer is None:
                    raise
                self.workers = fewer
                self._say(
                    f"the memory does not suffice ({error}): from now on {fewer}; the trials go on "
                    "from their checkpoints"
                )
            finally:
                view.close()

    def _predict_test(self, tracker: SweepTracker, model_id: str) -> IsolatedPredictions:
        configure_threads(available_cores())
        bundle = Bundle.load(tracker.ask(lambda: fetch_bundle(tracker.client, model_id)))
        scores = split_log_probabilities(bundle, self.dataset, "test", available_cores())
        return IsolatedPredictions(
            bundle.label_names, scores, bundle.config.model.packing == "padded"
        )

    def _score_bundle(self, tracker: SweepTracker, model_id: str) -> Scores:
        predicted = self._predict_test(tracker, model_id).log_probabilities
        return score(predicted, self.dataset.splits["test"].labels)

    def _trials(self, tracker: SweepTracker) -> list[TrialRecord]:
        client = tracker.client
        return tracker.ask(lambda: trials_of(client, client.get_run(tracker.run_id)))

    def _choose(self, tracker: SweepTracker, subject: Subject) -> Choice:
        """Choose the winner by validation, score it once on the test split, register it."""
        settings, client = self.settings, tracker.client
        ranked = best_trials(self._trials(tracker), settings.objective)
        if not ranked:
            return Choice(None, {}, None)
        winner = ranked[0]
        scored = {n: value for n, value in winner.metrics.items() if n.startswith("test/")}
        model_id = winner.model_id
        finished = self._resumed is not None and self._resumed.finished
        if scored and (model_id is None or (finished and not settings.as_challenger)):
            # It had more trials, and found nothing better; or its version was removed meanwhile.
            return Choice(winner, scored, tracker.ask(lambda: self._registered(client, winner)))
        if model_id is None:
            raise InputError(
                f"the model of the best trial, {winner.name}, was removed, so it can't be "
                f"registered: start a new sweep with --warm-start {tracker.name}"
            )
        self._warn_of_answers(tracker, winner, model_id)
        # A kill may have come between the scores and the registration, or into that.
        test = scored
        if not test:
            predicted = self._predict_test(tracker, model_id)
            labels = self.dataset.splits["test"].labels
            test = score(predicted.log_probabilities, labels).metrics("test")
            tracker.ask(
                lambda: keep_predictions(
                    client, winner.run_id, model_id, predicted, self.dataset.fingerprint
                )
            )
            tracker.add_metrics(winner.key, test, int(winner.metrics["best/examples"]))
        registered = tracker.ask(
            lambda: register_winner(
                client,
                settings.model_name,
                model_id=model_id,
                run_id=winner.run_id,
                sweep=tracker.name,
                data=absolute(settings.data),
                dataset=self.dataset,
                objective=settings.objective,
                validation={n: v for n, v in winner.metrics.items() if n.startswith("best/valid/")},
                test=test,
                as_challenger=settings.as_challenger,
                description=notes.winners_version(
                    subject,
                    winner,
                    len(ranked),
                    test,
                    confirmation=None,
                    warnings=self._warnings,
                ),
            )
        )
        tracker.ask(
            lambda: versions.describe_model(
                client, settings.model_name, notes.registered_model(settings.model_name)
            )
        )
        return Choice(winner, test, registered)

    def _registered(self, client: MlflowClient, winner: TrialRecord) -> RegisteredWinner | None:
        """Return how a winner stands that was registered before; None if it is not any more."""
        name = self.settings.model_name
        version = versions.version_of_run(client, name, winner.run_id)
        if version is None:
            return None
        return registered_winner(client, name, version, self.settings.objective)
