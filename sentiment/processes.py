"""Work spread over fresh processes that never run the caller's script again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
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

    `function` stands at the top of a module other than the script that runs. When the caller
    is interrupted or a task fails, the processes are ended at once, and they never outlive it.
    """
    others = {process.pid for process in multiprocessing.active_children()}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), context, _follow_parent) as pool:
        try:
            with _main_hidden():
                indexes = {pool.submit(function, *task): i for i, task in enumerate(tasks)}
            for future in as_completed(indexes):
                yield indexes[future], future.result()
        except BaseException:
            for process in multiprocessing.active_children():
                if process.pid not in others:
                    process.terminate()
            raise


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


def _follow_parent() -> None:
    """Die silently at an interrupt, and when the parent is gone, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
