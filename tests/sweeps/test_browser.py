"""The record as a person sees it: MLflow's pages in a headless browser."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys

import pytest

from sentiment.config import Config
from sentiment.record import run_parameters
from sentiment.train import describe
from sweeps.tracking import SweepTracker

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
    "--window-size=1600,1000",
)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_pages_show_a_sweep_and_its_trials(store, tmp_path):
    client, experiment = store
    tracker = SweepTracker.start(
        client,
        experiment,
        "a-sweep-to-see",
        objective="valid/accuracy",
        parameters={"dataset": "toy", "dataset_fingerprint": "0" * 64},
        precision="float32",
        space_yaml="cell: lstm\n",
    )
    config = Config.from_flat({"cell": "gru", "hidden_dim": 64, "embedding": "word2vec"})
    parameters = run_parameters(config, "toy", "0" * 64)
    tracker.start_trial(0, parameters, describe(config))
    tracker.trial_metrics(0, 640, {"valid/accuracy": 0.875})
    tracker.end_trial(0, "completed", metrics={"best/valid/accuracy": 0.875}, step=640)
    tracker.end("finished")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pages = subprocess.Popen(
        [
            *(sys.executable, "-m", "sweeps.ui", "--port", str(port)),
            *("--tracking-uri", client.tracking_uri),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert pages.stdout is not None
        address = pages.stdout.readline().split()[0]
        assert str(port) in address
        shown = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}/profile", "--dump-dom", address],
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
    finally:
        pages.send_signal(signal.SIGINT)
        pages.wait(30)
    assert "a-sweep-to-see" in shown
    assert "sentiment" in shown
