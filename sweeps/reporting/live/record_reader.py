"""Reading a sweep's record again and again, at the price of what is new in it.

A report reads all runs of a sweep and the history of each: at fifty trials that takes 30 times as
long as to ask for the runs that are RUNNING, of which a sweep has as many as it has workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment.errors import InputError
from sweeps.analysis.sweep_data import SweepData, SweepPlan, read_plan, sweep_data
from sweeps.tracking.queries import (
    TrialRecord,
    in_order,
    intermediate_values,
    trial_record,
    trials_of,
)

WHOLE_SECONDS = 60.0
"""Seconds between two readings of all runs, which find what began and ended between two others."""


class RecordReader:
    """One sweep's record, as of the last reading.

    Attributes:
        run: the sweep's run.
        data: the sweep, another object after each change; None until its objective and its space
            are in the store.
    """

    def __init__(
        self, client: MlflowClient, run: Run, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Name what is read; nothing is read yet.

        Args:
            client: client of the store.
            run: the sweep's run.
            now: a clock in seconds.
        """
        self.run = run
        self.data: SweepData | None = None
        self._client = client
        self._now = now
        self._plan: SweepPlan | None = None
        self._runs: dict[str, TrialRecord] = {}
        self._curves: dict[str, dict[int, float]] = {}
        self._whole_at = float("-inf")
        self._whole_state = ""
        # It stays so until the data has what was found, also where the store fails meanwhile.
        self._is_stale = True

    @property
    def state(self) -> str:
        """The sweep's `sweep.state`."""
        return self.run.data.tags.get("sweep.state", "unknown")

    def read(self) -> None:
        """Read what may have changed since the last time."""
        before, self.run = self.run, self._client.get_run(self.run.info.run_id)
        self._is_stale |= before.to_dictionary() != self.run.to_dictionary()
        plan = self._plan
        is_whole = self._now() >= self._whole_at or self.state != self._whole_state
        if plan is None or is_whole:
            try:
                self._plan = plan = read_plan(self._client, self.run)
            except InputError:
                return  # it has just begun
        found: list[TrialRecord] = []
        if is_whole:
            found = trials_of(self._client, self.run)
        elif self.state == "running":
            found = self._running_and_ended()
        for trial in found:
            self._take(trial, plan.objective)
        if is_whole:
            self._whole_at, self._whole_state = self._now() + WHOLE_SECONDS, self.state
        if self._is_stale:
            runs = in_order(self._runs.values())
            self.data = sweep_data(self.run, plan, runs, self._curves)
            self._is_stale = False

    def _running_and_ended(self) -> list[TrialRecord]:
        """Return the runs that are running, and those that were at the last reading."""
        running = trials_of(self._client, self.run, "RUNNING")
        ran = {run_id for run_id, known in self._runs.items() if known.outcome is None}
        ended = ran - {trial.run_id for trial in running}
        return [*running, *(trial_record(self._client.get_run(run_id)) for run_id in ended)]

    def _take(self, trial: TrialRecord, objective: str) -> None:
        """Take a run as it was read, its curve too if there is anything new in it."""
        if trial == self._runs.get(trial.run_id):
            return
        if trial.role == "trial":
            curve = intermediate_values(self._client, trial.run_id, objective)
            self._curves[trial.run_id] = curve
        self._runs[trial.run_id] = trial
        self._is_stale = True
