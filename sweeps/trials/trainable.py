"""What one Ray worker does: train a trial from evaluation to evaluation."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from sentiment.config import Config
from sentiment.embeddings.sources import coverage
from sentiment.errors import InputError, TrainingError
from sentiment.inference.latency import single_text_latency
from sentiment.nn.devices import pick_device, release_memory
from sentiment.nn.rnn_choice import recurrence
from sentiment.training.checkpoint import load_checkpoint, save_checkpoint
from sentiment.training.evaluation import Evaluation
from sentiment.training.prepared_data import PreparedData
from sentiment.training.trainer import Trainer
from sweeps.objectives import LATENCY, METRICS
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.protocol import (
    ADOPTED,
    EARLIER,
    EXAMPLES,
    FACTS,
    FAILURE,
    FINISHED,
    PRECISION,
    RECURRENCE,
    RESULTS,
)
from sweeps.trials.report_batching import ReportBatcher
from sweeps.trials.system_metrics import SystemMetrics

CHECKPOINT = "checkpoint"
"""A configuration's key: the checkpoint from which the trial resumes, within the storage."""
TAKEOVERS = "takeovers"
"""The same: what the trial of a population has taken over, for the record."""
OWN_KEYS = ("trial", CHECKPOINT, TAKEOVERS)
"""Keys of a trial's configuration that are no hyperparameters."""


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """Return a trial's configuration without what is not a hyperparameter."""
    return {name: value for name, value in config.items() if name not in OWN_KEYS}


class TrialWorker(tune.Trainable):
    """Trains one trial after the other in one process, over data shared by all of a node.

    A step is the training up to the next report (see `ReportBatcher`): an evaluation, with the
    record's metrics, and those gathered before it. A trial that resumes from a checkpoint first
    reports the evaluation at which that was written once more: each receiver that an interruption
    kept from it takes it then.
    """

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        prepared: PreparedData,
        storage: Storage,
        scratch: str | None = None,
        gpu_memory: float | None = None,
        threads: int = 1,
        system_metrics: bool = False,
        rungs: Sequence[float] = (),
        timed_texts: Sequence[str] = (),
    ) -> None:
        """Take the shared data from the object store; the first step starts the trial.

        Started here, a trial that fails would take the worker with it.
        """
        if scratch is not None:
            # Ray writes checkpoints there first; what a kill leaves goes with the sweep's files.
            Path(scratch).mkdir(parents=True, exist_ok=True)
            tempfile.tempdir = scratch
        if gpu_memory is not None:
            # One trial must not take what the others on its GPU need.
            torch.cuda.set_per_process_memory_fraction(gpu_memory)
        self._prepared = prepared
        self._kept = storage
        self._threads = threads
        self._rungs = rungs
        self._timed_texts = timed_texts
        self._system = SystemMetrics(bool(ray.get_gpu_ids())) if system_metrics else None
        self._trainer: Trainer | None = None
        self._evaluations: Generator[Evaluation, None, None] | None = None
        self._settings = config
        self._results: list[dict[str, Any]] = []
        self._adopted = 0
        self._static_metrics: dict[str, Any] = {}
        self._seconds = self._cpu_seconds = 0.0
        self._reported = True
        self._failure: str | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial into this process, whose imports and data are there already."""
        self.cleanup()
        self._settings = new_config
        self._failure = None
        return True

    def step(self) -> dict[str, Any]:
        """Train up to the next report."""
        if self._trainer is None:
            try:
                self._begin()
            except (TrainingError, InputError):
                self._failure = traceback.format_exc()
        return self._next()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the training as it is; Ray carries it to the sweep's storage."""
        assert self._trainer is not None, "no trial was started"
        notes = {
            RESULTS: self._results,
            ADOPTED: self._adopted,
            FACTS: self._static_metrics,
            FAILURE: self._failure,
        }
        save_checkpoint(self._trainer, Path(checkpoint_dir), notes)

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Resume from what `save_checkpoint` has written."""
        if self._trainer is None:
            self._start()
        assert self._trainer is not None
        notes = load_checkpoint(self._trainer, Path(checkpoint_dir))
        self._results = notes[RESULTS]
        self._adopted = notes.get(ADOPTED, 0)
        self._failure = notes[FAILURE]
        self._static_metrics = {
            **notes[FACTS],
            "seconds/setup": self._static_metrics["seconds/setup"],
        }
        self._seconds += self._results[-1]["seconds/total"]
        self._cpu_seconds += self._results[-1]["seconds/cpu"]
        # The last evaluation of another trial is not this one's.
        self._reported = len(self._results) == self._adopted
        # Each evaluation is reported alone: a repeated failure must not lose unreported ones.
        self._pace = ReportBatcher(together=False)

    def cleanup(self) -> None:
        """Let go of the model."""
        self._trainer = None
        self._evaluations = None

    def _begin(self) -> None:
        """Start the trial, from its checkpoint if it has one."""
        self._start()
        place = self._settings.get(CHECKPOINT)
        if place is not None:
            try:
                with (self._kept / place).on_disk() as checkpoint:
                    self.load_checkpoint(str(checkpoint))
            except InputError:
                # Another kind of CPU or GPU takes another precision: the trial starts afresh.
                self._start()

    def _start(self) -> None:
        started, cpu = time.perf_counter(), time.process_time()
        settings = Config.from_flat(hyperparameters(self._settings))
        # The last trial's model goes first: two at once may not fit a device.
        self.cleanup()
        release_memory()
        corpus, vectors = self._prepared.for_config(settings)
        device = pick_device("cuda" if ray.get_gpu_ids() else "cpu")
        branch = self._prepared.ngrams_for(settings)
        start = self._prepared.pretrained_for(settings)
        trainer = Trainer(settings, corpus, vectors, device, self._threads, branch, start)
        self._trainer = trainer
        self._results = []
        self._adopted = 0
        self._reported = True
        self._pace = ReportBatcher(self._rungs)
        self._seconds = time.perf_counter() - started
        self._cpu_seconds = time.process_time() - cpu
        self._static_metrics = {
            **trainer.parameter_counts(),
            "seconds/setup": self._seconds,
        }
        if vectors is not None:
            self._static_metrics["embedding/coverage"] = coverage(vectors, trainer.vocabulary.size)

    def _next(self) -> dict[str, Any]:
        """Return the next result, or once more the one that a checkpoint ended with."""
        if not self._reported:
            self._reported = True
            earlier = self._results[self._adopted : -1]
        else:
            gathered = [] if self._failure else self._pace.gather(self._try)
            if not gathered:
                failure = {FAILURE: self._failure, FINISHED: False, tune.result.DONE: True}
                return {**failure, EXAMPLES: self._trainer.examples if self._trainer else 0}
            earlier = gathered[:-1]
            if self._timed_texts:
                self._measure_latency()
        result = self._results[-1]
        return {
            **result,
            FACTS: self._static_metrics,
            EARLIER: earlier,
            tune.result.DONE: result[FINISHED],
            tune.result.SHOULD_CHECKPOINT: True,
        }

    def _measure_latency(self) -> None:
        """Time the best checkpoint at the evaluation just made, which may be the trial's last."""
        assert self._trainer is not None
        # To make a model draws its first weights, which must not change what is trained.
        with torch.random.fork_rng(devices=[]):
            latency = single_text_latency(self._trainer.best, self._timed_texts)
        self._static_metrics[METRICS[LATENCY]] = latency

    def _try(self) -> dict[str, Any] | None:
        """Train up to the next evaluation; None if the training can't continue."""
        try:
            result = self._evaluate()
        except (TrainingError, InputError):
            # What was evaluated before is reported first.
            self._failure = traceback.format_exc()
            return None
        self._results.append(result)
        return result

    def _evaluate(self) -> dict[str, Any]:
        started, cpu, began = time.perf_counter(), time.process_time(), time.time()
        assert self._trainer is not None
        if self._evaluations is None:
            self._evaluations = self._trainer.evaluations()
        evaluation = next(self._evaluations)
        self._seconds += time.perf_counter() - started
        self._cpu_seconds += time.process_time() - cpu
        system = {} if self._system is None else {"system": self._system.read()}
        return {
            **evaluation.metrics,
            **system,
            EXAMPLES: evaluation.examples,
            FINISHED: evaluation.finished,
            PRECISION: self._trainer.precision,
            RECURRENCE: recurrence(self._trainer.precision),
            "seconds/total": self._seconds,
            "seconds/cpu": self._cpu_seconds,
            "best": {**self._trainer.best_metrics, EXAMPLES: self._trainer.best_examples},
            "began": began,
            "ended": time.time(),
        }
