"""A saved model loaded in isolation: in a subprocess, without this checkout.

What counts for a promotion is what others will get: the model as MLflow loads it, by its own copy
of `sentiment`, where neither this checkout nor Ray nor Optuna is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sentiment.io.processes import available_cores


class IsolatedScoringError(RuntimeError):
    """The model can't be used outside this project; the message says why."""


@dataclass(frozen=True)
class IsolatedPredictions:
    """A model's predictions of texts.

    Attributes:
        label_names: its labels, by their index.
        log_probabilities: float32 (n, C).
        padded: the prediction of a text depends on the other texts of its batch.
    """

    label_names: tuple[str, ...]
    log_probabilities: np.ndarray
    padded: bool = False


def score_in_subprocess(model: Path, texts: Sequence[str]) -> IsolatedPredictions:
    """Load a model as MLflow saves it in a subprocess, and return its predictions.

    Nothing is written into the model's folder.

    Args:
        model: the folder.
        texts: raw texts.

    Raises:
        IsolatedScoringError: it can't be loaded there, or MLflow's predictions are not those of
            its bundle.
    """
    child = Path(__file__).with_name("isolated_process.py")
    with tempfile.TemporaryDirectory() as exchange:
        Path(exchange, "texts.json").write_text(json.dumps(list(texts)), encoding="ascii")
        done = subprocess.run(
            # -I: neither the current folder nor PYTHONPATH; -B: no bytecode beside the code.
            [sys.executable, "-I", "-B", str(child), str(model), exchange, str(available_cores())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise IsolatedScoringError(reason[-1])
        description = json.loads(Path(exchange, "model.json").read_text(encoding="ascii"))
        scores = np.load(Path(exchange, "log_probabilities.npy"), allow_pickle=False)
    return IsolatedPredictions(tuple(description["label_names"]), scores, description["padded"])
