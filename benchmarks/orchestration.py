"""`python -m benchmarks.orchestration`: what the sweep costs beside the training.

Three figures: how soon a reused worker trains the next trial, which share of the cores' time
between the first trial's start and the last one's end was spent in training, and what a command
takes before the first trial and after the last one.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from ray.tune.experiment import Trial

from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.tracking.store import open_store, read_store, tracking_uri
from sentiment.training.prepared_data import prepare
from sweeps.console.live_view import Silent
from sweeps.console.progress import Progress
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.local_ray import local_ray
from sweeps.execution.resources import Workers
from sweeps.execution.tuner import run_trials, without_texts
from sweeps.search.list_searcher import ListSearcher
from sweeps.search.rungs import plan_rungs
from sweeps.search.schedulers import make_scheduler
from sweeps.tracking.queries import TrialRecord, find_sweep, trials_of
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker


def main(argv: list[str] | None = None) -> None:
    """Measure the restart of a worker, and read the use of the cores from a recorded sweep."""
    parser = cli.Parser(
        prog="python -m benchmarks.orchestration",
        description="Measure what orchestration costs.",
    )
    parser.add_argument("--sweep", metavar="NAME", help="read the cores' use from this sweep")
    parser.add_argument("--commands", type=int, help="measure start and end of so many commands")
    parser.add_argument("--repeats", type=int, default=6, help="runs of the same trial")
    parser.add_argument("--dataset", default="imdb-25k", help="data of the repeated trial")
    args = parser.parse_args(argv)
    if args.sweep:
        use = core_use(args.sweep)
        print(f"cores used by training: {use:.3f} of their time")
        return
    if args.commands:
        measured = [start_and_end(args.dataset) for _ in range(args.commands)]
        for number, (start, end) in enumerate(measured):
            print(f"command {number}: {start:.1f} s to the first trial, {end:.1f} s after the last")
        start, end = (statistics.median(each) for each in zip(*measured, strict=True))
        print(f"median: {start:.1f} s to the first trial, {end:.1f} s after the last")
        return
    gaps = restarts(args.dataset, args.repeats)
    print(
        f"from the end of a trial to the first step of the next in its worker: median "
        f"{statistics.median(gaps):.2f} s, most {max(gaps):.2f} s, {len(gaps)} restarts"
    )


def core_use(sweep: str) -> float:
    """Return the trials' CPU seconds over cores times the wall time that they spanned."""
    run, trials = _recorded(tracking_uri(), sweep)
    cores = int(run.data.params["cores"])
    seconds = sum(trial.metrics.get("seconds/cpu", 0.0) for trial in trials)
    first, last = _span(trials)
    return seconds / (cores * (last - first))


def start_and_end(dataset: str) -> tuple[float, float]:
    """Run a short sweep; return its seconds to the first trial's start, and after the last end."""
    settings = ["cell=gru", "hidden_dim=32", "layers=1", "bidirectional=false", "embedding=random"]
    with tempfile.TemporaryDirectory() as scratch:
        store = f"sqlite:///{scratch}/mlflow.db"
        # The first command makes the store's tables.
        open_store(store)
        began = time.time()
        subprocess.run(
            [
                *(sys.executable, "-m", "sweeps.launch", "--dataset", dataset, "--trials", "2"),
                *("--max-epochs", "0.5", "--scheduler", "fifo", "--finalists", "0"),
                *("--no-baseline", "--name", "short", "--tracking-uri", store, "--quiet"),
                *("--set", *settings),
            ],
            cwd=scratch,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        ended = time.time()
        _, trials = _recorded(store, "short")
    first, last = _span(trials)
    return first - began, ended - last


def _recorded(store: str, sweep: str) -> tuple[Run, list[TrialRecord]]:
    """Return the run of a sweep, and the trials of its search."""
    client = read_store(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    run = find_sweep(client, experiments, sweep)
    return run, [trial for trial in trials_of(client, run) if trial.role == "trial"]


def _span(trials: list[TrialRecord]) -> tuple[float, float]:
    """Return when the first trial started and the last one ended, in seconds since the epoch."""
    first = min(trial.started for trial in trials)
    return first / 1000, max(trial.ended or 0 for trial in trials) / 1000


class _Watch(TrackingCallback):
    """Keeps when each evaluation began and ended, by trial."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.spans: dict[str, list[tuple[float, float]]] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.spans.setdefault(trial.trial_id, []).append((result["began"], result["ended"]))
        super().on_trial_result(iteration, trials, trial, result, **info)


def restarts(dataset: str, repeats: int) -> list[float]:
    """Run the same trial several times in one worker; return the seconds between them."""
    config = Config.from_flat({"embedding": "glove", "hidden_dim": 32, "epochs": 0.1})
    prepared = prepare(DataConfig(dataset=dataset), [config], progress=print)
    with tempfile.TemporaryDirectory() as scratch:
        client, experiment = open_store(f"sqlite:///{scratch}/mlflow.db")
        tracker = SweepTracker.start(
            client,
            experiment,
            "restarts",
            objective="valid/accuracy",
            parameters={"dataset": dataset, "dataset_fingerprint": prepared.dataset.fingerprint},
            precision="float32",
            space_yaml="{}",
        )
        workers = Workers(1, 1, 0.0)
        watch = _Watch(
            tracker,
            Progress(repeats, 1, "valid/accuracy"),
            Silent(),
            notify=print,
            attempts=RetryTracker(Storage(Path(scratch, "ray"))),
            dataset=dataset,
            dataset_fingerprint=prepared.dataset.fingerprint,
        )
        with local_ray(workers, 0):
            run_trials(
                ListSearcher(dict.fromkeys(range(repeats), config)),
                make_scheduler("fifo", plan_rungs(1, 100), "valid/accuracy"),
                prepared=without_texts(prepared),
                workers=workers,
                callback=watch,
                storage=Storage(Path(scratch, "ray")),
            )
        tracker.end("finished")
    spans = sorted((each[0][0], each[-1][1]) for each in watch.spans.values())
    return [later[0] - earlier[1] for earlier, later in pairwise(spans)]


if __name__ == "__main__":
    cli.run(main)
