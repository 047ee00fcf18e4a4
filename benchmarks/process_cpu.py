"""CPU seconds of a command and of all processes that come of it, however they are started.

Ray's workers are no children that the command waits for, so the operating system does not add
their time to its own: it is read of each process while that lives.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_INTERVAL_SECONDS = 0.2
"""Between two looks: at most that much of a process's end is missed, and all of a shorter one."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended.

    Attributes:
        status: exit status.
        wall: seconds from its start to its end.
        cpu: user and system seconds of its whole process tree.
        errors: what it wrote to standard error.
    """

    status: int
    wall: float
    cpu: float
    errors: str


def run_measured(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Finished:
    """Run a command in a folder, its output going to files there, and wait for it."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=out, stderr=errors
        )
        tree = _Tree(process.pid)
        peek = os.WEXITED | os.WNOHANG | os.WNOWAIT  # its times can be read until it is waited for
        while os.waitid(os.P_PID, process.pid, peek) is None:
            tree.look()
            time.sleep(_INTERVAL_SECONDS)
        wall = time.perf_counter() - started
        tree.look()
        status = process.wait()
    text = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
    return Finished(status, wall, tree.seconds, text)


class _Tree:
    """The processes seen below a first one; those that lost their parent stay counted."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._living = {self._root}
        self._seconds: dict[psutil.Process, float] = {}

    @property
    def seconds(self) -> float:
        """CPU seconds of all that were seen, each up to the last look at it."""
        return sum(self._seconds.values())

    def look(self) -> None:
        """Read the times of all processes."""
        with contextlib.suppress(psutil.Error):  # the first one has just ended
            self._living |= set(self._root.children(recursive=True))
        for process in list(self._living):
            try:
                times = process.cpu_times()
            except psutil.Error:
                self._living.discard(process)
            else:
                self._seconds[process] = times.user + times.system
