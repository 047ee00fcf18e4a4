"""Control-C and SIGTERM: the first ends a sweep in good order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit status of a command that was interrupted."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Interrupts:
    """The interrupts that reached this process, and how deep its handlers are nested."""

    count = 0
    depth = 0
    deferrals = 0


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first Control-C or SIGTERM, end the process at the second.

    What a process that ends at once leaves open, the next command closes. Signals reach the main
    thread alone; elsewhere nothing changes.
    """
    with _handled():
        yield


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Ignore a first interrupt: what runs in here ends soon, and must not stop half done."""
    _Interrupts.deferrals += 1
    try:
        with _handled():
            yield
    finally:
        _Interrupts.deferrals -= 1


@contextmanager
def _handled() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _Interrupts.depth:
        _Interrupts.count = 0
    _Interrupts.depth += 1
    # A handler of its own, as processes started meanwhile would inherit SIG_IGN.
    before = {number: signal.signal(number, _handle) for number in _SIGNALS}
    try:
        yield
    finally:
        _Interrupts.depth -= 1
        for number, handler in before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _handle(number: int, frame: FrameType | None) -> None:
    _Interrupts.count += 1
    if _Interrupts.count > 1:
        os.write(2, b"\ninterrupted twice: ended at once\n")
        os._exit(INTERRUPTED)
    if not _Interrupts.deferrals:
        raise KeyboardInterrupt
