"""Work in other processes ends as it would in this one, also when something dies."""

from __future__ import annotations

import operator
import os
import time

import psutil
import pytest

from sentiment.io.processes import available_cores, in_processes


def children() -> list[psutil.Process]:
    """Other than the tracker of multiprocessing's resources, which stays."""
    return [
        process
        for process in psutil.Process().children()
        if not any("resource_tracker" in part for part in process.cmdline())
    ]


def test_every_task_is_done_once() -> None:
    results = dict(in_processes(pow, [(number, 2) for number in range(50)], workers=3))
    assert results == {number: number**2 for number in range(50)}
    assert children() == []
    assert list(in_processes(pow, [], workers=2)) == []


def test_large_tasks_and_results() -> None:
    large = bytes(3_000_000)
    results = dict(in_processes(operator.add, [(large, b"1"), (large, b"22")] * 3, workers=2))
    assert [len(results[index]) for index in range(6)] == [3_000_001, 3_000_002] * 3


def test_an_error_is_the_callers_and_ends_the_others() -> None:
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError) as caught:
        list(in_processes(eval, [("1 / 0",), ("__import__('time').sleep(60)",)], workers=2))
    assert "Traceback" in caught.value.__notes__[0]  # the worker's
    assert time.monotonic() - started < 30
    assert children() == []


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_a_worker_that_is_killed_is_an_error(size: int) -> None:
    """Whether or not there is more to send to it."""
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    tasks = [(kill, {"ballast": bytes(size)})] * 4
    with pytest.raises(RuntimeError, match="a worker process was killed"):
        list(in_processes(eval, tasks, workers=2))
    assert children() == []


def test_a_caller_that_stops_listening_ends_them() -> None:
    results = in_processes(pow, [(2, 3)] * 10, workers=2)
    assert next(results)[1] == 8
    results.close()  # type: ignore[attr-defined]
    assert children() == []


def test_cores_are_those_this_process_may_use() -> None:
    assert available_cores() == len(os.sched_getaffinity(0))
