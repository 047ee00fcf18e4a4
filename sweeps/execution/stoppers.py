"""Stoppers: what ends a search besides its number of trials."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray.tune.stopper import Stopper

from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.trials.protocol import FAILURE, FINISHED


class TimeBudget(Stopper):
    """Ends each trial at its first evaluation after the deadline, and lets no new one start.

    Ray asks it before the scheduler, so a trial that it ends was not compared with others there.
    """

    def __init__(self, deadline: float, search: OptunaSearcher) -> None:
        """Set the deadline, by `time.monotonic()`."""
        self._deadline = deadline
        self._search = search

    def __getstate__(self) -> dict[str, Any]:
        """Keep the searcher out of Ray's snapshot, which is never restored."""
        return {}

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return whether a trial that has just been evaluated ends."""
        if not self._over():
            return False
        if not result.get(FINISHED) and FAILURE not in result:
            self._search.run_out(trial_id)
        return True

    def stop_all(self) -> bool:
        """Never stop running trials in the middle of an evaluation."""
        self._over()
        return False

    def _over(self) -> bool:
        over = time.monotonic() >= self._deadline
        if over:
            self._search.stop()
        return over
