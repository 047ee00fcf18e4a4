"""What one Ray worker does: train a trial from evaluation to evaluation."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from sentiment.config import Config
from sentiment.devices import pick_device, release_memory
from sentiment.embeddings import coverage
from sentiment.preparation import Prepared
from sentiment.training import Evaluation, Trainer
from sweeps.system_metrics import SystemMetrics

EXAMPLES = "examples"
"""A result's key: training examples seen, the resource that the scheduler counts."""
FINISHED = "finished"
"""A result's key: whether the trial has used up its full budget."""
MODEL_FOLDER = "model"
"""The folder of the best checkpoint within Ray's checkpoint."""
OWN_KEYS = ("trial",)
"""Keys of a trial's configuration that are no hyperparameters."""


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """Return a trial's configuration without what is not a hyperparameter."""
    return {name: value for name, value in config.items() if name not in OWN_KEYS}


class TrialWorker(tune.Trainable):
    """Trains one trial after the other in one process, over data shared by all of a node.

    A step is the training up to the next evaluation, and its result has the record's metrics.
    """

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        prepared: Prepared,
        threads: int = 1,
        system_metrics: bool = False,
    ) -> None:
        """Take the shared data from the object store and start the first trial."""
        self._prepared = prepared
        self._threads = threads
        self._system = SystemMetrics(bool(ray.get_gpu_ids())) if system_metrics else None
        self._trainer: Trainer | None = None
        self._evaluations: Generator[Evaluation, None, None] | None = None
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process, whose imports and data are there already."""
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train up to the next evaluation."""
        started, cpu, began = time.perf_counter(), time.process_time(), time.time()
        trainer, evaluations = self._running()
        evaluation = next(evaluations)
        self._seconds += time.perf_counter() - started
        self._cpu_seconds += time.process_time() - cpu
        result: dict[str, Any] = {
            **evaluation.metrics,
            EXAMPLES: evaluation.examples,
            FINISHED: evaluation.finished,
            "seconds/total": self._seconds,
            "seconds/cpu": self._cpu_seconds,
            "best": {**trainer.best_metrics, EXAMPLES: trainer.best_examples},
            "began": began,
            "ended": time.time(),
            tune.result.DONE: evaluation.finished,
            tune.result.SHOULD_CHECKPOINT: evaluation.improved,
        }
        if self._system is not None:
            result["system"] = self._system.read()
        return {**result, "facts": self._facts}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the best checkpoint so far; Ray carries it to the sweep's storage."""
        self._running()[0].best.save(Path(checkpoint_dir) / MODEL_FOLDER)

    def cleanup(self) -> None:
        """Let go of the model."""
        self._trainer = None
        self._evaluations = None

    def _running(self) -> tuple[Trainer, Generator[Evaluation, None, None]]:
        assert self._trainer is not None and self._evaluations is not None, "no trial was started"
        return self._trainer, self._evaluations

    def _start(self, config: dict[str, Any]) -> None:
        started, cpu = time.perf_counter(), time.process_time()
        settings = Config.from_flat(hyperparameters(config))
        # The last trial's model goes first: two at once may not fit a device.
        self._trainer = None
        self._evaluations = None
        release_memory()
        corpus, vectors = self._prepared.for_config(settings)
        device = pick_device("cuda" if ray.get_gpu_ids() else "cpu")
        trainer = Trainer(settings, corpus, vectors, device, self._threads)
        self._trainer = trainer
        self._evaluations = trainer.evaluations()
        self._seconds = time.perf_counter() - started
        self._cpu_seconds = time.process_time() - cpu
        self._facts: dict[str, Any] = {
            **trainer.parameter_counts(),
            "seconds/setup": self._seconds,
        }
        if vectors is not None:
            self._facts["embedding/coverage"] = coverage(vectors, trainer.vocabulary.known)
