"""The Ray that a sweep starts, and one of the caller's that it must leave alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil
import pytest

from sentiment.errors import InputError
from sweeps.config import SweepSettings
from sweeps.execution.ray_cluster import joined_ray, local_ray
from sweeps.execution.resources import Workers
from sweeps.pipeline.checks import check
from sweeps.terminal import LOG_WIDTH

# isort: split
import ray
from rich.console import Console

ONE = Workers(count=1, cpus=1, gpus=0.0)


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
