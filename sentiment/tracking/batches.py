"""Metrics, parameters and tags of a run in as few requests as MLflow takes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

_METRICS_A_REQUEST = 800  # MLflow takes 1,000 metrics, parameters and tags together


def as_metrics(
    values: Mapping[str, float], step: int, at: int | None = None, model_id: str | None = None
) -> list[Metric]:
    """Return MLflow's metrics of one moment.

    Args:
        values: metrics by name.
        step: training examples seen.
        at: milliseconds since the epoch at which they were measured; now, if None.
        model_id: the logged model that they describe.
    """
    at = now_ms() if at is None else at
    return [
        Metric(name, float(value), at, step, model_id=model_id) for name, value in values.items()
    ]


def now_ms() -> int:
    """Return the milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def log_batch(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: list[Metric] | None = None,
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write to a run in as few requests as MLflow's limits allow."""
    metrics = metrics or []
    rest = [Param(name, value) for name, value in (parameters or {}).items()]
    labels = [RunTag(name, value) for name, value in (tags or {}).items()]
    for start in range(0, max(len(metrics), 1), _METRICS_A_REQUEST):
        first = start == 0
        some = metrics[start : start + _METRICS_A_REQUEST]
        client.log_batch(run_id, some, rest if first else [], labels if first else [])
