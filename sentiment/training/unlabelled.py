"""Training on texts without their labels: virtual adversarial loss and entropy.

Virtual adversarial training (Miyato, Dai and Goodfellow, 2017, arXiv:1605.07725): what the model
says of a text shall not change where its word vectors are moved a little in the direction in which
it changes most. That direction is the gradient of KL(p(x) || p(x + d)) with respect to d at a small
random d; the loss is KL(p(x) || p(x + r)) with r along it. Neither needs a label. The length of r
is that of `sentiment.training.adversarial`. Entropy minimization (Grandvalet and Bengio, 2005) adds
the entropy of the prediction, so that the boundary between classes keeps away from texts.

Shapes: N tokens in packed order, B texts, E embedding size, C classes.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from sentiment.config import Config, TrainingConfig
from sentiment.data.batching import Batch, TextDataset
from sentiment.data.corpus import Corpus, unlabelled_texts
from sentiment.data.packed_layout import PackedLayout
from sentiment.nn.classifier import Classifier
from sentiment.training.adversarial import perturbation
from sentiment.training.batch_plan import parts_of

FIRST_SHARE = 0.1
"""Length of the random d over that of r."""
_SEED_OFFSET = 1
"""The order of these texts is not that of the labelled ones."""


class UnlabelledLoss:
    """Adds to each step's gradient that of a batch of texts of train and unsup, labels unseen."""

    def __init__(
        self, config: Config, corpus: Corpus, known: int, device: torch.device, norm: float
    ) -> None:
        """Take the texts.

        Args:
            config: all settings.
            corpus: the encoded splits.
            known: words of the vocabulary, the special ones not counted.
            device: where the model is.
            norm: root mean square norm of the word vectors before training.
        """
        training = config.training
        self._config = config
        self._texts = TextDataset(unlabelled_texts(corpus), config.text, known, device)
        self._device = device
        self._weight = training.virtual_adversarial_weight
        self._entropy = training.entropy_weight
        self._length = training.virtual_adversarial_epsilon * norm
        self._epoch: int | None = None
        self._plan: list[np.ndarray] = []

    @staticmethod
    def is_asked_for(training: TrainingConfig) -> bool:
        """Whether the settings give it a weight."""
        return bool(training.virtual_adversarial_weight or training.entropy_weight)

    def backward(self, model: Classifier, step: int) -> None:
        """Add the gradients of the step's batch, whose texts depend on the step alone."""
        training = self._config.training
        per_epoch = math.ceil(self._texts.size / training.batch_size)
        epoch, place = divmod(step, per_epoch)
        if epoch != self._epoch:
            seed = training.seed + _SEED_OFFSET
            self._plan = self._texts.epoch(training.batch_size, seed, epoch)
            self._epoch = epoch
        index = self._plan[place]
        parts = parts_of(index, self._texts, self._config.model, self._device)
        for _, part in self._texts.batches(parts):
            (self._loss(model, part) / len(index)).backward()

    def _loss(self, model: Classifier, batch: Batch) -> torch.Tensor:
        """Return the weighted sum of the texts' losses."""
        embedded, read = model.embed(batch)
        moved = embedded
        before: torch.Tensor | None = None
        if self._weight:
            fixed = embedded.detach()
            with torch.no_grad():
                before = model.log_probabilities(model.classify(fixed, read, batch.layout))
            moved = embedded + self._direction(model, fixed, read, batch.layout, before)
        after = model.log_probabilities(model.classify(moved, read, batch.layout))
        loss = after.new_zeros(())
        if before is not None:
            loss = loss + self._weight * divergence(before, after)
        if self._entropy:
            loss = loss - self._entropy * (after.exp() * after).sum()
        return loss

    def _direction(
        self,
        model: Classifier,
        fixed: torch.Tensor,
        read: PackedLayout,
        own: PackedLayout,
        before: torch.Tensor,
    ) -> torch.Tensor:
        """Return r, (N, E): where the prediction changes most."""
        first = perturbation(torch.randn_like(fixed), read, FIRST_SHARE * self._length)
        first.requires_grad_()
        near = model.log_probabilities(model.classify(fixed + first, read, own))
        (gradient,) = torch.autograd.grad(divergence(before, near), first)
        return perturbation(gradient, read, self._length)


def divergence(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the sum over texts of KL(before || after), both log probabilities (B, C)."""
    return (before.exp() * (before - after)).sum()
