"""Ids of the runs and the logged models of a sweep's trials."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from mlflow import MlflowClient
from mlflow.entities import Run

from sweeps.tracking.queries import search_runs
from sweeps.tracking.roles import ROLES


class RunLookup:
    """Ids by a trial's key, kept once they are known, else looked up by the runs' tags.

    Attributes:
        client: client of the store.
        sweep_run_id: the sweep's own run.
        runs: ids of the trials' runs that are known.
        models: ids of the trials' logged models that are known.
    """

    def __init__(
        self,
        client: MlflowClient,
        sweep_run_id: str,
        runs: Mapping[int | str, str] | None = None,
    ) -> None:
        """Start with the runs that are known.

        Args:
            client: client of the store.
            sweep_run_id: the sweep's own run.
            runs: ids of the trials' runs that are there.
        """
        self.client = client
        self.sweep_run_id = sweep_run_id
        self.runs: dict[int | str, str] = dict(runs or {})
        self.models: dict[int | str, str] = {}

    def run_of(self, key: int | str | None) -> str:
        """Return the id of the run of a trial, or of the sweep (None).

        Raises:
            LookupError: the trial has no run.
        """
        if key is None:
            return self.sweep_run_id
        if key not in self.runs:
            found = self.search(key)
            if not found:
                raise LookupError(f"the store has no run of trial {key}")
            self.runs[key] = found[0].info.run_id
        return self.runs[key]

    def known_run(self, key: int | str) -> str | None:
        """Return the id of a trial's run if it is known; the store is not asked."""
        return self.runs.get(key)

    def model_of(self, key: int | str) -> str | None:
        """Return the id of a trial's newest logged model; None if it has none."""
        if key not in self.models:
            run = self.client.get_run(self.run_of(key))
            models = run.outputs.model_outputs if run.outputs else []
            if not models:
                return None
            self.models[key] = models[-1].model_id
        return self.models[key]

    def search(self, key: int | str) -> list[Run]:
        """Return the runs of a trial, the oldest first; there is one, or none yet."""
        found: list[Run] = []
        for role in ROLES[:1] if isinstance(key, int) else ROLES[1:]:
            found += search_runs(
                self.client,
                [self.experiment_id],
                f"tags.`mlflow.parentRunId` = '{self.sweep_run_id}' "
                f"and tags.`sweep.role` = '{role}' and tags.`sweep.{role}` = '{key}'",
            )
        return sorted(found, key=lambda run: run.info.start_time)

    @cached_property
    def experiment_id(self) -> str:
        """The experiment of the sweep's run."""
        experiment_id: str = self.client.get_run(self.sweep_run_id).info.experiment_id
        return experiment_id
