"""The virtual adversarial loss and the entropy, against torch's own layers and autograd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_corpus import config_of, corpus_of, split_of

from sentiment.data.corpus import Corpus
from sentiment.training.adversarial import mean_norm
from sentiment.training.trainer import Trainer
from sentiment.training.unlabelled import FIRST_SHARE, UnlabelledLoss, divergence

EPSILON, WEIGHT, ENTROPY = 0.1, 0.7, 0.3


def corpus_with_unsup(labelled: int = 300, unlabelled: int = 200, classes: int = 2) -> Corpus:
    corpus = corpus_of(classes)
    extra = replace(split_of(unlabelled, 7, classes), labels=np.empty(0, np.int64))
    train = split_of(labelled, 1, classes)
    return replace(corpus, splits={**corpus.splits, "train": train, "unsup": extra})


def by_torch(trainer: Trainer, batch, directions: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The losses of a batch, text by text, by torch's GRU; directions are the random ones."""
    model = trainer.model
    layers = nn.GRU(6, 8, bidirectional=model.config.bidirectional)
    layers.load_state_dict(model.recurrent.state_dict())
    norm = EPSILON * mean_norm(model.embedding.weight)

    def log_probabilities(vectors: torch.Tensor) -> torch.Tensor:
        outputs = layers(vectors.unsqueeze(1))[0].squeeze(1)
        return model.log_probabilities(model.head(outputs.amax(0, keepdim=True)))[0]

    kl, entropy = torch.zeros(()), torch.zeros(())
    for text in range(batch.layout.sequences):
        rows = batch.layout.sequence == text
        vectors = model.embedding.weight.detach()[batch.ids[rows]]
        length = norm * rows.sum().sqrt()
        first = directions[rows]
        first = (FIRST_SHARE * length * first / first.norm()).requires_grad_()
        before = log_probabilities(vectors).detach()
        near = log_probabilities(vectors + first)
        (gradient,) = torch.autograd.grad((before.exp() * (before - near)).sum(), first)
        after = log_probabilities(vectors + length * gradient / gradient.norm())
        kl = kl + (before.exp() * (before - after)).sum()
        entropy = entropy - (after.exp() * after).sum()
    return kl, entropy, *layers.parameters()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_through_the_packed_layers_are_torchs(
    bidirectional: bool, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(
        cell="gru",
        bidirectional=bidirectional,
        dropout=0,
        init_std=1.0,
        virtual_adversarial_weight=WEIGHT,
        virtual_adversarial_epsilon=EPSILON,
        entropy_weight=ENTROPY,
    )
    corpus = corpus_with_unsup(classes=classes)
    trainer = Trainer(config, corpus)
    unlabelled = trainer._unlabelled
    assert unlabelled is not None
    index = unlabelled._texts.epoch(16, config.training.seed + 1, 0)[0]
    ((_, batch),) = unlabelled._texts.batches([index])
    directions = torch.randn(len(batch.ids), 6, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr(torch, "randn_like", lambda _: directions.clone())
    kl, entropy, *parameters = by_torch(trainer, batch, directions)
    expected = torch.autograd.grad((WEIGHT * kl + ENTROPY * entropy) / len(index), parameters)
    trainer.model.train()
    unlabelled.backward(trainer.model, 0)
    for (name, own), exact in zip(
        trainer.model.recurrent.named_parameters(), expected, strict=True
    ):
        assert own.grad is not None
        scale = float(exact.abs().max())
        torch.testing.assert_close(own.grad, exact, rtol=2e-3, atol=2e-3 * scale, msg=name)
    assert trainer.model.embedding.weight.grad is not None


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    p, q = torch.tensor([[0.2, 0.8], [0.5, 0.5]]), torch.tensor([[0.4, 0.6], [0.5, 0.5]])
    expected = functional.kl_div(q.log(), p, reduction="sum")
    assert float(divergence(p.log(), q.log())) == pytest.approx(float(expected))
    assert float(divergence(p.log(), p.log())) == 0


def test_the_direction_found_changes_a_prediction_more_than_a_random_one() -> None:
    config = config_of(cell="lstm", init_std=1.0, dropout=0, virtual_adversarial_weight=1.0)
    trainer = Trainer(config, corpus_with_unsup())
    for _ in trainer.evaluations():
        pass
    unlabelled, model = trainer._unlabelled, trainer.model
    assert unlabelled is not None
    changed = []
    for index in unlabelled._texts.epoch(32, 5, 0)[:5]:
        ((_, batch),) = unlabelled._texts.batches([index])
        fixed, read = (
            part.detach() if torch.is_tensor(part) else part for part in model.embed(batch)
        )
        with torch.no_grad():
            before = model.log_probabilities(model.classify(fixed, read, batch.layout))
        found = unlabelled._direction(model, fixed, read, batch.layout, before)
        by_chance = torch.randn_like(found)
        by_chance *= (found.norm() / by_chance.norm()).item()
        with torch.no_grad():
            changed.append(
                [
                    float(
                        divergence(
                            before,
                            model.log_probabilities(
                                model.classify(fixed + moved, read, batch.layout)
                            ),
                        )
                    )
                    for moved in (found, by_chance)
                ]
            )
    found_most, random_most = np.sum(changed, axis=0)
    assert found_most > 5 * random_most > 0


def test_unlabelled_texts_help_where_labels_are_few() -> None:
    """Eight labels show some of the words that tell; the others stand in texts without labels."""
    corpus = corpus_with_unsup(labelled=8, unlabelled=300)
    means = []
    for weight in (0.0, 1.0):
        reached = []
        for seed in (1, 2, 3):
            config = config_of(
                epochs=60,
                batch_size=8,
                init_std=1.0,
                virtual_adversarial_weight=weight,
                virtual_adversarial_epsilon=0.3,
                seed=seed,
            )
            evaluations = [e.metrics for e in Trainer(config, corpus).evaluations()]
            reached.append(evaluations[-1]["valid/accuracy"])
        means.append(np.mean(reached))
    assert means[1] > means[0] + 0.02


def test_a_training_with_it_continues_to_the_bit() -> None:
    config = config_of(epochs=2, virtual_adversarial_weight=1.0, evaluations_per_epoch=2)
    corpus = corpus_with_unsup(unlabelled=70)  # another number of batches than train has
    whole = Trainer(config, corpus)
    metrics = [e.metrics["train/loss"] for e in whole.evaluations()]
    first = Trainer(config, corpus)
    evaluations = first.evaluations()
    for _ in range(2):
        next(evaluations)
    state, best = first.state, first.best.weights
    again = Trainer(config, corpus)
    again.restore(state, best)
    assert [e.metrics["train/loss"] for e in again.evaluations()] == metrics[2:]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_it_is_made_only_where_it_is_asked_for() -> None:
    assert not UnlabelledLoss.is_asked_for(config_of().training)
    assert UnlabelledLoss.is_asked_for(config_of(entropy_weight=0.1).training)
    assert UnlabelledLoss.is_asked_for(config_of(virtual_adversarial_weight=0.1).training)
    assert Trainer(config_of(), corpus_of())._unlabelled is None
