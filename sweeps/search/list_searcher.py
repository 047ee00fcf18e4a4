"""Searcher over a given list of configurations: baselines, and replicates of the winner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from sentiment.config import Config
from sweeps.search.stateless_searcher import StatelessSearcher
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import CHECKPOINT


class ListSearcher(StatelessSearcher):
    """Hands out given configurations, one a trial."""

    def __init__(self, configs: Mapping[int, Config], attempts: RetryTracker | None = None) -> None:
        """Take the configurations.

        Args:
            configs: by the trials' numbers.
            attempts: decides on retries, and finds the checkpoints that trials resume from; None:
                a failure is final, and a trial starts afresh.
        """
        super().__init__(metric="valid/loss", mode="min")
        self._attempts = attempts
        self._waiting = [{**config.flat(), "trial": i} for i, config in configs.items()]
        self._running: dict[str, dict[str, Any]] = {}

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
        """Queue the trial again, if it has failed and has retries left."""
        config = self._running.pop(trial_id, None)
        if config and error and self._attempts and self._attempts.fail(config["trial"]):
            self._waiting.append(config)
