"""The Ray that a sweep starts, and one of the caller's that it must leave alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sentiment.errors import InputError
from sweeps.config import SweepSettings
from sweeps.errors import SweepError
from sweeps.execution import local_ray as module
from sweeps.execution.local_ray import LocalRay, check_no_other, end_ahead, local_ray, start_ahead
from sweeps.execution.ray_cluster import joined_ray
from sweeps.execution.resources import Workers
from sweeps.pipeline.checks import check
from sweeps.terminal import LOG_WIDTH

# isort: split
import ray
from ray.tune.execution import class_cache
from rich.console import Console

ONE = Workers(count=1, cpus=1, gpus=0.0)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_GPUS", ())
    yield
    end_ahead()
    check_no_other()
    assert LocalRay.running is None


def commands_of_children() -> str:
    lines = []
    for process in psutil.Process().children(recursive=True):
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return "\n".join(lines)


def test_ray_has_a_token_of_its_own_that_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    # No home that could be written, for root either.
    monkeypatch.setenv("HOME", "/dev/null")
    folder = Path("/tmp") / f"ray-test-{os.getpid()}"
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    with local_ray(ONE, 0):
        token = os.environ["RAY_AUTH_TOKEN"]
        assert re.fullmatch("[0-9a-f]{64}", token)
        seen = ray.remote(lambda: os.environ["RAY_AUTH_TOKEN"])
        assert ray.get(seen.remote()) == token
        commands = commands_of_children()
        assert "raylet" in commands
        assert token not in commands
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert any(path.name == "raylet.out" for path in files)
        assert not any(token.encode() in path.read_bytes() for path in files)
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert not ray.is_initialized()


def test_a_callers_ray_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        message = "call ray.shutdown\\(\\) before"
        with pytest.raises(InputError, match=message):
            check(SweepSettings(trials=1), Console(width=LOG_WIDTH))
        for started in (local_ray(ONE, 0), joined_ray("auto")):
            with pytest.raises(InputError, match=message), started:
                pass
        assert ray.get(ray.remote(lambda: 7).remote()) == 7
        assert list(tmp_path.iterdir()) == []
    finally:
        ray.shutdown()


def test_ray_that_was_started_ahead_has_its_workers_ready() -> None:
    start_ahead(4, cpus_per_trial=None, gpus_per_trial=None, concurrency=1)
    ahead = LocalRay.running
    assert ahead is not None
    with local_ray(ONE, 0) as own:
        assert own is ahead
        time.sleep(4)
        # As Ray Tune makes the actor of a trial.
        actor = class_cache._ActorClassCache().get(Imported).remote()
        imported, born = ray.get(actor.what.remote())
        assert imported
        assert time.time() - born > 3
    assert not ray.is_initialized()
    assert class_cache.DEFAULT_ENV_VARS


class Imported:
    """A trial that says what its process had imported before, and when that began."""

    def what(self) -> tuple[bool, float]:
        return "sweeps.trials.trainable" in sys.modules, psutil.Process().create_time()


def test_ray_with_other_room_than_was_started_ahead_is_started_anew() -> None:
    start_ahead(4, cpus_per_trial=None, gpus_per_trial=None, concurrency=1)
    ahead = LocalRay.running
    with local_ray(Workers(count=3, cpus=2, gpus=0.0), 0) as own:
        assert own is not ahead
        assert ray.cluster_resources()["CPU"] == 6


def test_nothing_starts_ahead_where_it_can_not_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    start_ahead(4, cpus_per_trial=None, gpus_per_trial=None, concurrency=10_000)
    assert LocalRay.running is None
    monkeypatch.setattr(module, "_GPUS", (__file__,))
    start_ahead(4, cpus_per_trial=None, gpus_per_trial=None, concurrency=1)
    assert LocalRay.running is None


def test_ray_ends_beside_what_follows() -> None:
    with local_ray(ONE, 0) as own:
        own.end()
    check_no_other()  # waits for it
    assert not ray.is_initialized()
    assert "raylet" not in commands_of_children()


def test_what_ray_does_not_start_with_is_raised_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**options: object) -> None:
        raise OSError("no.\nmore")

    monkeypatch.setattr(module, "_init_on_loopback", fail)
    start_ahead(4, cpus_per_trial=None, gpus_per_trial=None, concurrency=1)
    with pytest.raises(SweepError, match=r"Ray does not start: no$"), local_ray(ONE, 0):
        pass


KILLED = """
import time
from sweeps.execution.local_ray import LocalRay, start_ahead
start_ahead(4, None, None, 1)
LocalRay.running.wait()
print("up", flush=True)
time.sleep(100)
"""


def test_rays_processes_end_with_this_one_however_it_ends() -> None:
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        children = psutil.Process(process.pid).children()
        assert {"raylet", "gcs_server"} <= {child.name() for child in children}
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


FREES = """
import time
from sweeps.execution.local_ray import LocalRay
from sweeps.execution.resources import Workers
import ray
own = LocalRay(Workers(1, 1, 0.0), gpus=0)
own.wait()
references = [ray.put(number) for number in range(20_000)]
own.end()
while own._thread.is_alive():
    references.pop()
    time.sleep(0.0005)
own.join()
print("ended", len(references) < 20_000)
"""


def test_references_may_be_freed_while_ray_ends_beside() -> None:
    done = subprocess.run([sys.executable, "-c", FREES], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended True\n"), done.stderr


def test_a_ray_that_a_sweep_uses_is_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = r"call ray.shutdown\(\) before"
    with local_ray(ONE, 0):
        for other in (local_ray(ONE, 0), joined_ray("auto")):
            with pytest.raises(InputError, match=message), other:
                pass
        with pytest.raises(InputError, match=message):
            check(SweepSettings(trials=1), Console(width=LOG_WIDTH))
        assert ray.get(ray.remote(lambda: 7).remote()) == 7


@pytest.mark.parametrize(("cores", "trials", "ready"), [(2, 1, 0), (2, 2, 2), (1, 2, 0)])
def test_workers_are_made_ready_where_each_has_a_trial_and_a_core(
    cores: int, trials: int, ready: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.execution.local_ray.available_cores", lambda: cores)
    with local_ray(Workers(count=2, cpus=1, gpus=0.0), 0, trials) as own:
        assert own._preloaded == own._ready_workers == ready
