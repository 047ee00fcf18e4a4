"""The sweep's own run: its start, its resumption, what is recorded of the whole, its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run

from sentiment.errors import InputError
from sentiment.tracking.batches import log_batch, now_ms
from sentiment.tracking.provenance import is_alive, process_tags, provenance_tags
from sentiment.tracking.runs import RunStatus, ended_on_failure, open_run
from sweeps.tracking.run_handle import RunHandle
from sweeps.tracking.writer import BatchWriter

SweepState = Literal["finished", "interrupted"]

DESCRIPTION_TAG = "mlflow.note.content"
"""Where MLflow keeps the description of a run."""
_IF_IT_FAILS = {"sweep.state": "interrupted"}


class SweepRun(RunHandle):
    """The run of the sweep as a whole."""

    def __init__(self, writer: BatchWriter) -> None:
        """Write nothing yet.

        Args:
            writer: writes the sweep's record.
        """
        super().__init__(writer, None)

    def describe(self, text: str) -> None:
        """Set the description of the run, in Markdown."""
        self._write("log", {"tags": {DESCRIPTION_TAG: text}})

    def log_table(self, table: pd.DataFrame, file: str = "leaderboard.csv") -> None:
        """Keep a table as a CSV among the run's artifacts."""
        self.log_text(table.to_csv(index=False), file)

    def end(self, state: SweepState) -> None:
        """End the run."""
        status: RunStatus = "FINISHED" if state == "finished" else "KILLED"
        self._write("end", {"status": status, "tags": {"sweep.state": state}, "at": now_ms()})


@contextmanager
def created_sweep_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    parameters: Mapping[str, str],
    precision: str,
    space_yaml: str,
    inputs: Sequence[DatasetInput],
    tags: Mapping[str, str],
) -> Iterator[str]:
    """Create the run of a new sweep and yield its id; a failure within ends it as interrupted.

    Args:
        client: client of the store.
        experiment_id: the experiment's id.
        name: the sweep's name.
        parameters: of the sweep itself.
        precision: the precision taken.
        space_yaml: the space, kept as the artifact `space.yaml`.
        inputs: the data.
        tags: further tags.
    """
    run_id = open_run(
        client,
        experiment_id,
        name,
        tags={
            **provenance_tags(precision),
            **tags,
            "sweep.role": "sweep",
            "sweep.name": name,
            "sweep.state": "running",
        },
    )
    with ended_on_failure(client, run_id, _IF_IT_FAILS):
        log_batch(client, run_id, parameters=parameters)
        client.log_text(run_id, space_yaml, "space.yaml")
        if inputs:
            client.log_inputs(run_id, list(inputs))
        yield run_id


def check_not_running(run: Run) -> None:
    """Check that no live process writes to the run of a sweep.

    Raises:
        InputError: one does.
    """
    if run.info.status == "RUNNING" and is_alive(run.data.tags):
        raise InputError(
            f"the sweep {run.data.tags['sweep.name']} is running, in process "
            f"{run.data.tags['process.pid']}: wait for it, or end that process first"
        )


def reopen_sweep_run(client: MlflowClient, run: Run, missing: Mapping[str, str]) -> None:
    """Let the run of an interrupted sweep continue in this process; a failure ends it again.

    Args:
        client: client of the store.
        run: the sweep's run.
        missing: parameters that it lacks.
    """
    run_id = run.info.run_id
    with ended_on_failure(client, run_id, _IF_IT_FAILS):
        # The process comes first: a run that is RUNNING for a dead one would be closed.
        tags = {**process_tags(), "sweep.state": "running"}
        log_batch(client, run_id, parameters=missing, tags=tags)
        client.update_run(run_id, status="RUNNING")
        for tag in ("closed.by", "closed.reason"):
            if tag in run.data.tags:
                client.delete_tag(run_id, tag)
