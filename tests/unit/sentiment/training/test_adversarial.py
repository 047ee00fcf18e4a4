"""The step with adversarial training, against the formula of the paper computed by autograd."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from toy_corpus import config_of, corpus_of

from sentiment.data.packed_layout import PackedLayout
from sentiment.embeddings.sources import WordVectors
from sentiment.training.adversarial import mean_norm, perturbation
from sentiment.training.trainer import Trainer

EPSILON = 0.1


def losses_of(trainer, batch, embedded, read):
    logits = trainer.model.classify(embedded, read, batch.layout).squeeze(1)
    return functional.binary_cross_entropy_with_logits(
        logits, batch.labels.float(), reduction="none"
    )


def test_each_text_moves_along_its_own_gradient_as_far_as_its_length_asks():
    lengths = torch.tensor([3, 2, 1])
    layout = PackedLayout(lengths, 3, 6)
    gradient = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    gradient[layout.sequence == 1] *= 1e-6
    gradient[layout.sequence == 2] = 0
    moved = perturbation(gradient, layout, 2.0)
    for text, norm in enumerate([2.0 * 3**0.5, 2.0 * 2**0.5, 0.0]):
        rows = layout.sequence == text
        assert moved[rows].norm() == pytest.approx(norm, rel=1e-5)
        if norm:
            cosine = functional.cosine_similarity(
                moved[rows].flatten(), gradient[rows].flatten(), dim=0
            )
            assert cosine == pytest.approx(1.0, abs=1e-5)


def test_mean_norm_is_the_root_of_the_mean_square():
    assert mean_norm(torch.tensor([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx((25 / 2) ** 0.5)


@pytest.mark.parametrize("packing", ["packed", "padded"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_gradients_of_a_step_are_those_of_both_losses(cell, packing, monkeypatch):
    config = config_of(
        cell=cell, packing=packing, dropout=0, gradient_clip=0, adversarial_epsilon=EPSILON
    )
    trainer = Trainer(config, corpus_of())
    trainer.model.train()
    index, (batch,) = next(iter(trainer.plan.batches(0)))
    embedded, read = trainer.model.embed(batch)
    losses = losses_of(trainer, batch, embedded, read)
    (gradient,) = torch.autograd.grad(losses.sum(), embedded, retain_graph=True)
    step = EPSILON * mean_norm(trainer.model.embedding.weight)
    shift = torch.zeros_like(gradient)
    for text in range(read.sequences):
        rows = read.sequence == text
        length = step * rows.sum().sqrt()
        shift[rows] = length * gradient[rows] / gradient[rows].norm()
    beyond = losses_of(trainer, batch, trainer.model.embed(batch)[0] + shift, read)
    assert (beyond > losses).all()
    parameters = list(trainer.model.parameters())
    expected = torch.autograd.grad((losses + beyond).mean(), parameters)

    taken = []
    monkeypatch.setattr(
        trainer.optimizer, "step", lambda: taken.extend(p.grad.clone() for p in parameters)
    )
    monkeypatch.setattr(trainer.plan, "batches", lambda step: iter([(index, [batch])]))
    next(trainer.evaluations(), None)
    for one, other in zip(taken, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_frozen_vectors_are_perturbed_too_and_stay():
    vectors = WordVectors(
        np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32), np.ones(8, bool), "toy"
    )
    settings = {"embedding": "glove", "freeze_embedding": True, "epochs": 2}
    ends = []
    for epsilon in (0.0, EPSILON):
        config = config_of(**settings, adversarial_epsilon=epsilon)
        trainer = Trainer(config, corpus_of(), vectors)
        before = trainer.model.embedding.weight.clone()
        ends.append([e.metrics["train/loss"] for e in trainer.evaluations()])
        assert torch.equal(trainer.model.embedding.weight, before)
    assert ends[0] != ends[1]


def test_it_learns():
    config = config_of(init_std=1.0, adversarial_epsilon=EPSILON)
    evaluations = list(Trainer(config, corpus_of()).evaluations())
    assert max(e.metrics["valid/accuracy"] for e in evaluations) > 0.9
