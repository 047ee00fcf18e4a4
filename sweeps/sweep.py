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
from rich.console import Console

from sentiment.bundle import Bundle
from sentiment.config import Config
from sentiment.data_input import dataset_input
from sentiment.datasets import DataConfig, Dataset, load_dataset
from sentiment.devices import configure_threads, pick_precision, precision_name
from sentiment.embeddings import VectorSpec
from sentiment.errors import InputError
from sentiment.evaluate import score_split
from sentiment.metrics import Scores
from sentiment.model_store import fetch_bundle
from sentiment.preparation import Prepared, prepare
from sentiment.processes import available_cores
from sentiment.recipe import Recipe
from sentiment.record import open_store, read_store, tracking_uri
from sentiment.text import tokenizer
from sentiment.tracking_server import one_try_each, several_tries
from sweeps import baselines, descriptions, registry
from sweeps.attempts import Attempts, Patience
from sweeps.confirmation import Confirmation, confirmation_configs, summarize
from sweeps.cost import TrialCost
from sweeps.descriptions import Subject
from sweeps.display import make_view
from sweeps.engine import (
    CrowdedError,
    Halving,
    Recorder,
    TimeBudget,
    make_scheduler,
    run_trials,
    without_texts,
)
from sweeps.estimate import estimate_seconds
from sweeps.folder import SETTINGS_FILE, SPACE_FILE, SweepFolder
from sweeps.history import (
    TrialRecord,
    best_trials,
    find_sweep,
    finished_trials,
    leaderboard,
    sweep_run,
    trials_of,
)
from sweeps.interrupts import interruptible
from sweeps.plan import Node, Rungs, Workers, describe_nodes, plan_rungs, plan_workers
from sweeps.progress import Progress, ended_state
from sweeps.ray_directory import choose_directory
from sweeps.ray_session import (
    asks_for_token,
    check_no_other,
    check_storage,
    cluster_nodes,
    local_ray,
    room_in_cluster,
)
from sweeps.report import publish, where
from sweeps.resume import ResumedSweep
from sweeps.retention import keep_best_models
from sweeps.samplers import make_sampler
from sweeps.search import PastTrial, StudySearch, make_study, warm_start
from sweeps.settings import SweepSettings
from sweeps.space import NOT_RANGES, Space
from sweeps.storage import Storage
from sweeps.study_place import StudyPlace
from sweeps.summary import SweepResult, plan_lines, print_result, resume_command
from sweeps.sweep_record import read_sweep
from sweeps.tracking import Role, SweepTracker, check_sweep_name, close_orphans, new_sweep_name

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

        Where the settings name a cluster, `sweeps.ray_session.joined_ray` has joined it.

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
        self._storage = None if settings.storage is None else Storage(settings.storage)
        self._studies = StudyPlace(settings.study_storage)
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
        self.space: Space = resumed.space if resumed else Space.load(name).fix(settings.overrides)
        make_sampler(settings.sampler, self.space, settings.seed)
        registry.check_model_name(settings.model_name)
        self._check_store()
        if resumed:
            name, why = "of the sweep", "it goes on"
        elif settings.space:
            why = "as asked for"
        else:
            why = f"{self._gpus} GPUs are here" if on_gpu else "no GPU is used"
        if settings.address is not None:
            self._say(f"cluster: {describe_nodes(self._nodes)}")
            if not asks_for_token():
                self._say("note: whoever reaches this cluster can run code on it; docs/scaling.md")
            if on_gpu and any(not node.gpus for node in self._nodes):
                self._say("trials run on the GPUs alone; with --gpus-per-trial 0 on all cores")
        self._say(f"space {name} ({why}); {self.workers}, of {self._cores} cores")
        device = torch.device("cuda" if on_gpu else "cpu")
        self.dtype = pick_precision(settings.precision, device)
        self.dataset: Dataset = load_dataset(settings.data, self._say)
        seen = resumed.dataset_fingerprint if resumed else None
        if resumed and seen not in (None, self.dataset.fingerprint):
            raise InputError(
                f"--resume {resumed.name}: {self.dataset.name} is other data than this sweep has "
                "seen; bring the same back, or start a new sweep"
            )
        texts = self.dataset.splits["train"].texts
        # What takes long on a GPU is the number of steps, hardly the size of a layer.
        self._cost = None if on_gpu else TrialCost(texts)
        self.rungs: Rungs = plan_rungs(settings.max_epochs, len(texts))
        self._check_configs()

    def print_plan(self) -> None:
        """Print what a run would do."""
        for line in plan_lines(
            self.settings,
            self.dataset,
            self.space,
            self.rungs,
            self.dtype,
            self._past_trials(),
            self._cost,
        ):
            self._say(line)
        if self.settings.baselines:
            names = [recipe.name for recipe in self._recipes]
            self._say(f"baselines: {', '.join(names)}, {baselines.TFIDF}; their time comes on top")
        if self.settings.final_seeds:
            self._say(f"then the winner's settings again with {self.settings.final_seeds} seeds")
        if self._cost is None:
            self._say("time: not estimated for GPUs")
            return
        seconds = estimate_seconds(
            self.space,
            self._cost,
            self.rungs,
            self.workers,
            trials=self.settings.trials,
            halving=self.settings.scheduler == "asha",
            final_seeds=self.settings.final_seeds,
            dtype=self.dtype,
        )
        self._say(f"time: about {max(1, round(seconds / 60))} minutes, within a factor of two")

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
        prepared = prepare(self.dataset, self._configs(), progress=self._say)
        client, experiment_id = open_store(self._uri, settings.experiment)
        if resumed:
            folder = SweepFolder(STATE_FOLDER / resumed.name)
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
        folder: SweepFolder,
        client: MlflowClient,
        experiment_id: str,
        prepared: Prepared,
        past: Sequence[PastTrial],
    ) -> SweepResult:
        settings, name = self.settings, folder.path.name
        tracker = self._start_record(client, experiment_id, folder)
        closed = close_orphans(client)
        if closed:
            self._say(f"closed {len(closed)} runs that an ended process had left running")
        try:
            self._say(f"sweep {name}: {settings.trials} trials, run {tracker.run_id}")
            subject = self._subject(tracker)
            tracker.describe(descriptions.running_sweep(subject))
            with self._ray():
                self._search(tracker, prepared, past, folder)
                tracker.flush()
                winner, test, version = self._choose(tracker, subject)
                confirmed = None
                if settings.final_seeds and winner is not None:
                    confirmed = self._confirm(tracker, prepared, folder, winner)
                    text = descriptions.winners_version(
                        subject, winner, settings.trials, test, confirmed
                    )
                    tracker.ask(
                        lambda: client.update_model_version(settings.model_name, str(version), text)
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
            tracker.describe(
                descriptions.ended_sweep(subject, trials, winner, test, version, confirmed)
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
            version=version,
            seconds=time.monotonic() - self.started,
            confirmation=confirmed,
            removed=removed,
        )
        examples = len(self.dataset.splits["train"].texts)
        self._report(client, tracker.run_id)
        print_result(self._console, result, settings, self._uri, examples)
        return result

    def _report(self, client: MlflowClient, run_id: str) -> None:
        """Make the report of a sweep that has ended; a failure is told, and costs the report."""
        try:
            with several_tries():
                run = client.get_run(run_id)
                publish(client, read_sweep(client, run), self.settings.tracking_uri, self.dataset)
        except Exception as error:  # noqa: BLE001 - the sweep is recorded, whatever a picture does
            _log.warning("the report could not be made", exc_info=error)
            self._say("the sweep is recorded; to make its report: python -m sweeps.report")
            return
        self._say(f"report: {where(client, run)}")

    def _ray(self) -> AbstractContextManager[None]:
        joined = self.settings.address is not None
        return nullcontext() if joined else local_ray(self.workers, self._gpus)

    def _checkpoints(self, folder: SweepFolder) -> Storage:
        """Return where Ray's own files of the sweep lie, the trials' checkpoints among them."""
        return self._storage / folder.path.name if self._storage else Storage(folder.ray)

    @cached_property
    def _uri(self) -> str:
        return tracking_uri(self.settings.tracking_uri)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _check_store(self) -> None:
        """Raise an InputError where the store, if it is there, can't take this sweep."""
        name = self.settings.name
        if name is not None:
            check_sweep_name(name)
        client = None
        if self._uri.startswith("http") or Path(self._uri.removeprefix("sqlite:///")).exists():
            client = read_store(self._uri)
        if self._resumed or name is None:
            return
        folder = SweepFolder(STATE_FOLDER / name)
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
            return finished_trials(client, sweep, self.dataset.fingerprint, self.settings.objective)
        except InputError as error:
            raise InputError(f"--warm-start {self.settings.warm_start}: {error}") from None

    def _claim(self, client: MlflowClient, experiment_id: str) -> SweepFolder:
        """Make the sweep's folder, under the name that was asked for or a new one."""
        settings, space = self.settings, self.space.to_yaml()
        name = settings.name or new_sweep_name(client, experiment_id, self.dataset.name)
        stem, count = name, 1
        while True:
            try:
                path = STATE_FOLDER / name
                if self._studies.is_shared and self._studies.holds(SweepFolder(path)):
                    raise FileExistsError(path)
                return SweepFolder.claim(path, settings.to_json(), space)
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

    def _start_record(
        self, client: MlflowClient, experiment_id: str, folder: SweepFolder
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
        prepared: Prepared,
        past: Sequence[PastTrial],
        folder: SweepFolder,
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
            self._say(f"warm start: {told.used} trials told, {told.skipped} outside the space")
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
        progress = Progress(
            settings.trials, self.workers.count, settings.objective, deadline, searched
        )
        for trial in self._resumed.ended if self._resumed else ():
            progress.trials[trial.key] = ended_state(trial)

        def plan(attempts: Attempts) -> Plan:
            search = StudySearch(
                study,
                self.space,
                metric=settings.objective,
                max_trials=settings.trials,
                budget=self.rungs.budget,
                seed=settings.seed,
                base=base,
                attempts=attempts,
            )
            scheduler = make_scheduler(
                settings.scheduler, self.rungs, settings.objective, search.known_values
            )
            if isinstance(scheduler, Halving):
                ended = search.ended()
                scheduler.recall(trial.values for trial in ended if trial.outcome != "failed")
            stopper = None if deadline is None else TimeBudget(deadline, search)
            return Plan(search, scheduler, stopper)

        storage = self._checkpoints(folder) / "trial"
        search = self._run(tracker, prepared, progress, plan, storage)
        assert isinstance(search, StudySearch)
        search.close()

    def _confirm(
        self,
        tracker: SweepTracker,
        prepared: Prepared,
        folder: SweepFolder,
        winner: TrialRecord,
    ) -> Confirmation:
        """Train the winner's settings with other seeds, score those on the test split."""
        configs = confirmation_configs(winner, self.settings.final_seeds)
        ended = self._resumed.ended_confirmations if self._resumed else frozenset()
        # Numbered by their place among all: one that goes on finds its checkpoint by the number.
        keys = {number: key for number, key in enumerate(configs) if key not in ended}
        self._say(f"confirmation: {winner.name} with {len(configs)} other seeds")
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
        self, tracker: SweepTracker, prepared: Prepared, folder: SweepFolder
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
    ) -> Callable[[Attempts], Plan]:
        """Return what runs those of given configurations that have not ended."""

        def plan(attempts: Attempts) -> Plan:
            ended = {key for key, trial in progress.trials.items() if trial.outcome is not None}
            left = {
                number: config for number, config in configs.items() if keys[number] not in ended
            }
            scheduler = make_scheduler("fifo", self.rungs, self.settings.objective)
            return Plan(baselines.FixedSearch(left, attempts), scheduler)

        return plan

    def _run(
        self,
        tracker: SweepTracker,
        prepared: Prepared,
        progress: Progress,
        plan: Callable[[Attempts], Plan],
        storage: Storage,
        *,
        role: Role = "trial",
        keys: Mapping[int, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Searcher:
        """Run what a search suggests, on the screen and in the record, and return the search.

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
        attempts = Attempts(storage, self.settings.retries)
        while True:
            fewer = self.workers.fewer(self._nodes)
            attempts.relieve(fewer is not None)
            search, scheduler, stopper = plan(attempts)
            view = make_view(progress, self._console, self._quiet)
            recorder = Recorder(
                tracker,
                progress,
                view,
                say=self._say,
                dataset=self.dataset.name,
                dataset_fingerprint=self.dataset.fingerprint,
                attempts=attempts,
                patience=Patience(self.settings.trial_timeout),
                role=role,
                keys=keys,
                tags=tags,
            )
            ended = search.ended() if isinstance(search, StudySearch) else []
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
                    recorder=recorder,
                    storage=storage,
                    room=room_in_cluster(self.workers) if joined else None,
                    stopper=stopper,
                    system_metrics=self.settings.system_metrics,
                )
                return search
            except CrowdedError as error:
                if fewer is None:
                    raise
                self.workers = fewer
                self._say(
                    f"the memory does not suffice ({error}): from now on {fewer}; the trials go on "
                    "from their checkpoints"
                )
            finally:
                view.close()

    def _score_test(self, model: Path) -> Scores:
        configure_threads(available_cores())
        return score_split(Bundle.load(model), self.dataset, "test")

    def _score_bundle(self, tracker: SweepTracker, model_id: str) -> Scores:
        return self._score_test(tracker.ask(lambda: fetch_bundle(tracker.client, model_id)))

    def _trials(self, tracker: SweepTracker) -> list[TrialRecord]:
        client = tracker.client
        return tracker.ask(lambda: trials_of(client, client.get_run(tracker.run_id)))

    def _choose(
        self, tracker: SweepTracker, subject: Subject
    ) -> tuple[TrialRecord | None, dict[str, float], int | None]:
        """Choose the winner by validation, score it once on the test split, register it.

        Returns:
            The winner, its test metrics, and its version; none if no trial was evaluated.
        """
        settings, client = self.settings, tracker.client
        ranked = best_trials(self._trials(tracker), settings.objective)
        if not ranked:
            return None, {}, None
        winner = ranked[0]
        scored = {n: value for n, value in winner.metrics.items() if n.startswith("test/")}
        if scored and self._resumed and self._resumed.finished:
            # It had more trials, and found nothing better.
            candidate = tracker.ask(
                lambda: registry.find_candidate(client, settings.model_name, run_id=winner.run_id)
            )
            return winner, scored, candidate.version
        model_id = tracker.model_of(winner.key)
        assert model_id is not None, "a trial with a best checkpoint has a model"
        # A kill may have come between the scores and the registration, or into that.
        test = scored
        if not test:
            test = self._score_bundle(tracker, model_id).metrics("test")
            tracker.add_metrics(winner.key, test, int(winner.metrics["best/examples"]))
        registered = tracker.ask(
            lambda: registry.register_winner(
                client,
                settings.model_name,
                model_id=model_id,
                run_id=winner.run_id,
                sweep=tracker.name,
                data=_from_anywhere(settings.data),
                dataset=self.dataset,
                test=test,
                description=descriptions.winners_version(
                    subject, winner, settings.trials, test, confirmation=None
                ),
            )
        )
        tracker.ask(
            lambda: registry.describe_model(
                client, settings.model_name, descriptions.registered_model(settings.model_name)
            )
        )
        return winner, test, int(registered.version)


def _from_anywhere(data: DataConfig) -> DataConfig:
    """Return where the data is, whatever folder a later command runs in."""
    paths = {name: getattr(data, name) for name in ("data", "data_dir")}
    absolute = {name: str(Path(path).absolute()) for name, path in paths.items() if path}
    return data.model_copy(update=absolute)
