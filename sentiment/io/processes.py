"""Work spread over fresh processes that never run the caller's script again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(
    function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Any]]:
    """Yield (index of the task, `function(*task)`) as they end, computed by other processes.

    When the caller is interrupted or a task fails, the processes are ended at once, and they
    never outlive it. (`ProcessPoolExecutor` can hang for ever when a worker dies while a large
    task is being sent to it.)

    Args:
        function: defined at the top level of a module other than the script that runs.
        tasks: its arguments.
        workers: processes, at most.

    Raises:
        RuntimeError: a process was killed.
        Exception: what `function` raised.
    """
    waiting = iter(enumerate(tasks))
    pool: dict[Connection, BaseProcess] = {}
    running: dict[Connection, int] = {}

    def give(connection: Connection) -> None:
        for index, task in waiting:
            with _alive():
                connection.send(task)
            running[connection] = index
            return

    try:
        _start(function, min(workers, len(tasks)), pool)
        for connection in pool:
            give(connection)
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                index = running.pop(ready)
                with _alive():
                    result, error = ready.recv()
                if error is not None:
                    raise error
                give(ready)
                yield index, result
    finally:
        for connection, process in pool.items():
            connection.close()
            process.terminate()
        for process in pool.values():
            process.join()


def _start(function: Callable[..., Any], workers: int, pool: dict[Connection, BaseProcess]) -> None:
    context = multiprocessing.get_context("spawn")
    with _main_hidden():
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, function), daemon=True)
            process.start()
            pool[ours] = process
            # The other end is the worker's alone, so that its death ends the connection.
            theirs.close()


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise RuntimeError(
            "a worker process was killed; perhaps the memory does not suffice"
        ) from error


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    # An interrupt reaches the whole group of processes; the parent alone reports it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the caller wants no more
        while True:
            task = connection.recv()
            connection.send(_outcome(function, task))


def _outcome(function: Callable[..., Any], task: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*task), None
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        error.add_note(traceback.format_exc())
        return None, error


def _follow_parent() -> None:
    """End this process when the parent has ended, however that was."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep processes started meanwhile from importing the main module.

    They would run a script that has no `if __name__ == "__main__"` a second time, and load
    whatever a command imports.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
