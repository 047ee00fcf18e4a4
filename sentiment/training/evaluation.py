"""Evaluations: what a training has come to, and how well its weights do on validation."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sentiment.config import Objective
from sentiment.data.batching import TextDataset
from sentiment.errors import TrainingError
from sentiment.inference.batch_predict import predict_logits, to_log_probabilities
from sentiment.inference.metrics import score
from sentiment.ngrams.blend import Blend, fit_blend
from sentiment.nn.classifier import Classifier
from sentiment.objective import recurrent_name
from sentiment.training.logit_adjustment import choose_share


@dataclass(frozen=True)
class Evaluation:
    """What training has come to at one evaluation on the validation split.

    Attributes:
        examples: training examples seen, the step of the record.
        metrics: under the record's names.
        improved: whether this is the best so far by the objective.
        finished: whether the full budget has been trained.
        confusion: (C, C) int64, rows are labels, columns predictions; None without validation.
    """

    examples: int
    metrics: dict[str, float]
    improved: bool
    finished: bool
    confusion: np.ndarray | None


@dataclass(frozen=True)
class TrainerState:
    """What a training has come to between two evaluations, apart from its best checkpoint.

    The sums of the train metrics are empty then, and the plan of batches follows from the step.

    Attributes:
        progress: plain values, JSON.
        tensors: weights, optimizer and random numbers, by name.
    """

    progress: dict[str, Any]
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class ValidationScores:
    """How well the present weights do on validation.

    Attributes:
        confusion: (C, C) int64, rows are labels, columns predictions.
        metrics: of the model, under the record's names, and of its parts where it has two:
            `valid/recurrent_accuracy` and so on, and `valid/ngrams_accuracy`.
        value: the RNN's value of the objective.
        blend: of the two parts.
    """

    confusion: np.ndarray
    metrics: dict[str, float]
    value: float
    blend: Blend | None = None


def score_validation(
    model: Classifier,
    texts: TextDataset,
    labels: np.ndarray,
    objective: Objective,
    branch: tuple[np.ndarray, np.ndarray] | None = None,
) -> ValidationScores:
    """Score weights on the validation split, in the precision of training.

    Args:
        model: the RNN.
        texts: of the validation split.
        labels: int64 (n,).
        objective: what the best checkpoint goes by.
        branch: (n, K) logits of the n-gram branch, and (K,) log frequencies of the classes; None
            without a branch.

    Raises:
        TrainingError: the loss is not finite.
    """
    logits = predict_logits(model, texts)
    alone = score(to_log_probabilities(model, logits), labels)
    if not math.isfinite(alone.loss):
        raise TrainingError("the validation loss is not finite")
    own = alone.metrics("valid")
    if branch is None:
        return ValidationScores(alone.confusion, own, own[objective])
    of_ngrams, frequencies = branch
    blend = fit_blend(logits, of_ngrams, labels)
    if objective == "valid/f1":
        both = blend.logits(logits, of_ngrams, frequencies)
        blend = blend._replace(frequencies=choose_share(both, labels, frequencies))
    both = blend.logits(logits, of_ngrams, frequencies)
    whole = score(to_log_probabilities(model, both), labels)
    ngrams = score(to_log_probabilities(model, of_ngrams), labels)
    parts = {recurrent_name(name): value for name, value in own.items()}
    metrics = {**whole.metrics("valid"), **parts, "valid/ngrams_accuracy": ngrams.accuracy}
    return ValidationScores(whole.confusion, metrics, own[objective], blend)


@dataclass
class RunningScores:
    """Sums since the last evaluation; they stay on the device until they are read."""

    device: torch.device
    loss: torch.Tensor = field(init=False)
    hits: torch.Tensor = field(init=False)
    weight: torch.Tensor = field(init=False)
    count: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.loss, self.hits, self.weight = torch.zeros(
            3, dtype=torch.float64, device=self.device
        ).unbind()


def hits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return how many texts of logits (B, 1) or (B, C) have the right label, a scalar tensor."""
    if logits.shape[1] == 1:
        return ((logits.squeeze(1) > 0).long() == labels).sum()
    return (logits.argmax(dim=1) == labels).sum()
