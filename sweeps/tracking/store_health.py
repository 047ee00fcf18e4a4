"""Health of the store: since when it fails or does not answer, and when a wait is too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sentiment.tracking.provenance import redacted
from sentiment.wording import duration
from sweeps.tracking.outbox import UndeliveredError

FAILING_FACTOR = 10
"""A store that answers, but fails at what it is asked, is waited for so many times as long."""
QUIET_SECONDS = 5.0
"""A request that fails once within these seconds, and then succeeds, is not notified."""


class StoreHealth:
    """Since when the store is busy, failing or down, as the delivery thread finds it.

    Busy: a request is under way. Failing: every try since then has failed. Down: nor has a probe
    been answered since then. The delivery thread reports its requests; any thread may ask.
    """

    def __init__(
        self, uri: str, outbox_path: Path, notify: Callable[[str], None] | None = None
    ) -> None:
        """Start with a store of which nothing bad is known.

        Args:
            uri: the store.
            outbox_path: the file that keeps what the store has not got.
            notify: called with a line when the store stops answering, and when it answers again.
        """
        self._uri = uri
        self._outbox_path = outbox_path
        self._notify = notify or (lambda text: None)
        self._busy_since: float | None = None
        self._failing_since: float | None = None
        self._down_since: float | None = None
        self._notified = False
        self._reason = ""

    def request_started(self) -> None:
        """Note that a request is made, its repetitions included."""
        self._busy_since = time.monotonic()

    def request_failed(self, reason: str) -> None:
        """Note a transient error; the second in a row is notified, and a first that took long.

        Args:
            reason: why it failed, from `sweeps.tracking.transient_errors.transient_reason`.
        """
        self._reason = reason
        now = time.monotonic()
        first = self._failing_since is None
        if first:
            self._failing_since = self._down_since = self._busy_since
        elif self._down_since is None:
            self._down_since = now
        if not first or _lasted(self._busy_since, now) > QUIET_SECONDS:
            self._notify_once()

    def probe_failed(self) -> None:
        """Note that the server takes no requests yet; that is notified."""
        self._notify_once()

    def request_answered(self) -> None:
        """Note that the request succeeded; that is notified after errors that were."""
        self._busy_since = self._down_since = None
        lasted = _lasted(self._failing_since, time.monotonic())
        self._failing_since = None
        if self._notified:
            self._notified = False
            self._notify(
                f"the store answers again after {duration(lasted)}; what was kept is being sent"
            )

    def probe_answered(self) -> None:
        """Note that the server takes requests again; whether they succeed is not known yet."""
        self._down_since = None

    def unavailable_for(self, timeout: float, asked: float) -> bool:
        """Whether a wait for the store has been in vain for too long.

        Args:
            timeout: seconds to wait for a store that is down; `FAILING_FACTOR` times as many for
                one that fails.
            asked: when the wait began, on the monotonic clock.
        """
        return _exceeds(self._down_since, asked, timeout) or _exceeds(
            self._failing_since, asked, FAILING_FACTOR * timeout
        )

    def busy_for(self, timeout: float, asked: float) -> bool:
        """Whether one request has taken longer than a timeout, of a wait that began at `asked`."""
        return _exceeds(self._busy_since, asked, timeout)

    def undelivered(self) -> UndeliveredError:
        """Return the error of a wait that is given up."""
        return UndeliveredError(
            f"the store {redacted(self._uri)} does not answer"
            f"{f' ({self._reason})' if self._reason else ''}; what it has not got yet lies in "
            f"{self._outbox_path}"
        )

    def _notify_once(self) -> None:
        if not self._notified:
            self._notified = True
            self._notify(
                f"the store does not answer ({self._reason}): the trials continue, and what they "
                f"report is kept in {self._outbox_path}"
            )


def _lasted(since: float | None, now: float) -> float:
    return 0.0 if since is None else now - since


def _exceeds(since: float | None, asked: float, timeout: float) -> bool:
    return since is not None and time.monotonic() - max(since, asked) > timeout
