"""A worker that sleeps where another trains: what is left is the cost of everything around it.

Nothing here imports torch, so that many such workers fit a small machine.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from sentiment.training.prepared_data import PreparedData
from sweeps.trials.protocol import EARLIER, EXAMPLES, FINISHED, PRECISION
from sweeps.trials.report_batching import ReportBatcher

EXAMPLES_A_REPORT = 1_000


@dataclass(frozen=True)
class Naps(PreparedData):
    """What a trial does, in the place of data to train on.

    Attributes:
        seconds: that a trial sleeps in all.
        reports: evaluations that it reports, at even distances.
        bundle: folder of the model that it keeps; None: none.
    """

    seconds: float
    reports: int
    bundle: str | None

    @property
    def budget(self) -> int:
        """Training examples that a trial claims to have seen at its end."""
        return self.reports * EXAMPLES_A_REPORT


class SleepWorker(tune.Trainable):
    """Reports what `sweeps.trials.trainable.TrialWorker` reports, under the same keys."""

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        prepared: Naps,
        scratch: str,
        **options: Any,
    ) -> None:
        """Take what a trial does; the options are for workers that train."""
        Path(scratch).mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = scratch
        self._naps = prepared
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Sleep up to the next report."""
        *earlier, last = self._pace.gather(self._sleep)
        return {
            **last,
            EARLIER: earlier,
            "facts": {"parameters/total": 0},
            tune.result.DONE: last[FINISHED],
            tune.result.SHOULD_CHECKPOINT: self._naps.bundle is not None and last[FINISHED],
        }

    def _sleep(self) -> dict[str, Any]:
        """Sleep up to the next evaluation."""
        naps, began = self._naps, time.time()
        time.sleep(naps.seconds / naps.reports)
        self._done += 1
        examples = self._done * EXAMPLES_A_REPORT
        share = self._done / naps.reports
        # Some settings are better than others, and all get better with time.
        accuracy = 0.9 - 0.2 * abs(float(self._settings["dropout"]) - 0.3) - 0.3 * (1 - share)
        valid = {"valid/accuracy": accuracy, "valid/loss": 1 - accuracy, "valid/f1": accuracy}
        finished = self._done == naps.reports
        return {
            "train/loss": 1 - accuracy,
            "train/accuracy": accuracy,
            **valid,
            "epoch": share,
            "learning_rate": float(self._settings["learning_rate"]),
            "tokens_per_second": 1.0,
            EXAMPLES: examples,
            FINISHED: finished,
            PRECISION: "float32",
            "seconds/total": share * naps.seconds,
            "seconds/cpu": 0.0,
            "best": {**valid, EXAMPLES: examples},
            "began": began,
            "ended": time.time(),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Leave the model where a training leaves its best one."""
        assert self._naps.bundle is not None, "no checkpoint was asked for"
        shutil.copytree(self._naps.bundle, Path(checkpoint_dir, "model"))

    def _start(self, config: dict[str, Any]) -> None:
        self._settings = config
        self._done = 0
        self._pace = ReportBatcher()
