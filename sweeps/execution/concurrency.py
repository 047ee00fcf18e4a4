"""Limit on concurrent trials that follows the cluster's size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import ConcurrencyLimiter, Searcher


class DynamicConcurrencyLimiter(ConcurrencyLimiter):
    """Limits the live trials to as many as there is room for at the moment."""

    def __init__(self, searcher: Searcher, room: Callable[[], int]) -> None:
        """Limit a search.

        Args:
            searcher: suggests the trials.
            room: returns how many may live now.
        """
        super().__init__(searcher, max_concurrent=max(1, room()))
        self._room = room

    def __getstate__(self) -> dict[str, Any]:
        """Keep the cluster's client out of Ray's snapshot, which is never restored."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the search's suggestion, or None while there is no room."""
        self.max_concurrent = self._room()
        return super().suggest(trial_id)
