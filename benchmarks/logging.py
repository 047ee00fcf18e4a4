"""`python -m benchmarks.logging`: what the record costs a sweep.

The same fixed trials run with the record that a sweep writes and with none, in turns, on the same
workers. The wall time runs from before the sweep's run is made until the last of it is written.
Beside it stand the CPU seconds of the driver, which do not depend on what else the machine does.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.io.processes import available_cores
from sentiment.tracking.dataset_input import dataset_input
from sentiment.tracking.store import open_store
from sentiment.training.prepared_data import PreparedData, prepare
from sweeps.console.live_view import Silent
from sweeps.console.progress import Progress
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.local_ray import local_ray
from sweeps.execution.resources import Workers
from sweeps.execution.tuner import run_trials, without_texts
from sweeps.search.list_searcher import ListSearcher
from sweeps.search.rungs import plan_rungs
from sweeps.search.schedulers import make_scheduler
from sweeps.tracking.tracker import SweepTracker
from sweeps.tracking.trial_run import TrialRun
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker


def main(argv: list[str] | None = None) -> None:
    """Run the sweep with and without its record, in turns, and print the medians."""
    parser = cli.Parser(
        prog="python -m benchmarks.logging",
        description="Measure what the record costs a sweep.",
    )
    parser.add_argument("--dataset", default="imdb-25k", help="data of the trials")
    parser.add_argument("--trials", type=int, default=8, help="trials of a sweep")
    parser.add_argument("--epochs", type=float, default=0.5, help="of a trial; 8 evaluations each")
    parser.add_argument("--repeats", type=int, default=3, help="sweeps of each kind")
    args = parser.parse_args(argv)
    data = DataConfig(dataset=args.dataset)
    settings = {"cell": "gru", "hidden_dim": 64, "embedding": "glove", "max_length": 256}
    each = {"epochs": args.epochs, "evaluations_per_epoch": 8 / args.epochs}
    configs = [Config.from_flat({**settings, **each, "seed": n}) for n in range(args.trials)]
    prepared = prepare(data, configs[:1], progress=print)
    workers = Workers(available_cores(), 1, 0.0)
    measured: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with local_ray(workers, 0):
        # The first starts what later ones find ready, and is not counted.
        sweep(configs[: workers.count], data, prepared, workers, recorded=False)
        for turn in range(args.repeats):
            for recorded in (turn % 2 == 0, turn % 2 != 0):
                wall, cpu = sweep(configs, data, prepared, workers, recorded=recorded)
                measured[recorded].append((wall, cpu))
                print(
                    f"{'with' if recorded else 'without'} record: {wall:.1f} s, driver {cpu:.1f} s"
                )
    (wall, cpu), (bare_wall, bare_cpu) = (
        [statistics.median(column) for column in zip(*measured[kind], strict=True)]
        for kind in (True, False)
    )
    capacity = bare_wall * workers.count
    print(
        f"median wall time {wall:.1f} s with the record, {bare_wall:.1f} s without: "
        f"{wall / bare_wall - 1:+.1%}; the driver's CPU {cpu - bare_cpu:+.1f} s, "
        f"{(cpu - bare_cpu) / capacity:+.1%} of the cores' time"
    )


class _NoRecord(SweepTracker):
    """Takes what happens in a sweep, and writes nothing."""

    def __init__(self) -> None:
        """Open no store."""

    def start_trial(self, *args: Any, **options: Any) -> TrialRun:
        return _UnrecordedRun()

    def trial(self, key: int | str) -> TrialRun:
        return _UnrecordedRun()

    def end(self, state: Any) -> None:
        pass


class _UnrecordedRun(TrialRun):
    """Takes what happens in a trial, and writes nothing."""

    def __init__(self) -> None:
        """Have no writer."""

    def log_evaluation(self, *args: Any) -> None:
        pass

    def log_model(self, *args: Any) -> None:
        pass

    def end(self, *args: Any, **options: Any) -> None:
        pass


def sweep(
    configs: list[Config],
    data: DataConfig,
    prepared: PreparedData,
    workers: Workers,
    *,
    recorded: bool,
) -> tuple[float, float]:
    """Run the trials, none stopped early; return the wall time and the driver's CPU seconds."""
    dataset = prepared.dataset
    with tempfile.TemporaryDirectory() as scratch:
        client, experiment = open_store(f"sqlite:///{scratch}/mlflow.db")
        started, cpu = time.perf_counter(), time.process_time()
        storage = Storage(Path(scratch, "ray"))
        tracker: SweepTracker = _NoRecord()
        if recorded:
            tracker = SweepTracker.start(
                client,
                experiment,
                "logging",
                objective="valid/accuracy",
                parameters={"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint},
                precision="float32",
                space_yaml="{}",
                inputs=[dataset_input(dataset, data)],
            )
        run_trials(
            ListSearcher(dict(enumerate(configs))),
            make_scheduler("fifo", plan_rungs(1, 100), "valid/accuracy"),
            prepared=without_texts(prepared),
            workers=workers,
            callback=TrackingCallback(
                tracker,
                Progress(len(configs), workers.count, "valid/accuracy"),
                Silent(),
                notify=print,
                dataset=dataset.name,
                dataset_fingerprint=dataset.fingerprint,
                attempts=RetryTracker(storage),
            ),
            storage=storage,
        )
        tracker.end("finished")
        return time.perf_counter() - started, time.process_time() - cpu


if __name__ == "__main__":
    cli.run(main)
