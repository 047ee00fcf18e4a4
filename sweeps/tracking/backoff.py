"""Back-off between tries of a request: intervals that double, jitter, and the server's own wish."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from sentiment.tracking.http import is_server
from sweeps.tracking.store_health import StoreHealth
from sweeps.tracking.transient_errors import retry_after, transient_reason

FIRST_RETRY_INTERVAL = 1.0
"""Seconds between the first and the second try of a request; doubled for each further one."""
LONGEST_RETRY_INTERVAL = 30.0

T = TypeVar("T")


class Backoff:
    """The waits between the tries of one request."""

    def __init__(self, uri: str, given_up: threading.Event) -> None:
        """Start with the first interval.

        Args:
            uri: the store.
            given_up: ends a wait at once when it is set.
        """
        self._uri = uri
        self._given_up = given_up
        self._interval = FIRST_RETRY_INTERVAL

    def wait(self, before_longer_wait: Callable[[], None]) -> bool:
        """Wait one interval, then until a tracking server takes requests again.

        Args:
            before_longer_wait: called whenever a probe shows that the server takes none yet.

        Returns:
            Whether a server answered a probe; False for a database, which can't be probed.
        """
        interval = self._interval
        self._interval = _doubled(interval)
        self._given_up.wait(_with_jitter(interval))
        while is_server(self._uri) and not self._given_up.is_set():
            seconds = retry_after(self._uri)
            if seconds is None:
                return True
            interval = _doubled(interval)
            before_longer_wait()
            self._given_up.wait(max(seconds, _with_jitter(interval)))
        return False


class RetriedRequests:
    """Requests that are repeated after transient errors; a `sweeps.tracking.attempt.Attempt`.

    Attributes:
        given_up: set when nobody waits for the store any more; requests under way then end.
    """

    def __init__(self, uri: str, health: StoreHealth, sync: Callable[[], None]) -> None:
        """Make no request yet.

        Args:
            uri: the store.
            health: is kept up to date.
            sync: called before each wait: makes what the store has not got safe on disk.
        """
        self.given_up = threading.Event()
        self._uri = uri
        self._health = health
        self._sync = sync

    def __call__(self, request: Callable[[bool], T], again: bool = False) -> T:
        """Make a request, as often as it takes until the store answers it; return the answer.

        Args:
            request: takes whether an earlier try may have gone through.
            again: whether one may have before.

        Raises:
            UndeliveredError: it was given up.
        """
        backoff = Backoff(self._uri, self.given_up)
        self._health.request_started()
        while not self.given_up.is_set():
            try:
                result = request(again)
            except Exception as error:
                reason = transient_reason(error, self._uri)
                if reason is None:
                    raise
                again = True
                self._health.request_failed(reason)
                self._sync()
                if backoff.wait(before_longer_wait=self._still_down):
                    self._health.probe_answered()
            else:
                self._health.request_answered()
                return result
        raise self._health.undelivered()

    def _still_down(self) -> None:
        self._health.probe_failed()
        self._sync()


def _doubled(interval: float) -> float:
    return min(2 * interval, LONGEST_RETRY_INTERVAL)


def _with_jitter(interval: float) -> float:
    # Sweeps that lost the same server don't come back to it at the same moment.
    return interval * random.uniform(0.75, 1.0)
