"""`python -m benchmarks.fixed_sweep`: our sweep over given configurations.

All of `sweeps.launch` from the reviews to the record, but for the search: the configurations are
given. `benchmarks.sweep` runs it against sweeps by stock means.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from ray.tune.experiment import Trial

from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.nn.devices import pick_precision
from sentiment.nn.matmul import precision_name
from sentiment.tracking.dataset_input import dataset_input
from sentiment.tracking.store import open_store
from sentiment.training.prepared_data import prepare
from sweeps.console.live_view import Silent
from sweeps.console.progress import Progress
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.local_ray import local_ray, start_ahead
from sweeps.execution.resources import Workers
from sweeps.execution.tuner import run_trials, without_texts
from sweeps.search.list_searcher import ListSearcher
from sweeps.search.rungs import plan_rungs
from sweeps.search.schedulers import make_scheduler
from sweeps.tracking.sweep_run import SweepState
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker


def main(argv: list[str] | None = None) -> None:
    """Run the sweep, and write what came of it as JSON."""
    parser = cli.Parser(
        prog="python -m benchmarks.fixed_sweep",
        description="Run a sweep of given configurations by our means; see benchmarks.sweep.",
    )
    parser.add_argument("plan", type=Path, help="JSON, written by benchmarks.sweep")
    parser.add_argument("result", type=Path, help="JSON to write")
    parser.add_argument("--scheduler", default="fifo", help="asha or fifo")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    args = parser.parse_args(argv)
    plan = json.loads(args.plan.read_text(encoding="utf-8"))
    # As the command does, but that its imports are made already.
    start_ahead(len(plan["configurations"]), 1, 0.0, plan["workers"])
    result = sweep(plan, args.result.parent, args.scheduler, args.precision)
    args.result.write_text(json.dumps(result), encoding="utf-8")


class _Clock(TrackingCallback):
    """Keeps when trials started and ended."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.times: list[float] = []

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.times.append(time.time())
        super().on_trial_start(iteration, trials, trial, **info)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        super().on_trial_complete(iteration, trials, trial, **info)
        self.times.append(time.time())


def sweep(plan: dict[str, Any], folder: Path, scheduler: str, precision: str) -> dict[str, Any]:
    """Train the plan's configurations, and return when they were and how well they did."""
    data = DataConfig(data=plan["reviews"], split_column="split")
    configs = [Config.from_flat({**c, "precision": precision}) for c in plan["configurations"]]
    prepared = prepare(data, configs)
    dataset = prepared.dataset
    reviews = len(dataset.splits["train"].texts)
    rungs = plan_rungs(configs[0].training.epochs, reviews)
    halving = scheduler == "asha"
    evaluations = rungs.evaluations if halving else {"evaluations_per_epoch": 1.0}
    workers = Workers(plan["workers"], 1, 0.0)
    dtype = pick_precision(configs[0].training.precision, torch.device("cpu"))
    client, experiment = open_store(f"sqlite:///{folder.absolute()}/mlflow.db")
    tracker = SweepTracker.start(
        client,
        experiment,
        "fixed",
        objective="valid/accuracy",
        parameters={"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint},
        precision=precision_name(dtype),
        space_yaml="{}",
        inputs=[dataset_input(dataset, data)],
        folder=folder,
    )
    attempts = RetryTracker(Storage(folder / "ray" / "trial"))
    progress = Progress(len(configs), workers.count, "valid/accuracy")
    clock = _Clock(
        tracker,
        progress,
        Silent(),
        notify=print,
        attempts=attempts,
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
    )
    state: SweepState = "interrupted"
    try:
        with local_ray(workers, 0):
            run_trials(
                ListSearcher(
                    {number: config.replace(**evaluations) for number, config in enumerate(configs)}
                ),
                make_scheduler(scheduler, rungs, "valid/accuracy"),
                prepared=without_texts(prepared),
                workers=workers,
                callback=clock,
                storage=attempts.storage,
            )
        state = "finished"
    finally:
        tracker.end(state)
    trials = [progress.trials[number] for number in range(len(configs))]
    failed = [trial.error for trial in trials if trial.outcome == "failed"]
    if failed:
        raise RuntimeError(f"{len(failed)} trials failed: {failed[0]}")
    return {
        "first": min(clock.times),
        "last": max(clock.times),
        "accuracies": [trial.best["valid/accuracy"] for trial in trials],
        "reviews": [trial.best["examples"] for trial in trials],
        "seconds": [trial.seconds for trial in trials],
        "trained": [dict(trial.settings) for trial in trials],
    }


if __name__ == "__main__":
    cli.run(main)
