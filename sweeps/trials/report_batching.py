"""How many evaluations a trial reports at once, so that reporting takes at most 2% of its time.

A trial waits while the driver takes in a report, and while its checkpoint is written. Where
evaluations come faster than that, several go into one report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sweeps.trials.protocol import EXAMPLES, FINISHED

TRAIN_TO_WAIT_RATIO = 50
"""Times the last wait that a trial trains before it reports again: it waits a fiftieth of it."""
LONGEST = 2.0
"""Seconds of training after which every evaluation is reported, however long the wait."""


class ReportBatcher:
    """Gathers a trial's evaluations into reports."""

    def __init__(
        self,
        rungs: Sequence[float] = (),
        together: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with a trial that has not waited yet.

        Args:
            rungs: examples at which trials are compared: what comes first at or after one is
                reported at once, so that the comparison is what it would be without gathering.
            together: whether to gather at all; else every evaluation is a report.
            clock: returns the time in seconds.
        """
        self._rungs = tuple(rungs)
        self._longest = LONGEST if together else 0.0
        self._clock = clock
        self._reported = 0
        self._ended: float | None = None

    def gather(self, evaluate: Callable[[], dict[str, Any] | None]) -> list[dict[str, Any]]:
        """Evaluate until there is something to report, and return the results.

        Args:
            evaluate: trains up to the next evaluation and returns its result; None if the
                training can't continue, which ends a report that may be empty.
        """
        began = self._clock()
        wait = 0.0 if self._ended is None else began - self._ended
        patience = min(TRAIN_TO_WAIT_RATIO * wait, self._longest)
        gathered: list[dict[str, Any]] = []
        while (result := evaluate()) is not None:
            gathered.append(result)
            late = self._clock() - began >= patience
            if late or result[FINISHED] or self._compared(result[EXAMPLES]):
                break
        if gathered:
            self._reported = gathered[-1][EXAMPLES]
        self._ended = self._clock()
        return gathered

    def _compared(self, examples: int) -> bool:
        """Return whether a rung lies between the last report and here."""
        return any(self._reported < rung <= examples for rung in self._rungs)
