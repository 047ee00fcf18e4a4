"""Delivery thread: takes entries from a queue, batches them by run and sends them to the store."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sentiment.io.disk_errors import full_disk
from sentiment.tracking.provenance import redacted
from sweeps.tracking.backoff import RetriedRequests
from sweeps.tracking.mlflow_sink import MlflowSink
from sweeps.tracking.outbox import Entry, Outbox, RecordError

IDLE_RATIO = 4
"""The next batches wait so many times as long as the last ones took: the driver has more to do."""
LONGEST_IDLE = 10.0
"""Seconds that this makes a batch wait at most."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any]


class _End:
    """Nothing comes after it in the queue."""


class DeliveryThread:
    """The one thread that writes to the store.

    Entries go in the order in which they were queued, of each run. Those of the kind `log` wait for
    others of their run and go as one batch. An entry is acknowledged once it and all before it are
    in the store. The first failure that is no transient error ends the delivery.

    Attributes:
        failure: what ended the delivery; None while nothing has.
        interval: seconds between two batches; longer where the batches themselves take long.
    """

    def __init__(
        self, sink: MlflowSink, outbox: Outbox, attempt: RetriedRequests, interval: float
    ) -> None:
        """Start the thread, with the entries that the outbox has from before.

        Args:
            sink: writes entries to the store.
            outbox: has the entries until they are acknowledged.
            attempt: makes the sink's requests.
            interval: seconds between two batches.
        """
        self.failure: Exception | None = None
        self.interval = interval
        self._sink = sink
        self._outbox = outbox
        self._attempt = attempt
        self._queue: queue.SimpleQueue[Entry | _Call | _End] = queue.SimpleQueue()
        self._maybe_delivered = {entry.number for entry in outbox.left}
        for entry in outbox.left:
            self._queue.put(entry)
        # Used by the thread alone: what waits for its batch and until when, how long the last
        # batches took, the newest entries taken and acknowledged, the entries of models that are
        # dropped once they are acknowledged.
        self._pending: dict[int | str | None, list[Entry]] = {}
        self._due = self._sending = 0.0
        self._taken = self._acknowledged = 0
        self._models: list[Entry] = []
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry."""
        self._queue.put(entry)

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Queue a function to be called once all before it is written; return its future result.

        It is called again after a transient error.
        """
        future: Future[T] = Future()
        self._queue.put(_Call(function, future))
        return future

    def finish(self) -> None:
        """Let the thread end once all that is queued is written."""
        self._queue.put(_End())

    def give_up(self) -> None:
        """Let the thread end after the request that is under way."""
        self._attempt.given_up.set()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end, some seconds at most; return whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def raise_failure(self) -> None:
        """Raise what ended the delivery, if something has.

        Raises:
            RecordError: the delivery failed.
        """
        if self.failure is not None:
            raise _record_error(self.failure)

    def _run(self) -> None:
        last: _Call | _End | Entry | None = None
        while not isinstance(last, _End):
            last = self._gather()
            if not isinstance(last, Entry):
                self._send(list(self._pending))
            elif last.key is None:
                # What ends the sweep comes after all of its trials' metrics.
                self._send(list(self._pending))
                self._deliver(last)
            else:
                self._send([last.key])
                self._deliver(last)
            self._acknowledge()
            if isinstance(last, _Call):
                self._answer(last)
        self._try(lambda _: self._attempt(lambda _: self._sink.delete_duplicates()), [])

    def _gather(self) -> _Call | _End | Entry | None:
        """Collect entries of the kind `log` by run until they are due, or another item comes."""
        while True:
            left = self._due - time.monotonic() if self._pending else None
            if left is not None and left <= 0:
                return None
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                return None
            if isinstance(item, Entry):
                self._taken = item.number
            if not isinstance(item, Entry) or item.kind != "log":
                return item
            if not self._pending:
                idle = min(IDLE_RATIO * self._sending, LONGEST_IDLE)
                self._due = time.monotonic() + max(self.interval, idle)
            self._pending.setdefault(item.key, []).append(item)

    def _send(self, keys: Sequence[int | str | None]) -> None:
        """Deliver the pending entries of runs, one batch each."""
        started = time.monotonic()
        batches = {key: self._pending.pop(key) for key in keys if key in self._pending}
        for key, entries in batches.items():
            self._try(partial(self._sink.log, key, entries, attempt=self._attempt), entries)
        if not self._pending and len(batches) > 1:
            self._sending = time.monotonic() - started

    def _deliver(self, entry: Entry) -> None:
        """Deliver an entry of another kind; all that its run logged before is delivered."""
        self._try(partial(self._sink.deliver, entry, attempt=self._attempt), [entry])
        if entry.kind == "model":
            self._models.append(entry)

    def _try(self, deliver: Callable[[bool], None], entries: list[Entry]) -> None:
        """Deliver entries, unless something failed before.

        Args:
            deliver: takes whether the entries may have been delivered before.
            entries: what it delivers.
        """
        if self.failure is not None:
            return
        again = any(entry.number in self._maybe_delivered for entry in entries)
        try:
            deliver(again)
        except Exception as error:  # noqa: BLE001 - kept, and raised to whoever calls next
            self.failure = error

    def _answer(self, call: _Call) -> None:
        """Make a call; what it raises is its caller's, not the record's."""
        try:
            self.raise_failure()
            call.future.set_result(self._attempt(lambda _: call.function()))
        except Exception as error:  # noqa: BLE001 - raised where the result is waited for
            call.future.set_exception(error)

    def _acknowledge(self) -> None:
        """Acknowledge all entries up to the first one that waits for its batch."""
        waiting = [entries[0].number for entries in self._pending.values()]
        number = min(waiting) - 1 if waiting else self._taken
        if self.failure is not None or number <= self._acknowledged:
            return
        try:
            self._outbox.acknowledge(number)
        except RecordError as error:
            self.failure = error
            return
        self._acknowledged = number
        while self._models and self._models[0].number <= number:
            self._outbox.drop_model(self._models.pop(0).content["folder"])


def _record_error(cause: Exception) -> RecordError:
    if isinstance(cause, RecordError):
        return type(cause)(str(cause))
    # SQLAlchemy puts the statement below the first line.
    first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    reason = full_disk(cause) or redacted(first)
    error = RecordError(f"the record can't be written: {reason:.500}")
    error.__cause__ = cause
    return error
