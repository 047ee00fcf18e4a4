"""One sweep from its settings to its registered winner."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mlflow import MlflowClient
from rich.console import Console
from rich.table import Table

from sentiment.bundle import Bundle
from sentiment.config import Config
from sentiment.datasets import DataConfig, Dataset, load_dataset
from sentiment.devices import configure_threads, pick_precision, precision_name
from sentiment.errors import InputError
from sentiment.evaluate import score_split
from sentiment.metrics import Scores
from sentiment.preparation import Prepared, prepare
from sentiment.processes import available_cores
from sentiment.recipe import Recipe
from sentiment.record import open_store, read_store, tracking_uri
from sweeps import baselines, registry
from sweeps.display import make_view
from sweeps.engine import (
    Recorder,
    TimeBudget,
    local_ray,
    make_scheduler,
    remove_storage,
    run_trials,
    without_texts,
)
from sweeps.estimate import estimate_seconds
from sweeps.history import (
    TrialRecord,
    best_trials,
    find_sweep,
    finished_trials,
    leaderboard,
    trials_of,
)
from sweeps.plan import Rungs, Workers, plan_rungs, plan_workers
from sweeps.progress import Progress, TrialState
from sweeps.search import (
    PastTrial,
    StudySearch,
    first_suggestions,
    make_sampler,
    make_study,
    sampler_note,
    warm_start,
)
from sweeps.settings import SweepSettings
from sweeps.space import NOT_RANGES, Space
from sweeps.tracking import SweepTracker, check_sweep_name, close_orphans, new_sweep_name

STATE_FOLDER = Path(".sweeps")
"""Beside the store: each sweep's study and, while it runs, Ray's own files."""
SHOWN_TRIALS = 5


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        name: the sweep.
        run_id: its run.
        trials: the search's trials, the best first, then those without a best checkpoint.
        winner: the best by validation; None if no trial got that far.
        test: the winner's metrics on the test split.
        version: of the registered model.
        seconds: from the launch to the end.
    """

    name: str
    run_id: str
    trials: list[TrialRecord]
    winner: TrialRecord | None
    test: dict[str, float]
    version: str | None
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values."""
        outcomes = [trial.outcome for trial in self.trials if trial.role == "trial"]
        winner = self.winner
        metrics = winner.metrics if winner else {}
        return {
            "sweep": self.name,
            "run_id": self.run_id,
            "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
            "winner": {"trial": winner.key, "run_id": winner.run_id, **winner.parameters}
            if winner
            else None,
            "best": {name: value for name, value in metrics.items() if name.startswith("best/")},
            "test": self.test,
            "version": self.version,
            "seconds": round(self.seconds, 1),
        }


class Sweep:
    """A sweep; made, it has checked its settings against the machine and the data."""

    def __init__(self, settings: SweepSettings, console: Console, quiet: bool = False) -> None:
        """Check the settings; nothing is written.

        Raises:
            InputError: they are wrong, or don't fit the machine or the data.
        """
        self.settings = settings
        self.started = time.monotonic()
        self._console = console
        self._quiet = quiet
        cores, gpus = available_cores(), torch.cuda.device_count()
        self._gpus = gpus
        self.workers: Workers = plan_workers(
            cores,
            gpus,
            cpus_per_trial=settings.cpus_per_trial,
            gpus_per_trial=settings.gpus_per_trial,
            concurrency=settings.concurrency,
        )
        on_gpu = self.workers.gpus > 0
        self.space_name = settings.space or ("gpu" if on_gpu else "cpu")
        self.space: Space = Space.load(self.space_name).fix(settings.overrides)
        make_sampler(settings.sampler, self.space, settings.seed)
        if settings.name is not None:
            check_sweep_name(settings.name)
        why = "as asked for" if settings.space else f"{gpus} GPUs" if on_gpu else "no GPU is used"
        self._say(f"space {self.space_name} ({why}); {self.workers} of {cores} cores")
        device = torch.device("cuda" if on_gpu else "cpu")
        self.precision = precision_name(pick_precision(settings.precision, device))
        self.dataset: Dataset = load_dataset(settings.data)
        examples = len(self.dataset.splits["train"].texts)
        self.rungs: Rungs = plan_rungs(settings.max_epochs, examples)
        # Any one configuration shows whether the fixed settings fit the data.
        self._check_classes()

    def print_plan(self) -> None:
        """Print what a run would do."""
        settings, rungs = self.settings, self.rungs
        past = self._past_trials()
        for name, split in self.dataset.splits.items():
            self._say(f"{self.dataset.name} {name}: {len(split.texts):,} texts")
        self._say(f"labels: {', '.join(self.dataset.label_names)}")
        self._say(f"precision: {self.precision}")
        self._say(
            f"search: {settings.trials} trials by {settings.sampler} for {settings.objective}"
        )
        note = sampler_note(settings.sampler, self.space)
        if note:
            self._say(f"note: {note}")
        if settings.scheduler == "asha":
            at = ", ".join(f"{examples:,}" for examples in rungs.milestones)
            self._say(f"rungs: at {at} of {rungs.budget:,} training examples the weaker half ends")
        else:
            self._say(f"budget: {rungs.budget:,} training examples a trial, none stopped early")
        self._say("space:")
        for row in self.space.to_yaml().splitlines():
            self._say(f"  {row}")
        self._say(f"the first {SHOWN_TRIALS} suggestions:")
        count = min(SHOWN_TRIALS, settings.trials)
        searched = self.space.dimensions
        for number, suggestion in enumerate(
            first_suggestions(self.space, settings.sampler, settings.seed, count, past=past)
        ):
            shown = {name: value for name, value in suggestion.items() if name in searched}
            self._say(f"  {number:03d} {json.dumps(shown)}")
        seconds = estimate_seconds(
            self.space,
            self.dataset,
            rungs,
            self.workers,
            trials=settings.trials,
            halving=settings.scheduler == "asha",
            dtype=pick_precision(settings.precision, torch.device("cpu")),
        )
        if self.workers.gpus:
            self._say("time: not estimated for GPUs")
        else:
            self._say(f"time: about {max(1, round(seconds / 60))} minutes, within a factor of two")

    def run(self) -> SweepResult:
        """Run the sweep.

        Raises:
            InputError: the store, the name or the data turn out wrong.
            KeyboardInterrupt: after what ran has been recorded as interrupted.
        """
        settings = self.settings
        past = self._past_trials()
        prepared = prepare(settings.data, self._configs(), progress=self._say)
        client, experiment_id = open_store(self._uri, settings.experiment)
        closed = close_orphans(client, experiment_id)
        if closed:
            self._say(f"closed {len(closed)} runs that an ended process had left running")
        name = settings.name or new_sweep_name(client, experiment_id, self.dataset.name)
        tracker = self._start_record(client, experiment_id, name)
        self._say(f"sweep {name}: {settings.trials} trials, run {tracker.run_id}")
        folder = STATE_FOLDER / name
        try:
            with local_ray(self.workers, self._gpus):
                self._search(tracker, prepared, past, folder)
                if settings.baselines:
                    self._run_baselines(tracker, prepared, folder)
            tracker.flush()
            result = self._finish(client, tracker)
        except BaseException:
            # Also at Control-C, and at a second one: the record must not stay open.
            tracker.end("interrupted")
            self._say(f"sweep {name} was cut off; what it recorded stays in the experiment")
            raise
        finally:
            remove_storage(folder / "ray")
        return result

    @cached_property
    def _uri(self) -> str:
        return tracking_uri(self.settings.tracking_uri)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _check_classes(self) -> None:
        """Raise an InputError where the space can't work with the number of classes."""
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
        return baselines.recipes_for(self.dataset)

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
        sweep = find_sweep(client, ids, self.settings.warm_start)
        return finished_trials(client, sweep, self.dataset.fingerprint, self.settings.objective)

    def _start_record(self, client: MlflowClient, experiment_id: str, name: str) -> SweepTracker:
        settings = self.settings
        return SweepTracker.start(
            client,
            experiment_id,
            name,
            objective=settings.objective,
            parameters={
                "dataset": self.dataset.name,
                "dataset_fingerprint": self.dataset.fingerprint,
                "trials": str(settings.trials),
                "max_epochs": f"{settings.max_epochs:g}",
                "sampler": settings.sampler,
                "scheduler": settings.scheduler,
                "seed": str(settings.seed),
                "workers": str(self.workers),
            },
            precision=self.precision,
            space_yaml=self.space.to_yaml(),
        )

    def _search(
        self,
        tracker: SweepTracker,
        prepared: Prepared,
        past: Sequence[PastTrial],
        folder: Path,
    ) -> Progress:
        settings = self.settings
        folder.mkdir(parents=True, exist_ok=True)
        study = make_study(
            f"sqlite:///{(folder / 'study.db').absolute()}",
            tracker.name,
            settings.objective,
            self.space,
            settings.sampler,
            settings.seed,
        )
        if past:
            told = warm_start(study, past, self.space)
            self._say(f"warm start: {told.used} trials told, {told.skipped} outside the space")
        search = StudySearch(
            study,
            self.space,
            metric=settings.objective,
            max_trials=settings.trials,
            budget=self.rungs.budget,
            seed=settings.seed,
            base={
                "epochs": settings.max_epochs,
                "evaluations_per_epoch": self.rungs.evaluations_per_epoch,
                "objective": settings.objective,
                "precision": settings.precision,
            },
        )
        deadline = None
        if settings.time_budget is not None:
            deadline = self.started + settings.time_budget
        progress = Progress(settings.trials, self.workers.count, settings.objective, deadline)
        view = make_view(progress, self._console, self._quiet)
        try:
            run_trials(
                search,
                make_scheduler(settings.scheduler, self.rungs, settings.objective),
                prepared=without_texts(prepared),
                workers=self.workers,
                recorder=Recorder(
                    tracker,
                    progress,
                    view,
                    say=self._say,
                    dataset=self.dataset.name,
                    dataset_fingerprint=self.dataset.fingerprint,
                ),
                storage=folder.absolute() / "ray" / "search",
                stopper=None if deadline is None else TimeBudget(deadline, search),
            )
        finally:
            view.close()
        search.close()
        return progress

    def _run_baselines(self, tracker: SweepTracker, prepared: Prepared, folder: Path) -> None:
        """Train the recipes beside the search, score them and TF-IDF on the test split."""
        names = {number: recipe.name for number, recipe in enumerate(self._recipes)}
        self._say(f"baselines: {', '.join(names.values())}, {baselines.TFIDF}")
        progress = Progress(len(names), self.workers.count, "valid/loss")
        view = make_view(progress, self._console, self._quiet)
        try:
            run_trials(
                baselines.FixedSearch([recipe.config for recipe in self._recipes]),
                make_scheduler("fifo", self.rungs, self.settings.objective),
                prepared=without_texts(prepared),
                workers=self.workers,
                recorder=Recorder(
                    tracker,
                    progress,
                    view,
                    say=self._say,
                    dataset=self.dataset.name,
                    dataset_fingerprint=self.dataset.fingerprint,
                    role="baseline",
                    names=names,
                ),
                storage=folder.absolute() / "ray" / "baselines",
            )
        finally:
            view.close()
        for trial in progress.trials.values():
            if trial.model is not None:
                scores = self._score_test(Path(trial.model))
                self._say_scores(trial, scores)
                tracker.add_metrics(trial.key, scores.metrics("test"))
        valid, test = baselines.record_tfidf(tracker, self.dataset)
        self._say(f"  {baselines.TFIDF:<28} valid {valid.accuracy:.4f}  test {test.accuracy:.4f}")

    def _say_scores(self, trial: TrialState, scores: Scores) -> None:
        valid = trial.best.get("valid/accuracy", math.nan)
        self._say(f"  {trial.name:<28} valid {valid:.4f}  test {scores.accuracy:.4f}")

    def _score_test(self, model: Path) -> Scores:
        configure_threads(available_cores())
        return score_split(Bundle.load(model), self.dataset, "test")

    def _finish(self, client: MlflowClient, tracker: SweepTracker) -> SweepResult:
        """Choose the winner by validation, score it once on the test split, register it."""
        from sentiment.model_store import fetch_bundle

        settings = self.settings
        trials = trials_of(client, client.get_run(tracker.run_id))
        ranked = best_trials(trials, settings.objective)
        test: dict[str, float] = {}
        version = None
        if ranked:
            winner = ranked[0]
            model_id = tracker.model_of(winner.key)
            assert model_id is not None, "a trial with a best checkpoint has a model"
            scores = self._score_test(fetch_bundle(client, model_id))
            test = scores.metrics("test")
            tracker.add_metrics(winner.key, test, int(winner.metrics["best/examples"]))
            version = registry.register_winner(
                client,
                settings.model_name,
                model_id=model_id,
                run_id=winner.run_id,
                sweep=tracker.name,
                data=_from_anywhere(settings.data),
                dataset=self.dataset,
                test=test,
            ).version
        tracker.flush()
        trials = trials_of(client, client.get_run(tracker.run_id))
        tracker.log_table(leaderboard(trials, settings.objective))
        tracker.end("finished")
        result = SweepResult(
            name=tracker.name,
            run_id=tracker.run_id,
            trials=trials,
            winner=ranked[0] if ranked else None,
            test=test,
            version=version,
            seconds=time.monotonic() - self.started,
        )
        self._print_result(result, ranked)
        return result

    def _print_result(self, result: SweepResult, ranked: list[TrialRecord]) -> None:
        settings = self.settings
        outcomes = [trial.outcome for trial in result.trials if trial.role == "trial"]
        self._say(
            f"sweep {result.name} ended after {result.seconds / 60:.1f} minutes: "
            f"{outcomes.count('completed')} completed, "
            f"{outcomes.count('stopped_early')} stopped early, {outcomes.count('failed')} failed"
        )
        if result.winner is None:
            self._say(
                "no trial got as far as an evaluation; error.txt among a run's artifacts says why: "
                "python -m sweeps.ui"
            )
            return
        table = Table(box=None, pad_edge=False)
        for column in ("trial", settings.objective, "epochs", "parameters", "seconds", "outcome"):
            table.add_column(column, justify="left" if column in ("trial", "outcome") else "right")
        examples = len(self.dataset.splits["train"].texts)
        for trial in ranked[:SHOWN_TRIALS]:
            metrics = trial.metrics
            table.add_row(
                trial.name,
                f"{metrics[f'best/{settings.objective}']:.4f}",
                f"{metrics['best/examples'] / examples:.2f}",
                f"{metrics.get('parameters/total', 0):,.0f}",
                f"{metrics.get('seconds/total', 0):.0f}",
                str(trial.outcome),
            )
        self._console.print(table)
        test = result.test
        self._say(
            f"test split, scored once, of trial {result.winner.key:03d}: accuracy "
            f"{test['test/accuracy']:.4f}, f1 {test['test/f1']:.4f}, loss {test['test/loss']:.4f}"
        )
        self._say(
            f"registered as version {result.version} of {settings.model_name}, alias challenger"
        )
        self._say("next:")
        self._say("  python -m sweeps.ui                                  browse and compare")
        self._say("  python -m sweeps.promote                             make it the champion")
        self._say('  python -m sentiment.predict "This film is great"     ask the champion')


def _from_anywhere(data: DataConfig) -> DataConfig:
    """Return where the data is, whatever folder a later command runs in."""
    paths = {name: getattr(data, name) for name in ("data", "data_dir")}
    absolute = {name: str(Path(path).absolute()) for name, path in paths.items() if path}
    return data.model_copy(update=absolute)
