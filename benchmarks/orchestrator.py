"""`python -m benchmarks.orchestrator`: the orchestrator alone, with trials that sleep and report.

Everything but the training is the sweep's own: Ray's workers, the study in its database, the
outbox, the record in MLflow. The clock starts when the last worker has begun its first trial. What
the trials then still have to sleep, over the number of workers, is the ideal time.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from mlflow import MlflowClient
from ray.tune.experiment import Trial

from benchmarks import tables
from benchmarks.sleeping import EXAMPLES_A_REPORT, Naps, SleepWorker
from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import Dataset
from sentiment.data.vocabulary import SPECIALS, Vocabulary
from sentiment.inference.bundle import Bundle
from sentiment.nn.classifier import Classifier
from sentiment.tracking.store import open_store
from sweeps.config import SAMPLERS
from sweeps.console.live_view import Silent
from sweeps.console.progress import Progress
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.local_ray import local_ray
from sweeps.execution.resources import Workers
from sweeps.execution.tuner import run_trials
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.rungs import plan_rungs
from sweeps.search.schedulers import make_scheduler
from sweeps.search.study import make_study
from sweeps.space.space import SearchSpace
from sweeps.tracking.queries import search_runs
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.protocol import evaluations
from sweeps.trials.retry import RetryTracker

DOCS = Path("docs/benchmarks.md")
HEADER = [
    "record in",
    "study in",
    "trials",
    "evaluations a minute, asked for",
    "seen",
    "time over the ideal",
    "a trial's time over its sleep, mean",
    "most",
    "record whole after the last trial, s",
    "driver's CPU, cores",
]


def main(argv: list[str] | None = None) -> None:
    """Run one sweep for each number of reports, and print a table."""
    parser = cli.Parser(
        prog="python -m benchmarks.orchestrator",
        description="Measure the orchestrator alone: trials that sleep and report.",
    )
    parser.add_argument("--trials", type=int, default=500, help="of each sweep")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a trial sleeps")
    parser.add_argument("--workers", type=int, default=32, help="trials at once")
    parser.add_argument(
        "--reports", type=int, nargs="+", default=[5], help="evaluations of a trial; a sweep each"
    )
    parser.add_argument("--sampler", default="tpe", choices=SAMPLERS, help="sampler")
    parser.add_argument("--models", action="store_true", help="each trial keeps a (tiny) model")
    parser.add_argument("--store", default="sqlite", help="sqlite (a new file), or MLflow's URI")
    parser.add_argument("--study", metavar="URL", help="Optuna's database (default: a new file)")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCS}")
    args = parser.parse_args(argv)
    rows = []
    for reports in args.reports:
        measured = run(
            trials=args.trials,
            seconds=args.seconds,
            reports=reports,
            workers=args.workers,
            sampler=args.sampler,
            models=args.models,
            store=args.store,
            study=args.study,
        )
        print(measured, flush=True)
        rows.append(measured.row())
    table = tables.markdown(HEADER, rows)
    print(table)
    if args.write:
        tables.replace(DOCS, f"orchestrator-{_kind(args.store)}", table)


@dataclass(frozen=True)
class Measured:
    """What one sweep of sleeping trials came to.

    Attributes:
        store: kind of the record's store.
        study: kind of the study's database.
        trials: recorded as completed.
        points: evaluations that are in the record.
        models: that are in the record.
        asked: evaluations a minute, if nothing took time but sleep.
        seen: evaluations a minute, from the last worker's start to the last trial's end.
        ideal: seconds of sleep that were left at the last worker's start, over the workers.
        wall: seconds from then to the last trial's end.
        slowdowns: of each trial, the time from its start to its last report over its sleep.
        starting: seconds from the first worker's start to the last one's.
        draining: seconds from the last trial's end until the record was whole.
        cpu: of the driver's process, in cores, from the first worker's start on.
        memory: bytes of all workers that no other process shares.
        processes: that ran trials.
    """

    store: str
    study: str
    trials: int
    points: int
    models: int
    asked: float
    seen: float
    ideal: float
    wall: float
    slowdowns: tuple[float, ...]
    starting: float
    draining: float
    cpu: float
    memory: int
    processes: int

    @property
    def ratio(self) -> float:
        """Time over the ideal, once the workers were up."""
        return self.wall / self.ideal

    def row(self) -> list[str]:
        """Return the table's row, see `HEADER`."""
        return [
            self.store,
            self.study,
            str(self.trials),
            f"{self.asked:,.0f}",
            f"{self.seen:,.0f}",
            f"{self.ratio:.2f}",
            f"{statistics.mean(self.slowdowns):.3f}",
            f"{max(self.slowdowns):.2f}",
            f"{self.draining:.0f}",
            f"{self.cpu:.2f}",
        ]

    def __str__(self) -> str:
        return (
            f"{self.store}: {self.trials} trials, {self.points:,} evaluations and "
            f"{self.models} models recorded; "
            f"{self.processes} workers up after {self.starting:.0f} s, "
            f"{self.memory / 1e9:.1f} GB of their own; "
            f"then {self.wall:.1f} s, ideal {self.ideal:.1f} s, ratio {self.ratio:.3f}; "
            f"a trial takes {statistics.mean(self.slowdowns):.3f} of its sleep, at most "
            f"{max(self.slowdowns):.3f}; {self.seen:,.0f} evaluations a minute of "
            f"{self.asked:,.0f}; record whole {self.draining:.1f} s after the last trial; "
            f"driver {self.cpu:.2f} cores"
        )


@dataclass
class _Nap:
    """When a trial slept, and in which process."""

    process: int
    began: float
    ended: float


class _Watch(TrackingCallback):
    """Keeps when trials began and ended, and what their processes take."""

    def __init__(self, workers: int, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.naps: dict[str, _Nap] = {}
        self.evaluations: list[float] = []
        self.memory = 0
        self.cpu = 0.0
        self._workers = workers

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        nap = self.naps.get(trial.trial_id)
        if nap is None:
            self.cpu = self.cpu or time.process_time()
            nap = _Nap(result["pid"], result["began"], result["ended"])
            self.naps[trial.trial_id] = nap
        nap.ended = result["ended"]
        self.evaluations += [each["ended"] for each in evaluations(result)]
        if not self.memory and len(self.starts) == self._workers:
            self.memory = sum(psutil.Process(pid).memory_full_info().uss for pid in self.starts)
        super().on_trial_result(iteration, trials, trial, result, **info)

    @property
    def starts(self) -> dict[int, float]:
        """When each process began its first trial."""
        starts: dict[int, float] = {}
        for nap in self.naps.values():
            starts[nap.process] = min(nap.began, starts.get(nap.process, nap.began))
        return starts


def run(
    *,
    trials: int,
    seconds: float,
    reports: int,
    workers: int,
    sampler: str = "tpe",
    models: bool = False,
    store: str = "sqlite",
    study: str | None = None,
) -> Measured:
    """Run a sweep of sleeping trials, and check that its record is whole.

    Raises:
        RuntimeError: an evaluation or a model is missing in the record, or stands in it twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _run(
            Path(folder),
            trials=trials,
            workers=workers,
            sampler=sampler,
            naps=Naps(
                dataset=Dataset("sleep", ("neg", "pos"), {}, "0" * 64),
                corpora={},
                vectors={},
                seconds=seconds,
                reports=reports,
                bundle=str(_model(Path(folder))) if models else None,
            ),
            store=f"sqlite:///{folder}/mlflow.db" if store == "sqlite" else store,
            study=study or f"sqlite:///{folder}/study.db",
        )


def _run(
    folder: Path, *, trials: int, workers: int, sampler: str, naps: Naps, store: str, study: str
) -> Measured:
    client, experiment = open_store(store, "orchestrator")
    name = f"orchestrator-{os.getpid()}-{time.time_ns()}"
    space = SearchSpace.load("cpu")
    tracker = SweepTracker.start(
        client,
        experiment,
        name,
        objective="valid/accuracy",
        parameters={"dataset": "sleep", "dataset_fingerprint": naps.dataset.fingerprint},
        precision="float32",
        space_yaml=space.to_yaml(),
        folder=folder,
        notify=print,
    )
    attempts = RetryTracker(Storage(folder / "ray"))
    search = OptunaSearcher(
        make_study(study, name, "valid/accuracy", space, sampler),
        space,
        metric="valid/accuracy",
        max_trials=trials,
        budget=naps.budget,
        seed=1,
        base={"epochs": 1.0, "evaluations_per_epoch": float(naps.reports)},
        attempts=attempts,
    )
    watch = _Watch(
        workers,
        tracker,
        Progress(trials, workers, "valid/accuracy"),
        Silent(),
        notify=print,
        dataset=naps.dataset.name,
        dataset_fingerprint=naps.dataset.fingerprint,
        attempts=attempts,
    )
    with _recorded(tracker), local_ray(Workers(workers, 1, 0.0), 0):
        run_trials(
            search,
            make_scheduler("fifo", plan_rungs(1, naps.budget), "valid/accuracy"),
            prepared=naps,
            workers=Workers(workers, 1, 0.0),
            callback=watch,
            storage=attempts.storage,
            worker=SleepWorker,
        )
        tracker.flush()
        whole = time.time()
        cpu = time.process_time() - watch.cpu
    completed, points, models = check_record(client, experiment, tracker.run_id, trials, naps)
    naps_taken = watch.naps.values()
    up, last = max(watch.starts.values()), max(nap.ended for nap in naps_taken)
    left = sum(min(naps.seconds, max(0.0, nap.began + naps.seconds - up)) for nap in naps_taken)
    return Measured(
        store=_kind(store),
        study=_kind(study),
        trials=completed,
        points=points,
        models=models,
        asked=60 * workers * naps.reports / naps.seconds,
        seen=60 * sum(at > up for at in watch.evaluations) / (last - up),
        ideal=left / workers,
        wall=last - up,
        slowdowns=tuple((nap.ended - nap.began) / naps.seconds for nap in naps_taken),
        starting=up - min(watch.starts.values()),
        draining=whole - last,
        cpu=cpu / (whole - min(watch.starts.values())),
        memory=watch.memory,
        processes=len(watch.starts),
    )


@contextmanager
def _recorded(tracker: SweepTracker) -> Iterator[None]:
    try:
        yield
    except BaseException:
        tracker.end("interrupted")
        raise
    tracker.end("finished")


def check_record(
    client: MlflowClient, experiment: str, sweep: str, trials: int, naps: Naps
) -> tuple[int, int, int]:
    """Return the numbers of trials, evaluations and models in the record of a sweep.

    Raises:
        RuntimeError: they are not what the trials reported.
    """
    runs = list(
        search_runs(
            client,
            [experiment],
            f"tags.`mlflow.parentRunId` = '{sweep}' and tags.`sweep.outcome` = 'completed'",
        )
    )
    points = models = 0
    for found in runs:
        steps = [p.step for p in client.get_metric_history(found.info.run_id, "valid/accuracy")]
        if sorted(steps) != [(n + 1) * EXAMPLES_A_REPORT for n in range(naps.reports)]:
            raise RuntimeError(f"the run {found.info.run_id} has evaluations at {steps}")
        points += len(steps)
        kept = len(found.outputs.model_outputs) if found.outputs else 0
        if kept != (naps.bundle is not None):
            raise RuntimeError(f"the run {found.info.run_id} has {kept} models")
        models += kept
    if len(runs) != trials:
        raise RuntimeError(f"{len(runs)} of {trials} trials are recorded as completed")
    return len(runs), points, models


def _model(folder: Path) -> Path:
    """Save a model of a few weights."""
    config = Config.from_flat({"embedding": "random", "embedding_dim": 4, "hidden_dim": 4})
    vocabulary = Vocabulary((*SPECIALS, "good", "bad"))
    model = Classifier(config.model, len(vocabulary), 4, 2)
    bundle = Bundle(config, vocabulary, ("neg", "pos"), model.state_dict(), {})
    return bundle.save(folder / "bundle")


def _kind(uri: str) -> str:
    """Return a store's kind, without its address."""
    scheme = uri.partition(":")[0].partition("+")[0]
    return {"http": "server", "https": "server"}.get(scheme, scheme)


if __name__ == "__main__":
    cli.run(main)
