"""One thread that writes to the store, in order and in batches, and outlasts its absence.

A store on SQLite takes one writer at a time, so a sweep has one: its driver hands over what
happened and goes on at once. What is handed over stands in the journal until the store has it.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sentiment.io.disk_errors import full_disk
from sentiment.tracking.http import is_server
from sentiment.tracking.provenance import redacted
from sentiment.wording import duration
from sweeps.tracking.mlflow_sink import MlflowSink
from sweeps.tracking.outbox import Entry, Kind, Outbox, RecordError, UndeliveredError
from sweeps.tracking.transient_errors import retry_after, transient_reason

PATIENCE = 60.0
"""Seconds that a sweep waits at its end for a store that does not answer."""
_PATIENCE_WITH_ANSWERS = 10  # times as long where it answers, but fails at what it is asked
_HURRY = 10.0  # the same, where the user wants to be gone

_PAUSE = 1.0  # seconds before the second try; doubled for each further one
_LONGEST_PAUSE = 30.0
_TICK = 0.2  # seconds between two looks at how the thread gets on
_REST = 4  # times as long as the last batches took, until the next: the driver has more to do
_LONGEST_REST = 10.0

T = TypeVar("T")

# What MLflow would print of a busy database, with a traceback, is told in a line by us.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any]


class _End:
    """Nothing comes after it."""


class BatchWriter:
    """Writes what it is handed, of each run in the order of the handing over.

    Metrics, parameters and tags wait up to `interval` seconds for others of their run and go as
    one batch; longer where the batches themselves take long. While the store does not answer, or
    answers that it can't, all is kept and tried again, with growing pauses and those that the store
    asks for. Any other failure ends the writing: it is raised by the next call of any method, and
    every one after.

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        delivery: MlflowSink,
        journal: Outbox,
        *,
        interval: float = 1.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Start writing, with what the journal has from before.

        Args:
            delivery: how entries get into the store.
            journal: keeps them until then; closed with the writer.
            interval: seconds between two batches.
            say: told in a line when the store stops answering, and when it answers again.
        """
        self._delivery = delivery
        self._journal = journal
        self._interval = interval
        self._say = say or (lambda text: None)
        self._uri: str = delivery.client.tracking_uri
        self._items: queue.SimpleQueue[Entry | _Call | _End] = queue.SimpleQueue()
        self._again = {entry.number for entry in journal.left}
        self._error: Exception | None = None
        self._busy_since: float | None = None
        self._failing_since: float | None = None
        self._down_since: float | None = None
        self._reason = ""
        self._given_up = threading.Event()
        self._closed = False
        for entry in journal.left:
            self._items.put(entry)
        # Of the thread alone: what waits for its batch and until when, how long the last batches
        # took, the newest entry taken and crossed off, models to drop once that is crossed off.
        self._pending: dict[int | str | None, list[Entry]] = {}
        self._due = self._sending = 0.0
        self._taken = self._crossed = 0
        self._models: list[Entry] = []
        self._order = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

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
            self._items.put(self._journal.append(kind, key, content))

    def keep_model(self, bundle: Path, key: int | str) -> str:
        """Keep a bundle for an entry, and return its name among those kept.

        Raises:
            RecordError: it can't be kept, or earlier writing failed.
        """
        self._check()
        return self._journal.keep_model(bundle, key)

    def call(self, function: Callable[[], T], patience: float = PATIENCE) -> T:
        """Call a function once all that was handed over before is written; return its result.

        It is called again after an outage, so it must be such that twice counts once.

        Args:
            function: asks something of the store.
            patience: seconds to wait for a store that does not answer.

        Raises:
            UndeliveredError: the store did not answer in time.
            RecordError: earlier writing failed.
        """
        self._raise_failure()
        if self._closed:
            return function()  # all is written, and nothing waits its turn
        future: Future[T] = Future()
        self._items.put(_Call(function, future))
        asked = time.monotonic()
        while True:
            try:
                return future.result(timeout=_TICK)
            except TimeoutError:
                if future.done():
                    raise
                if self._too_long(asked, patience):
                    raise self._undelivered() from None

    def flush(self) -> None:
        """Wait until all that was handed over is written.

        Raises:
            UndeliveredError: the store does not answer.
            RecordError: it could not be written.
        """
        self.call(self._delivery.delete_duplicates)

    def close(self, hurry: bool = False) -> None:
        """Write what is left and end the thread; a second call does nothing.

        Args:
            hurry: leave to the journal what isn't written within seconds.

        Raises:
            UndeliveredError: the store does not answer.
            RecordError: it could not be written.
        """
        if not self._closed:
            self._closed = True
            self._items.put(_End())
            asked, patience = time.monotonic(), _HURRY if hurry else PATIENCE
            while self._thread.is_alive():
                self._thread.join(_TICK)
                busy = self._busy_since if hurry else None
                hangs = busy is not None and time.monotonic() - max(busy, asked) > patience
                if hangs or self._too_long(asked, patience):
                    self._given_up.set()
                    # A request that hangs holds the thread; its answer is of no more use.
                    self._thread.join(1.0)
                    break
            undelivered = self._journal.waiting
            if undelivered:
                self._journal.sync()
            if undelivered and self._error is None:
                self._error = self._undelivered()
            self._journal.close()
        self._raise_failure()

    def _check(self) -> None:
        self._raise_failure()
        if self._closed:
            raise RecordError("the record is closed")

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise _failure(self._error)

    def _undelivered(self) -> UndeliveredError:
        return UndeliveredError(
            f"the store {redacted(self._uri)} does not answer"
            f"{f' ({self._reason})' if self._reason else ''}; what it has not got yet lies in "
            f"{self._journal.path}"
        )

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
            self._cross_off()
            if isinstance(last, _Call):
                self._answer(last)
        self._try(
            lambda *_: self._outlast(lambda again: self._delivery.delete_duplicates()), None, []
        )

    def _gather(self) -> _Call | _End | Entry | None:
        """Collect what is logged by run until it is due, or up to something that must not wait."""
        while True:
            left = self._due - time.monotonic() if self._pending else None
            if left is not None and left <= 0:
                return None
            try:
                item = self._items.get(timeout=left)
            except queue.Empty:
                return None
            if isinstance(item, Entry):
                self._taken = item.number
            if not isinstance(item, Entry) or item.kind != "log":
                return item
            if not self._pending:
                rest = min(_REST * self._sending, _LONGEST_REST)
                self._due = time.monotonic() + max(self._interval, rest)
            self._pending.setdefault(item.key, []).append(item)

    def _send(self, keys: Sequence[int | str | None]) -> None:
        """Deliver what is logged of runs, one batch each."""
        started = time.monotonic()
        batches = {key: self._pending.pop(key) for key in keys if key in self._pending}
        for key, entries in batches.items():
            self._try(partial(self._delivery.log, key), entries, entries)
        if not self._pending and len(batches) > 1:
            self._sending = time.monotonic() - started

    def _deliver(self, entry: Entry) -> None:
        """Deliver what is no log; all that its run logged before is there."""
        self._try(self._delivery.deliver, entry, [entry])
        if entry.kind == "model":
            self._models.append(entry)

    def _try(self, deliver: Callable[..., None], what: Any, entries: list[Entry]) -> None:
        """Deliver entries, unless something failed before."""
        if self._error is not None:
            return
        again = any(entry.number in self._again for entry in entries)
        try:
            deliver(what, again, self._outlast)
        except Exception as error:  # noqa: BLE001 - kept, and raised to whoever calls next
            self._error = error

    def _answer(self, call: _Call) -> None:
        """Make a call; what it raises is its caller's, not the record's."""
        try:
            self._raise_failure()
            call.future.set_result(self._outlast(lambda _: call.function()))
        except Exception as error:  # noqa: BLE001 - raised where the result is waited for
            call.future.set_exception(error)

    def _outlast(self, request: Callable[[bool], T], again: bool = False) -> T:
        """Make a request until the store answers; see `sweeps.tracking.mlflow_sink.Attempt`.

        Args:
            request: takes whether an earlier try may have gone through.
            again: whether one may have before.

        Raises:
            UndeliveredError: it was given up.
        """
        pause = _PAUSE
        self._busy_since = time.monotonic()
        while not self._given_up.is_set():
            try:
                result = request(again)
            except Exception as error:
                reason = transient_reason(error, self._uri)
                if reason is None:
                    raise
                again = True
                self._goes_down(reason)
                self._wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._comes_up()
                return result
        raise self._undelivered()

    def _too_long(self, asked: float, patience: float) -> bool:
        """Whether a wait that began at a time has been in vain for longer than the patience."""
        now = time.monotonic()
        return any(
            since is not None and now - max(since, asked) > limit
            for since, limit in (
                (self._down_since, patience),
                (self._failing_since, _PATIENCE_WITH_ANSWERS * patience),
            )
        )

    def _goes_down(self, reason: str) -> None:
        self._reason = reason
        if self._failing_since is None:
            self._failing_since = self._down_since = self._busy_since
            self._say(
                f"the store does not answer ({reason}): the trials go on, and what they report is "
                f"kept in {self._journal.path}"
            )
        elif self._down_since is None:
            self._down_since = time.monotonic()
        self._journal.sync()

    def _comes_up(self) -> None:
        self._busy_since = self._down_since = None
        if self._failing_since is not None:
            lasted = duration(time.monotonic() - self._failing_since)
            self._failing_since = None
            self._say(f"the store answers again after {lasted}; what was kept is being sent")

    def _wait(self, pause: float) -> None:
        """Wait before another try, as long as the server wants to be left alone."""
        # Sweeps that lost the same server don't come back to it at the same moment.
        self._given_up.wait(pause * random.uniform(0.75, 1.0))
        while is_server(self._uri) and not self._given_up.is_set():
            wanted = retry_after(self._uri)
            if wanted is None:
                self._down_since = None
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._journal.sync()
            self._given_up.wait(max(wanted, pause * random.uniform(0.75, 1.0)))

    def _cross_off(self) -> None:
        """Cross off all up to the first entry that waits for its batch."""
        waiting = [entries[0].number for entries in self._pending.values()]
        number = min(waiting) - 1 if waiting else self._taken
        if self._error is not None or number <= self._crossed:
            return
        try:
            self._journal.acknowledge(number)
        except RecordError as error:
            self._error = error
            return
        self._crossed = number
        while self._models and self._models[0].number <= number:
            self._journal.drop_model(self._models.pop(0).content["folder"])


def _failure(cause: Exception) -> RecordError:
    if isinstance(cause, RecordError):
        return type(cause)(str(cause))
    # Below the first line SQLAlchemy tells the statement.
    first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    reason = full_disk(cause) or redacted(first)
    error = RecordError(f"the record can't be written: {reason:.500}")
    error.__cause__ = cause
    return error
