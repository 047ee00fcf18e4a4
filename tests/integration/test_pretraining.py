"""Pretraining by the commands: a kill in the middle, and a sweep whose trials start from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from real_sweep import command
from safetensors.numpy import load_file

SETTINGS = [
    *("pretraining=lm", "embedding=word2vec", "embedding_dim=16", "cell=gru", "hidden_dim=16"),
    *("bidirectional=false", "epochs=0.5"),
]
TRAIN = """
import sys
from sentiment import cli, train
from sentiment.pretraining import lm_training

lm_training.SAVE_SECONDS = 0.2
cli.run(train.main)
"""
SPACE = """
cell: gru
hidden_dim: {choice: [8, 16]}
bidirectional: {choice: [false, true]}
embedding: word2vec
embedding_dim: 16
pretraining: {choice: [none, lm], when: {hidden_dim: 16}}
pretraining_epochs: 0.2
learning_rate: {float: [1e-3, 1e-2], log: true}
"""


@pytest.mark.slow
def test_a_killed_pretraining_continues_as_if_nothing_had_happened(tmp_path: Path) -> None:
    texts = tmp_path / "own.csv"
    random = np.random.default_rng(0)
    rows = [
        f"{' '.join(f'w{word}' for word in random.integers(3000, size=12))},{number % 2}"
        for number in range(3_000)
    ]
    texts.write_text("\n".join(["text,label", *rows]))
    arguments = ["--data", str(texts), "--set", *SETTINGS, "pretraining_epochs=8"]
    found = []
    for name, killed in (("killed", True), ("whole", False)):
        folder = tmp_path / name
        folder.mkdir()
        environment = {**os.environ, "SENTIMENT_CACHE": str(folder / "cache")}
        environment.pop("MLFLOW_TRACKING_URI", None)
        # The language model is trained in this process where the texts are few.
        start = [sys.executable, "-c", TRAIN, *arguments]
        if killed:
            process = subprocess.Popen(start, cwd=folder, env=environment, start_new_session=True)
            states = folder / "cache" / "language-model-partial"
            until = time.monotonic() + 120
            while not list(states.glob("*/step-*/manifest.json")) and time.monotonic() < until:
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            (state,) = states.glob("*/step-*/state.json")
            assert 0 < json.loads(state.read_text())["step"] < 1_000
        done = subprocess.run(start, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not list(folder.glob("cache/language-model-partial/*"))
        (model,) = folder.glob("cache/language-model/*/model.safetensors")
        found.append(load_file(model))
    for name, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][name], err_msg=name)


@pytest.mark.slow
def test_a_sweep_records_its_language_models_and_trials_name_them(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = ["--dataset", "rotten-tomatoes", "--label-share", "0.1", "--space", "space.yaml"]
    search = ["--trials", "6", "--max-epochs", "1", "--sampler", "random", "--no-baseline"]
    arguments += [*search, "--finalists", "1", "--final-epochs", "1", "--name", "pre"]
    plan = command("sweeps.launch", *arguments, "--dry-run", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert "pretraining: 3 language models on 5,970 texts, not yet in the cache" in plan.stdout
    done = command("sweeps.launch", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs(["1"])
    by_role: dict[str, list] = {}
    for run in runs:
        by_role.setdefault(run.data.tags["sweep.role"], []).append(run)
    models = {run.data.tags["sweep.pretraining"]: run for run in by_role["pretraining"]}
    assert len(models) == 3
    for run in models.values():
        assert 10 < run.data.metrics["pretraining/perplexity"] < 20_000
        assert run.info.status == "FINISHED"
    started = [
        run
        for role in ("trial", "finalist", "refit")
        for run in by_role[role]
        if run.data.params["pretraining"] == "lm"
    ]
    assert started
    for run in started:
        names = run.data.tags["sweep.pretraining"].split(", ")
        assert len(names) == 1 + (run.data.params["bidirectional"] == "true")
        assert set(names) <= set(models)
    plain = [run for run in by_role["trial"] if run.data.params["pretraining"] == "none"]
    assert plain
    assert all("sweep.pretraining" not in run.data.tags for run in plain)
    again = command("sweeps.launch", *arguments[:-2], "--dry-run", cwd=tmp_path)
    assert "pretraining: 3 language models, all in the cache" in again.stdout
