"""The command of a sweep in a process of its own, and how far it has come by its record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.study import Study, load_study

from sentiment.tracking.store import open_store
from sweeps.tracking.queries import TrialRecord, find_sweep, trials_of


def launch(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start `sweeps.launch` in a folder; its result goes to standard output as JSON."""
    command = [sys.executable, "-m", "sweeps.launch", *options, "--quiet", "--json"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


def ended(folder: Path) -> int:
    """Return how many trials have ended by the record."""
    if not (folder / "mlflow.db").exists():
        return 0
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_experiments(filter_string="name = 'sentiment'")
    runs = client.search_runs([each.experiment_id for each in found], "tags.sweep.role = 'trial'")
    return sum("sweep.outcome" in run.data.tags for run in runs)


def recorded(folder: Path, name: str) -> tuple[MlflowClient, Run, list[TrialRecord], Study]:
    """Return what a sweep in a folder has left: client, its run, all its runs, and its study."""
    client, experiment = open_store(f"sqlite:///{folder / 'mlflow.db'}")
    run = find_sweep(client, [experiment], name)
    storage = f"sqlite:///{folder / '.sweeps' / name / 'study.db'}"
    return client, run, trials_of(client, run), load_study(study_name=name, storage=storage)
