"""Counters of a sweep: how it stood after each trial that ended, as metrics of its own run."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient

from sentiment.config import Objective
from sentiment.objective import best, best_key
from sweeps.tracking.queries import TrialRecord, trials_of
from sweeps.tracking.run_handle import RunHandle
from sweeps.trials.outcomes import ENDED, Outcome


@dataclass(frozen=True)
class _EndedTrial:
    outcome: Outcome
    value: float | None


class SweepCounters:
    """Writes `sweep/completed`, `sweep/failed` … and `sweep/best` by the number of trials ended.

    Attributes:
        objective: what the sweep goes by.
    """

    def __init__(self, sweep: RunHandle, objective: Objective) -> None:
        """Start with no trials.

        Args:
            sweep: the sweep's own run.
            objective: what it goes by.
        """
        self.objective: Objective = objective
        self._sweep = sweep
        self._ended: dict[int | str, _EndedTrial] = {}
        self._counted_at = 0

    def restore(self, key: int | str, outcome: Outcome | None, value: float | None) -> None:
        """Take over a trial from the record, where it is counted already."""
        self._ended.pop(key, None)
        if outcome is not None and outcome in ENDED:
            self._ended[key] = _EndedTrial(outcome, value)

    def trial_reopened(self, key: int | str) -> None:
        """Leave a trial out that is tried again, from the next count on."""
        self._ended.pop(key, None)

    def trial_ended(self, key: int | str, outcome: Outcome, value: float | None, at: int) -> None:
        """Count a trial and write how the sweep stands; an interrupted one has not ended.

        Args:
            key: the trial.
            outcome: how it ended.
            value: the objective at its best checkpoint, if it has one.
            at: milliseconds since the epoch at which it ended.
        """
        self.restore(key, outcome, value)
        if outcome == "interrupted":
            return
        # Trials may be recorded in another order than they ended in; time grows with the step.
        self._counted_at = max(self._counted_at, at)
        ended = self._ended.values()
        self._sweep.log_metrics(_counts_of(ended, self.objective), len(ended), self._counted_at)

    def complete(self, recorded: Container[int], trials: Sequence[TrialRecord]) -> None:
        """Write the counts that an interrupted sweep has not written.

        Args:
            recorded: numbers of ended trials after which the counts are in the store.
            trials: all runs of the sweep, as the store has them.
        """
        ended = [trial for trial in trials if trial.role == "trial" and trial.outcome in ENDED]
        ended.sort(key=lambda trial: trial.ended or 0)
        counted = [
            _EndedTrial(trial.outcome, trial.metrics.get(best_key(self.objective)))
            for trial in ended
        ]
        for step, trial in enumerate(ended, start=1):
            if step not in recorded:
                counts = _counts_of(counted[:step], self.objective)
                self._sweep.log_metrics(counts, step, trial.ended)


def read_counts(client: MlflowClient, run_id: str) -> tuple[set[int], list[TrialRecord]]:
    """Return after how many ended trials the counts are in the store, and all runs of the sweep.

    Args:
        client: client of the store.
        run_id: the sweep's run.
    """
    counts = client.get_metric_history(run_id, "sweep/completed")
    return {metric.step for metric in counts}, trials_of(client, client.get_run(run_id))


def _counts_of(ended: Collection[_EndedTrial], objective: Objective) -> dict[str, float]:
    """Return the number of trials by outcome, and the best value of those that did not fail."""
    outcomes: list[Outcome | None] = [trial.outcome for trial in ended]
    metrics: dict[str, float] = {f"sweep/{outcome}": outcomes.count(outcome) for outcome in ENDED}
    bests = [t.value for t in ended if t.value is not None and t.outcome != "failed"]
    if bests:
        metrics["sweep/best"] = best(objective, bests)
    return metrics
