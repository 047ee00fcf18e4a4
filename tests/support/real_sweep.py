"""A real sweep of a few trials on real reviews, for the tests that look at what one leaves."""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from sentiment import cli
from sentiment.tracking.relocation import relocate

TRIALS = 6
KEPT = 4
RESULT, OUTPUT = "result.json", "output.txt"
SPACE = """
cell: {choice: [rnn, gru, lstm]}
hidden_dim: {int: [8, 24], log: true}
embedding: {choice: [glove, word2vec]}
optimizer: {choice: [sgd, adam]}
learning_rate: {float: [1e-3, 2e-2], log: true}
momentum: {float: [0.0, 0.9], when: {optimizer: sgd}}
dropout: 0.2
gradient_clip: 0.0
"""


def command(module, *arguments, cwd, **options):
    """Run a command of ours as a user does."""
    elsewhere = {name: v for name, v in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=elsewhere,
        text=True,
        capture_output=True,
        timeout=540,  # of a machine with other work; a test has 600
        **options,
    )


def command_here(module, *arguments, cwd, input=""):
    """Run a command of ours in this process, which has the imports of dozens of them behind it.

    Returns what `command` does: a `subprocess.CompletedProcess`.
    """
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "12")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.chdir(cwd)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(input.encode()), "utf-8"))
        with pytest.raises(SystemExit) as ended:
            cli.run(importlib.import_module(module).main)
    printed = [stream.buffer.getvalue().decode() for stream in (output, errors)]
    return subprocess.CompletedProcess([module, *arguments], ended.value.code, *printed)


def run_sweep(folder):
    """Run a sweep of a few trials in a folder."""
    (folder / "space.yaml").write_text(SPACE)
    arguments = ["--dataset", "rotten-tomatoes", "--trials", str(TRIALS), "--max-epochs", "1.5"]
    arguments += ["--space", "space.yaml", "--name", "first", "--json"]
    arguments += ["--final-seeds", "2", "--keep-models", str(KEPT), "--system-metrics"]
    done = command("sweeps.launch", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / RESULT).write_text(done.stdout)
    (folder / OUTPUT).write_text(done.stderr)


def copy_sweep(made, folder):
    """Copy a sweep's folder to another, whose store knows the new place."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    relocate(folder / "mlflow.db")


def read_sweep(folder):
    """Return what is known of the sweep that was run in a folder."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("sentiment")
    runs = client.search_runs([experiment.experiment_id])
    role = {}
    for run in runs:
        role.setdefault(run.data.tags["sweep.role"], []).append(run)
    (parent,) = role["sweep"]
    trials = sorted(role["trial"], key=lambda run: int(run.data.tags["sweep.trial"]))
    return SimpleNamespace(
        folder=folder,
        output=(folder / OUTPUT).read_text(),
        result=json.loads((folder / RESULT).read_text()),
        client=client,
        parent=parent,
        trials=trials,
        confirmations=sorted(role["confirmation"], key=lambda run: run.info.run_name),
    )
