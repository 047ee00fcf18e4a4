"""One thread that writes to the store, in order and in batches.

A store on SQLite takes one writer at a time, so a sweep has one: its driver hands over what
happened and goes on at once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from sentiment.record import log_batch

_BUSY = "TEMPORARILY_UNAVAILABLE"
_PAUSE = 1.0  # seconds before the second try; doubled for each further one
_LONGEST_PAUSE = 8.0


class RecordError(RuntimeError):
    """What happened could not be written to the store."""


@dataclass(frozen=True)
class _Metrics:
    run_id: str
    metrics: list[Metric]


@dataclass(frozen=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any]


class _End:
    """Nothing comes after it."""


class BatchWriter:
    """Writes what it is handed, in the order of the handing over.

    Metrics wait up to `interval` seconds for others of their run and go as one batch. The first
    failure ends the writing: it is raised by the next call of any method, and every one after.

    Its methods may be called from any thread.

    Args:
        client: client of the store.
        interval: seconds between two batches.
    """

    def __init__(self, client: MlflowClient, interval: float = 1.0) -> None:
        self._client = client
        self._interval = interval
        self._items: queue.SimpleQueue[_Metrics | _Call | _End] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    def metrics(self, run_id: str, metrics: list[Metric]) -> None:
        """Hand over metrics of a run.

        Raises:
            RecordError: earlier writing failed.
        """
        self._hand_over(_Metrics(run_id, metrics))

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Hand over a call, made once all that was handed over before is written.

        Raises:
            RecordError: earlier writing failed.
        """
        future: Future[Any] = Future()
        self._hand_over(_Call(function, future))
        return future

    def flush(self) -> None:
        """Wait until all that was handed over is written.

        Raises:
            RecordError: it could not be.
        """
        self.call(lambda: None).result()

    def close(self) -> None:
        """Write what is left and end the thread; a second call does nothing.

        Raises:
            RecordError: it could not be written.
        """
        if not self._closed:
            self._closed = True
            self._items.put(_End())
            self._thread.join()
        self._raise_failure()

    def _hand_over(self, item: _Metrics | _Call) -> None:
        self._raise_failure()
        if self._closed:
            raise RecordError("the record is closed")
        self._items.put(item)

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise _failure(self._error)

    def _run(self) -> None:
        last: _Call | _End | None = None
        while not isinstance(last, _End):
            batches, last = self._gather()
            for run_id, metrics in batches.items():
                self._try(partial(log_batch, self._client, run_id, metrics=metrics))
            if isinstance(last, _Call):
                result = self._try(last.function)
                if self._error is None:
                    last.future.set_result(result)
                else:
                    last.future.set_exception(_failure(self._error))

    def _gather(self) -> tuple[dict[str, list[Metric]], _Call | _End | None]:
        """Collect metrics by run for an interval, or up to something that must not wait."""
        batches: dict[str, list[Metric]] = {}
        item = self._items.get()
        deadline = time.monotonic() + self._interval
        while isinstance(item, _Metrics):
            batches.setdefault(item.run_id, []).extend(item.metrics)
            left = deadline - time.monotonic()
            if left <= 0:
                return batches, None
            try:
                item = self._items.get(timeout=left)
            except queue.Empty:
                return batches, None
        return batches, item

    def _try(self, function: Callable[[], Any]) -> Any:
        """Call it, unless something failed before; a busy store, such as a locked file, again."""
        pause = _PAUSE
        while self._error is None:
            try:
                return function()
            except Exception as error:  # noqa: BLE001 - kept, and raised to whoever calls next
                busy = isinstance(error, MlflowException) and error.error_code == _BUSY
                if not busy or pause > _LONGEST_PAUSE:
                    self._error = error
                    return None
            time.sleep(pause)
            pause *= 2
        return None


def _failure(cause: Exception) -> RecordError:
    error = RecordError(f"the record can't be written: {cause}")
    error.__cause__ = cause
    return error
