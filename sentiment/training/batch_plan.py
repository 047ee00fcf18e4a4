"""The plan of a training: how many steps it has, and the batches of each, in parts that fit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch

from sentiment.config import Config, ModelConfig
from sentiment.data.batching import Batch, TextDataset
from sentiment.nn.packed_rnn import GATES

ACTIVATION_BYTES = {"rnn": 300 * 2**20, "gru": 300 * 2**20, "lstm": 150 * 2**20}
"""Estimated memory of a batch's activations above which it goes through the model in parts. Of
differing lengths the freed tensors leave holes as large again. An LSTM is as fast with parts of
half the size, the others lose a tenth (docs/benchmarks.md)."""


class BatchPlan:
    """Batches from the first step to the last; it depends on settings and texts alone."""

    def __init__(self, config: Config, texts: TextDataset, device: torch.device) -> None:
        """Count the steps.

        Args:
            config: all settings.
            texts: of the train split.
            device: where the model is.
        """
        self._config = config
        self._texts = texts
        self._device = device
        self.budget = math.ceil(config.training.epochs * texts.size)
        """Training examples of the full budget; the last batch may go beyond it."""
        self.steps = self._count_steps()

    def evaluations_due(self, examples: int) -> int:
        """Return how many evaluations belong to so many training examples seen."""
        training = self._config.training
        interval = self._texts.size / training.evaluations_per_epoch
        early = (interval / 2**halvings for halvings in range(1, training.early_evaluations + 1))
        return int(examples / interval) + sum(examples >= each for each in early)

    def batches(self, step: int) -> Iterator[tuple[np.ndarray, list[Batch]]]:
        """Yield the batches after so many steps, each in its parts, until the budget is used up."""
        training = self._config.training
        epoch, done = divmod(step, math.ceil(self._texts.size / training.batch_size))
        while step < self.steps:
            plan = self._texts.epoch(training.batch_size, training.seed, epoch)
            plan = plan[done : done + self.steps - step]
            parts = [self.parts(index) for index in plan]
            gathered = self._texts.batches([part for index in parts for part in index])
            for index, own in zip(plan, parts, strict=True):
                step += 1
                yield index, [batch for _, batch in itertools.islice(gathered, len(own))]
            epoch, done = epoch + 1, 0

    def parts(self, index: np.ndarray) -> list[np.ndarray]:
        """Part a batch whose activations would take more memory than a training should.

        The parts' gradients add up to the batch's, so only random draws depend on it.
        """
        return parts_of(index, self._texts, self._config.model, self._device)

    def _count_steps(self) -> int:
        training = self._config.training
        epochs, rest = divmod(self.budget, self._texts.size)
        steps = epochs * math.ceil(self._texts.size / training.batch_size)
        if rest:
            plan = self._texts.epoch(training.batch_size, training.seed, epochs)
            seen = np.cumsum([len(index) for index in plan])
            steps += int(np.searchsorted(seen, rest)) + 1
        return min(steps, training.max_steps) if training.max_steps else steps


def parts_of(
    index: np.ndarray, texts: TextDataset, model: ModelConfig, device: torch.device
) -> list[np.ndarray]:
    """Part the index of a batch so that a part's activations fit; on a GPU it stays whole."""
    if device.type != "cpu":
        return [index]
    needed = activation_bytes(int(texts.lengths[index].sum()), model)
    count = math.ceil(needed / ACTIVATION_BYTES[model.cell])
    return np.array_split(index, min(count, len(index)))


def activation_bytes(tokens: int, model: ModelConfig) -> int:
    """Estimate the memory of the activations of so many tokens."""
    units = model.layers * model.hidden_dim * (2 if model.bidirectional else 1)
    # Of each unit and token the gates and about four states are kept, of four bytes.
    return tokens * 4 * units * (GATES[model.cell] + 4)
