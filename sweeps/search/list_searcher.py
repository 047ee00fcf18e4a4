"""Search over given configurations, one a trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from sentiment.config import Config
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import CHECKPOINT


class ListSearcher(Searcher):
    """Hands out given configurations, one a trial."""

    def __init__(self, configs: Mapping[int, Config], attempts: RetryTracker | None = None) -> None:
        """Take the configurations.

        Args:
            configs: by the trials' numbers.
            attempts: decides on failures, and knows from where a trial resumes; None: a failure
                is final, and a trial starts afresh.
        """
        super().__init__(metric="valid/loss", mode="min")
        self._attempts = attempts
        self._waiting = [{**config.flat(), "trial": i} for i, config in configs.items()]
        self._running: dict[str, dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Keep everything out of Ray's snapshot, which nobody reads."""
        return {"_metric": self._metric, "_mode": self._mode}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next configuration, or `Searcher.FINISHED`.

        None while only a retry could start another trial.
        """
        if not self._waiting:
            return None if self._attempts and self._running else Searcher.FINISHED
        config = self._running[trial_id] = self._waiting.pop(0)
        checkpoint = self._attempts.start(config["trial"]) if self._attempts else None
        return config if checkpoint is None else {**config, CHECKPOINT: checkpoint}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hand the trial out once more, if it has failed and is to be tried again."""
        config = self._running.pop(trial_id, None)
        if config and error and self._attempts and self._attempts.fail(config["trial"]):
            self._waiting.append(config)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the record holds which have ended."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write nothing: the record holds which have ended."""

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Read nothing."""
