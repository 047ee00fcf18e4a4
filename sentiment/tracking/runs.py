"""What one run writes to MLflow: parameters, metrics, provenance, the model.

`sentiment.train` records one run with `RunRecord`; sweeps write their many runs with the same
functions. Nothing here touches MLflow's global state: every call names its client and its run.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from mlflow import MlflowClient
from mlflow.entities import DatasetInput

from sentiment.config import SECTION_OF, Config
from sentiment.io.yaml_numbers import load_yaml
from sentiment.tracking.batches import as_metrics, log_batch, now_ms
from sentiment.tracking.logged_model import log_bundle
from sentiment.tracking.provenance import process_tags, provenance_tags, redacted

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


def run_parameters(config: Config, dataset: str, fingerprint: str) -> dict[str, str]:
    """Return a run's parameters: every hyperparameter under its own name, and the data."""
    return {
        **{name: parameter_text(value) for name, value in config.flat().items()},
        "dataset": dataset,
        "dataset_fingerprint": fingerprint,
    }


def parameter_text(value: Any) -> str:
    """Write a value as `--set` takes it: `true`, `null`, `0.002`, `lstm`."""
    return value if isinstance(value, str) else json.dumps(value)


def hyperparameters(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the hyperparameters among a run's parameters as values; undoes `parameter_text`."""
    values: dict[str, Any] = {}
    for name, text in parameters.items():
        if name in SECTION_OF:
            values[name] = load_yaml(text)
    return values


def create_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
) -> str:
    """Start a run of this process and return its id; it ends if its parameters can't be written."""
    run_id = open_run(client, experiment_id, name, tags=tags)
    with ended_on_failure(client, run_id):
        log_batch(client, run_id, parameters=parameters)
    return run_id


def open_run(
    client: MlflowClient, experiment_id: str, name: str, *, tags: Mapping[str, str]
) -> str:
    """Start a run of this process, without parameters yet, and return its id."""
    run = client.create_run(experiment_id, tags={**process_tags(), **tags}, run_name=name)
    run_id: str = run.info.run_id
    return run_id


@contextmanager
def ended_on_failure(
    client: MlflowClient, run_id: str, tags: Mapping[str, str] | None = None
) -> Iterator[None]:
    """End a run if what is done in here fails (FAILED) or is interrupted (KILLED).

    Args:
        client: client of the store.
        run_id: the run.
        tags: set when it has ended so.
    """
    try:
        yield
    except BaseException as error:
        try:
            # The end comes first: whatever has failed may make the tags fail too.
            client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            if tags:
                log_batch(client, run_id, tags=tags)
        except Exception as further:  # noqa: BLE001 - the first error is the one to report
            error.add_note(f"the run {run_id} could not be ended: {further}")
        raise


def close_run(
    client: MlflowClient,
    run_id: str,
    status: RunStatus,
    *,
    tags: Mapping[str, str] | None = None,
    error: str | None = None,
    at: int | None = None,
) -> None:
    """End a run.

    Args:
        client: client of the store.
        run_id: the run.
        status: MLflow's word for how it ended.
        tags: set before it ends.
        error: a traceback, kept as the artifact `error.txt`.
        at: milliseconds since the epoch at which it ended; now, if None.
    """
    if tags:
        log_batch(client, run_id, tags=tags)
    if error:
        client.log_text(run_id, error, "error.txt")
    client.set_terminated(run_id, status, end_time=now_ms() if at is None else at)


class RunRecord:
    """A single run outside any sweep, such as `sentiment.train` makes.

    As a context it ends the run: FINISHED, KILLED on Control-C, else FAILED with the traceback
    in `error.txt`.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    @classmethod
    def start(
        cls,
        client: MlflowClient,
        experiment_id: str,
        name: str,
        *,
        parameters: Mapping[str, str],
        precision: str,
        inputs: Sequence[DatasetInput] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a run with its parameters and its provenance.

        Args:
            client: client of the store.
            experiment_id: the experiment's id.
            name: the run's name in the UI.
            parameters: from `run_parameters`.
            precision: the precision taken.
            inputs: the data.
            tags: further tags.
        """
        all_tags = {**provenance_tags(precision), **(tags or {})}
        run_id = create_run(client, experiment_id, name, tags=all_tags, parameters=parameters)
        with ended_on_failure(client, run_id):
            if inputs:
                client.log_inputs(run_id, list(inputs))
        return cls(client, run_id)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics at a number of training examples seen."""
        log_batch(self.client, self.run_id, metrics=as_metrics(metrics, step))

    def log_model(self, bundle: Path, name: str, metrics: Mapping[str, float], step: int) -> str:
        """Save the bundle as the run's logged model and return the model's id."""
        return log_bundle(self.client, self.run_id, bundle, name=name, metrics=metrics, step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            close_run(self.client, self.run_id, "FINISHED")
        elif isinstance(error, Exception):
            text = redacted("".join(traceback.format_exception(error)))
            close_run(self.client, self.run_id, "FAILED", error=text)
        else:
            close_run(self.client, self.run_id, "KILLED")
