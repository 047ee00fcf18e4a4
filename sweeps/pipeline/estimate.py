"""How long a sweep on the CPU may take, before anything has run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import torch

from sentiment.data.datasets import Dataset
from sentiment.data.packed_layout import PackedLayout
from sentiment.nn.packed_rnn import PackedRNN
from sweeps.execution.resources import Workers
from sweeps.search.cost_model import TrialCost
from sweeps.search.rungs import Rungs
from sweeps.space.space import SearchSpace

SAMPLES = 64
EFFICIENCY = 0.65
"""Share of the speed of recurrent layers alone that a whole training step reaches."""
CELL, HIDDEN, INPUTS, BATCH = "lstm", 128, 100, 64
"""The layers that are timed: small ones take more time for an operation, wide ones less."""
START_SECONDS = 90.0
"""Set-up: tokenising, word vectors, the workers' imports."""
NB_SECONDS = 1.0
"""Naive-Bayes n-grams and their two logistic regressions, for each million characters of train."""
TFIDF_SECONDS = 1.5
"""TF-IDF and its three logistic regressions, for each million characters of the train split."""


@dataclass(frozen=True)
class StagePlan:
    """What a stage would do.

    Attributes:
        name: of the stage, in the estimate.
        lines: for the user.
        seconds: that it may take; 0.0 where that is not estimated.
    """

    name: str
    lines: Sequence[str] = ()
    seconds: float = 0.0


class Estimator:
    """Estimates seconds from arithmetic and the measured speed of recurrent layers."""

    def __init__(
        self,
        cost: TrialCost,
        rungs: Rungs,
        workers: Workers,
        dtype: torch.dtype,
        speed: float | None = None,
    ) -> None:
        """Measure the speed.

        Args:
            cost: of a training example.
            rungs: where trials are compared.
            workers: how many at once.
            dtype: of the recurrent layers.
            speed: operations a second of recurrent layers on one core, as `TrialCost` counts them;
                measured, if None.
        """
        self._cost = cost
        self._rungs = rungs
        self._workers = workers
        self._speed = (_speed(cost, dtype) if speed is None else speed) * EFFICIENCY

    def trials(self, space: SearchSpace, count: int, scheduler: str) -> float:
        """Return the seconds of trials of a search under a scheduler."""
        examples = count * self._rungs.mean_examples(scheduler)
        return examples * self._mean(space) / self._speed / self._workers.count

    def predictions(self, space: SearchSpace, texts: int) -> float:
        """Return the seconds of predictions of texts, on all cores: a third of training on them."""
        return texts * self._mean(space) / 3 / self._speed / self._workers.count

    def finalists(self, space: SearchSpace, count: int, epochs: float) -> float:
        """Return the seconds of some finalists, or of refits."""
        rounds = -(-count // self._workers.count)
        return rounds * epochs * self._cost.texts * self._mean(space) / self._speed

    def confirmation(self, space: SearchSpace, seeds: int) -> float:
        """Return the seconds of the winner's settings with other seeds; each runs to its end."""
        rounds = -(-seeds // self._workers.count)
        return rounds * self._rungs.budget * self._mean(space) / self._speed

    def baselines(self, recipes: Iterable[Mapping[str, Any]], dataset: Dataset) -> float:
        """Return the seconds of recipes, by their settings, as many at once as there are workers.

        Args:
            recipes: hyperparameters by name, all of them.
            dataset: what they are trained on.
        """
        texts = len(dataset.splits["train"].texts)
        seconds = []
        for settings in recipes:
            examples = settings["epochs"] * texts
            if settings["max_steps"]:
                examples = min(examples, settings["max_steps"] * settings["batch_size"])
            seconds.append(examples * self._cost(settings) / self._speed)
        return _makespan(seconds, self._workers.count)

    def pretraining(self, models: Iterable[Mapping[str, Any]], texts: int) -> float:
        """Return the seconds of language models, as many at once as there are workers.

        Args:
            models: the settings of a classifier for each of its directions, all of them.
            texts: that they are trained on, about as long as those of train.
        """
        seconds = []
        for settings in models:
            directions = 1 + settings["bidirectional"]
            dim = settings["embedding_dim"] // directions
            one = {**settings, "bidirectional": False, "embedding_dim": dim}
            examples = settings["pretraining_epochs"] * texts
            seconds.append(examples * self._cost(one) / self._speed)
        return _makespan(seconds, self._workers.count)

    def _mean(self, space: SearchSpace) -> float:
        """Return the operations of a training example, averaged over random settings."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return float(np.mean([_operations(space, self._cost, seed) for seed in range(SAMPLES)]))


def tfidf_seconds(dataset: Dataset) -> float:
    """Return the seconds of the TF-IDF baseline."""
    return TFIDF_SECONDS * sum(map(len, dataset.splits["train"].texts)) / 1e6


def nb_logistic_seconds(dataset: Dataset) -> float:
    """Return the seconds of the naive-Bayes baseline."""
    return NB_SECONDS * sum(map(len, dataset.splits["train"].texts)) / 1e6


def _makespan(seconds: Sequence[float], workers: int) -> float:
    """Return when the last of tasks ends that start in their order, each as a worker is free."""
    free = [0.0] * workers
    for each in seconds:
        free[free.index(min(free))] += each
    return max(free)


def _operations(space: SearchSpace, cost: TrialCost, seed: int) -> float:
    """Return the operations of a training example under random settings."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    return cost(space.suggest(optuna.create_study(sampler=sampler).ask()))


def _speed(cost: TrialCost, dtype: torch.dtype, seconds: float = 0.4) -> float:
    """Measure the operations a second of one core on a batch of texts as long as those of train.

    A product of matrices alone says little: with AMX it is several times as fast, the layers not.
    """
    settings = {
        "cell": CELL,
        "hidden_dim": HIDDEN,
        "embedding_dim": INPUTS,
        "layers": 1,
        "bidirectional": False,
    }
    layers = PackedRNN(CELL, INPUTS, HIDDEN)
    if dtype != torch.float32:
        layers.compute_dtype = dtype
    lengths = cost.batch_lengths(BATCH, settings)
    layout = PackedLayout.of(torch.from_numpy(lengths))
    inputs = torch.randn(layout.rows, INPUTS, requires_grad=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        layers(inputs, layout).sum().backward()  # compiles what the machine lacks
        count, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            layers(inputs, layout).sum().backward()
            count += 1
    finally:
        torch.set_num_threads(threads)
    return count * BATCH * cost(settings) / spent
