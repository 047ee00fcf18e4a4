"""Base of the searchers: Ray saves none of their state, because another store has it all."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher


class StatelessSearcher(Searcher):
    """Searcher that is built anew after an interruption, not restored from Ray's snapshots."""

    def __getstate__(self) -> dict[str, Any]:
        """Keep all but the metric out of Ray's snapshots, which are never restored."""
        return {"_metric": self._metric, "_mode": self._mode}

    def save(self, checkpoint_path: str) -> None:
        """Write nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write nothing."""

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Read nothing."""
