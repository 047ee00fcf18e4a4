"""A disk of 50 MB that fills up: the error is the real one, of a file system in memory.

It is mounted in a mount namespace of the test's own process, so nothing else sees it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentiment.io.disk_errors import full_disk

MOUNT = 'mount -t tmpfs -o size=50m tmpfs "$1" && cd "$1" && shift && exec "$@"'

PRELUDE = """
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sentiment.io.disk_errors import full_disk

here = Path.cwd()

def fill(leave):
    "Take all room but so many bytes."
    with open("ballast", "wb") as file:
        file.write(bytes(shutil.disk_usage(here).free - leave))

def files():
    return sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
"""


def on_a_small_disk(folder: Path, code: str) -> str:
    """Run code in a folder that is a disk of 50 MB; return what it prints."""
    folder.mkdir()
    namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh"]
    try:
        allowed = subprocess.run(
            [*namespace, str(folder), "true"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no `unshare` on this machine, which mounts the small disk")
    if allowed.returncode:
        pytest.skip(f"a disk can't be mounted here: {allowed.stderr.strip()}")
    done = subprocess.run(
        [*namespace, str(folder), sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_caches_and_checkpoints(tmp_path: Path) -> None:
    on_a_small_disk(
        tmp_path / "disk",
        """
        import torch
        from safetensors.torch import save_file
        from sentiment.inference.bundle import Bundle
        from sentiment.io.cache import cached, is_cached
        from sentiment.config import Config
        from sentiment.nn.classifier import Classifier
        from sentiment.data.vocabulary import SPECIALS, Vocabulary

        os.environ["SENTIMENT_CACHE"] = str(here / "cache")
        words = (*SPECIALS, *(f"word{n}" for n in range(20_000)))
        config = Config.from_flat({"hidden_dim": 4, "tokenizer": "whitespace"})
        model = Classifier(config.model, len(words), 300, 2)
        bundle = Bundle(config, Vocabulary(words), ("neg", "pos"), model.state_dict())

        def build(folder):
            (folder / "first").write_text("whole")
            np.save(folder / "vectors.npy", np.ones((1000, 1000), np.float32))

        fill(leave=2_000_000)
        for work in (lambda: bundle.save("model"), lambda: cached("kind", "one", build)):
            with pytest.raises(Exception) as told:
                work()
            assert full_disk(told.value).startswith("the disk is full"), repr(told.value)
            assert files() == ["ballast"]

        fill(leave=40_000_000)
        bundle.save("model")
        fill(leave=2_000_000)
        # A model that is there already stays what it is.
        with pytest.raises(Exception):
            bundle.save("model")
        assert Bundle.load("model").vocabulary == bundle.vocabulary

        os.remove("ballast")
        assert (cached("kind", "one", build) / "first").read_text() == "whole"
        assert is_cached("kind", "one")
        """,
    )


def test_record_of_a_sweep(tmp_path: Path) -> None:
    told = on_a_small_disk(
        tmp_path / "disk",
        """
        from sentiment.config import Config
        from sentiment.tracking.store import open_store
        from sentiment.tracking.runs import run_parameters
        from sweeps.tracking.outbox import RecordError
        from sweeps.pipeline.resume import deliver_left
        from sweeps.tracking.tracker import SweepTracker

        client, experiment = open_store(f"sqlite:///{here}/mlflow.db")
        folder = Path(".sweeps", "night")
        tracker = SweepTracker.start(
            client, experiment, "night", objective="valid/accuracy", parameters={},
            precision="float32", space_yaml="{}", folder=folder,
        )
        tracker.start_trial(0, run_parameters(Config(), "toy", "f00"), "x")
        tracker.flush()
        fill(leave=0)
        reached = 0
        try:
            for step in range(100_000):
                tracker.trial(0).log_evaluation(step, {"valid/accuracy": 0.5})
                reached = step
                if step % 100 == 0:
                    tracker.flush()
        except RecordError as error:
            print(error)
        try:
            tracker.end("interrupted")
        except RecordError:
            pass
        os.remove("ballast")
        run = client.get_run(tracker.run_id)
        deliver_left(client, run, folder)
        children = f"tags.`mlflow.parentRunId` = '{tracker.run_id}'"
        (trial,) = client.search_runs([experiment], children)
        history = client.get_metric_history(trial.info.run_id, "valid/accuracy")
        steps = sorted(metric.step for metric in history)
        # What was taken is there, once; the one at which the disk was full need not be.
        assert steps in (list(range(reached + 1)), list(range(reached + 2))), (reached, steps[-3:])
        """,
    )
    assert "No space left on device" in told or "the disk is full" in told


def test_command_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    on_a_small_disk(
        tmp_path / "disk",
        """
        import subprocess, sys

        def prepare():
            command = [sys.executable, "-m", "sentiment.prepare", "--dataset", "rotten-tomatoes"]
            return subprocess.run(
                command, env={**os.environ, "SENTIMENT_CACHE": str(here / "cache")},
                capture_output=True, text=True, check=False,
            )

        fill(leave=100_000)
        done = prepare()
        assert done.returncode == 1, done
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
        assert "the disk is full" in line and "free some room" in line, done.stderr
        assert files() == ["ballast"]
        os.remove("ballast")
        assert prepare().returncode == 0
        """,
    )


def test_other_errors_are_none_of_a_full_disk() -> None:
    assert full_disk(ValueError("no space between words")) is None
    wrapped = RuntimeError("the trial failed")
    wrapped.__cause__ = OSError(28, "No space left on device", "model.bin")
    assert full_disk(wrapped) == "the disk is full: model.bin can't be written"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder to mount a disk at, with a path that is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        yield Path(parent, "disk")


def test_room_for_ray_is_looked_for_before_anything_is_recorded(short_folder: Path) -> None:
    shown = on_a_small_disk(
        short_folder,
        """
        import contextlib, io
        from sweeps.launch import main

        os.environ["RAY_TMPDIR"] = str(here)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            assert main(["--dataset", "rotten-tomatoes", "--trials", "1"]) == 1
        assert files() == []
        print(errors.getvalue())
        """,
    )
    assert shown.startswith(
        f"error: the disk is full: Ray needs 67 MB in {short_folder}, which has"
    )
    assert "set RAY_TMPDIR to a folder on another disk" in shown


@pytest.mark.slow
def test_data_that_fits_neither_into_memory_nor_on_the_disk(short_folder: Path) -> None:
    on_a_small_disk(
        short_folder,
        """
        import subprocess
        from sweeps.errors import SweepError
        from sweeps.execution.resources import Workers
        from sweeps.execution.local_ray import local_ray
        from sweeps.execution import ray_directory
        import ray

        ray_directory.NEEDED = 2**20
        os.environ["RAY_TMPDIR"] = str(here)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", "/dev/shm"], check=True)
        with pytest.raises(SweepError, match="the disk is full: the data of the trials fits"):
            with local_ray(Workers(1, 1, 0.0), 0):
                ray.put(np.ones(20_000_000))
        """,
    )
