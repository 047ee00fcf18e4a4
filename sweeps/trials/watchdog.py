"""Watchdog: which workers have reported nothing for so long that they must hang."""

from __future__ import annotations

import time
from collections.abc import Hashable

MIN_LIMIT = 600.0
FIRST_LIMIT = 3600.0
"""Seconds that a worker may take while no trial has been evaluated yet."""
LIMIT_FACTOR = 20
"""Times the longest evaluation so far: trials of one space differ in cost by that much."""


class Watchdog:
    """Finds workers that have reported nothing for longer than a limit."""

    def __init__(self, limit: float | None = None) -> None:
        """Set the limit in seconds; None: 20 times the longest evaluation, at least ten minutes."""
        self._fixed = limit
        self._longest: float | None = None
        self._heard: dict[Hashable, float] = {}

    @property
    def limit(self) -> float:
        """Seconds without a report after which a worker is taken to hang."""
        if self._fixed is not None:
            return self._fixed
        if self._longest is None:
            return FIRST_LIMIT
        return max(MIN_LIMIT, LIMIT_FACTOR * self._longest)

    def start(self, worker: Hashable) -> None:
        """Begin to wait for a worker."""
        self._heard[worker] = time.monotonic()

    def report(self, worker: Hashable) -> None:
        """Take note of an evaluation."""
        now = time.monotonic()
        if worker in self._heard:
            self._longest = max(self._longest or 0.0, now - self._heard[worker])
        self._heard[worker] = now

    def end(self, worker: Hashable) -> None:
        """Wait for a worker no more."""
        self._heard.pop(worker, None)

    def hung(self) -> list[Hashable]:
        """Return the workers that have exceeded the limit."""
        limit = time.monotonic() - self.limit
        return [worker for worker, heard in self._heard.items() if heard < limit]
