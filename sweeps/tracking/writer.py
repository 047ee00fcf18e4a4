"""Background writer: batches records, retries until the tracking store is available.

A store on SQLite takes one writer at a time, so a sweep has one: its driver hands over what
happened and continues at once. What is handed over is kept in the outbox until the store has it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sweeps.tracking.backoff import RetriedRequests
from sweeps.tracking.delivery_thread import DeliveryThread
from sweeps.tracking.mlflow_sink import MlflowSink
from sweeps.tracking.outbox import Kind, Outbox, RecordError
from sweeps.tracking.store_health import StoreHealth

FLUSH_TIMEOUT = 60.0
"""Seconds to wait for a store that does not answer, for a result or at the end of a sweep."""
INTERRUPT_TIMEOUT = 10.0
"""The same at the end of a sweep that the user has interrupted."""
POLL_INTERVAL = 0.2
"""Seconds between two looks at how the delivery thread gets on."""

T = TypeVar("T")


class BatchWriter:
    """Writes what it is handed, of each run in the order of the handing over.

    Metrics, parameters and tags wait up to `interval` seconds for others of their run and go as
    one batch; longer where the batches themselves take long. After a transient error all is kept
    and tried again, at growing intervals and when the server asks for it. Any other failure ends
    the writing: it is raised by the next call of any method, and every one after.

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        sink: MlflowSink,
        outbox: Outbox,
        *,
        interval: float = 1.0,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        """Start writing, with the entries that the outbox has from before.

        Args:
            sink: writes entries to the store.
            outbox: keeps them until then; closed with the writer.
            interval: seconds between two batches.
            notify: called with a line when the store stops answering, and when it answers again.
        """
        uri: str = sink.client.tracking_uri
        self._sink = sink
        self._outbox = outbox
        self._health = StoreHealth(uri, outbox.path, notify)
        attempt = RetriedRequests(uri, self._health, outbox.sync)
        self._delivery = DeliveryThread(sink, outbox, attempt, interval)
        self._order = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    def write(self, kind: Kind, key: int | str | None, content: dict[str, Any]) -> None:
        """Hand over an entry: what happened to a trial, or to the sweep (None).

        Raises:
            RecordError: it can't be kept, or earlier writing failed.
        """
        self._check()
        with self._order:
            self._delivery.put(self._outbox.append(kind, key, content))

    def keep_model(self, bundle: Path, key: int | str) -> str:
        """Keep a bundle for an entry, and return its name among those kept.

        Raises:
            RecordError: it can't be kept, or earlier writing failed.
        """
        self._check()
        return self._outbox.keep_model(bundle, key)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function once all that was handed over before is written; return its result.

        It is called again after a transient error, so it must be such that twice counts once.

        Args:
            function: asks something of the store.

        Raises:
            UndeliveredError: the store did not answer in time.
            RecordError: earlier writing failed.
        """
        self._delivery.raise_failure()
        if self._closed:
            return function()  # all is written, and nothing is queued before it
        future = self._delivery.call(function)
        asked = time.monotonic()
        while True:
            try:
                return future.result(timeout=POLL_INTERVAL)
            except TimeoutError:
                if future.done():
                    raise
                if self._health.unavailable_for(FLUSH_TIMEOUT, asked):
                    raise self._health.undelivered() from None

    def flush(self) -> None:
        """Wait until all that was handed over is written.

        Raises:
            UndeliveredError: the store does not answer.
            RecordError: it could not be written.
        """
        self.call(self._sink.delete_duplicates)

    def close(self, interrupted: bool = False) -> None:
        """Write what is left and end the thread; a second call does nothing.

        Args:
            interrupted: leave to the outbox what isn't written within `INTERRUPT_TIMEOUT`.

        Raises:
            UndeliveredError: the store does not answer.
            RecordError: it could not be written.
        """
        if not self._closed:
            self._closed = True
            self._delivery.finish()
            self._join_delivery(INTERRUPT_TIMEOUT if interrupted else FLUSH_TIMEOUT, interrupted)
            undelivered = self._outbox.waiting
            if undelivered:
                self._outbox.sync()
            if undelivered and self._delivery.failure is None:
                self._delivery.failure = self._health.undelivered()
            self._outbox.close()
        self._delivery.raise_failure()

    def _join_delivery(self, timeout: float, interrupted: bool) -> None:
        asked = time.monotonic()
        while not self._delivery.join(POLL_INTERVAL):
            hangs = interrupted and self._health.busy_for(timeout, asked)
            if hangs or self._health.unavailable_for(timeout, asked):
                self._delivery.give_up()
                # A request that hangs holds the thread; its answer is of no more use.
                self._delivery.join(1.0)
                return

    def _check(self) -> None:
        self._delivery.raise_failure()
        if self._closed:
            raise RecordError("the record is closed")
