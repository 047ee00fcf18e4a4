"""Sweeps of which a test writes the record by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment.config import Config
from sentiment.tracking.runs import run_parameters
from sweeps.tracking.tracker import SweepTracker

Store = tuple[MlflowClient, str]


def start(
    store: Store,
    name: str = "first",
    objective: str = "valid/accuracy",
    folder: Path | None = None,
) -> SweepTracker:
    client, experiment_id = store
    return SweepTracker.start(
        client,
        experiment_id,
        name,
        objective=objective,  # type: ignore[arg-type]
        parameters={"trials": "3", "dataset": "imdb-25k", "dataset_fingerprint": "f00"},
        precision="float32",
        space_yaml="cell: {choice: [gru, lstm]}\n",
        folder=folder,
    )


def parameters(**changes: object) -> dict[str, str]:
    return run_parameters(Config.from_flat(changes), "imdb-25k", "f00")


def evaluation(accuracy: float, epoch: float = 0.25) -> dict[str, float]:
    return {"valid/accuracy": accuracy, "valid/loss": 1 - accuracy, "epoch": epoch}


def meanwhile(tracker: SweepTracker, function: Callable[[], Any]) -> None:
    """Keep the writing thread at a function, while the caller continues."""
    threading.Thread(target=tracker.ask, args=(function,), daemon=True).start()
    time.sleep(0.02)  # its turn is before what the caller hands over next


def dead(client: MlflowClient, run: Run) -> Run:
    """Return a run as if the process that writes it were dead."""
    client.set_tag(run.info.run_id, "process.pid", "999999999")
    return client.get_run(run.info.run_id)
