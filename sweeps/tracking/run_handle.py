"""Handle of a run: passes what is recorded of it to the writer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentiment.tracking.batches import now_ms
from sweeps.tracking.mlflow_sink import Point
from sweeps.tracking.outbox import Kind
from sweeps.tracking.writer import BatchWriter


class RunHandle:
    """The run of a trial or of the sweep.

    Every method raises `sweeps.tracking.outbox.RecordError` if earlier writing failed.

    Attributes:
        key: the trial's number or name; None for the sweep's own run.
    """

    def __init__(self, writer: BatchWriter, key: int | str | None) -> None:
        """Write nothing yet.

        Args:
            writer: writes the sweep's record.
            key: the trial's number or name; None for the sweep's own run.
        """
        self.key = key
        self._writer = writer

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int = 0,
        at: int | None = None,
        *,
        of_model: bool = False,
    ) -> None:
        """Record metrics.

        Args:
            metrics: by name.
            step: training examples seen, or trials ended.
            at: milliseconds since the epoch at which they were measured; now, if None.
            of_model: whether they describe the run's logged model, and are recorded of it too.
        """
        at = now_ms() if at is None else at
        points: list[Point] = [
            (name, float(value), step, at, of_model) for name, value in metrics.items()
        ]
        if points:
            self._write("log", {"metrics": points})

    def log_text(self, text: str, file: str) -> None:
        """Keep a text as an artifact."""
        self._write("text", {"text": text, "artifact_file": file})

    def _write(self, kind: Kind, content: dict[str, Any]) -> None:
        self._writer.write(kind, self.key, content)
