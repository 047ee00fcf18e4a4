"""The sampled softmax against the whole one of torch."""

from __future__ import annotations

import torch
from torch.nn import functional

from sentiment.pretraining.sampled_softmax import ROWS, sampled_cross_entropy

POSITIONS, SIZE, WORDS = ROWS + 40, 6, 30


def inputs() -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(3)
    predictions = torch.randn(POSITIONS, SIZE, generator=random)
    embedding = torch.randn(WORDS, SIZE, generator=random)
    bias = torch.randn(WORDS, generator=random)
    targets = torch.randint(WORDS, (POSITIONS,), generator=random)
    return predictions, embedding, bias, targets


def gradients(loss_of, *trained: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    own = [each.clone().requires_grad_() for each in trained]
    loss = loss_of(*own)
    return loss.detach(), list(torch.autograd.grad(loss * 3.0, own))


def test_a_sample_of_all_words_is_the_softmax() -> None:
    predictions, embedding, bias, targets = inputs()
    every, none = torch.arange(WORDS), torch.zeros(WORDS)
    loss, found = gradients(
        lambda p, e, b: sampled_cross_entropy(p, targets, e, b, every, none),
        *(predictions, embedding, bias),
    )
    expected, exact = gradients(
        lambda p, e, b: functional.cross_entropy(p @ e.T + b, targets),
        *(predictions, embedding, bias),
    )
    torch.testing.assert_close(loss, expected)
    for value, own in zip(found, exact, strict=True):
        torch.testing.assert_close(value, own, rtol=1e-4, atol=1e-6)


def test_a_sample_is_the_softmax_over_it_and_the_own_word() -> None:
    predictions, embedding, bias, targets = inputs()
    sample = torch.tensor([4, 9, 20])
    log_expected = torch.linspace(-2.0, 0.0, WORDS)
    loss, found = gradients(
        lambda p, e, b: sampled_cross_entropy(p, targets, e, b, sample, log_expected),
        *(predictions, embedding, bias),
    )

    def by_hand(p: torch.Tensor, e: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        own = functional.one_hot(targets, WORDS).bool()
        logits = p @ e.T + b - log_expected.masked_fill(own, 0.0)
        seen = torch.zeros(POSITIONS, WORDS, dtype=torch.bool)
        seen[:, sample] = True
        seen[torch.arange(POSITIONS), targets] = True
        return functional.cross_entropy(logits.masked_fill(~seen, -torch.inf), targets)

    expected, exact = gradients(by_hand, predictions, embedding, bias)
    torch.testing.assert_close(loss, expected)
    for value, own in zip(found, exact, strict=True):
        torch.testing.assert_close(value, own, rtol=1e-4, atol=1e-6)


def test_in_the_mean_over_samples_it_comes_near_the_softmax() -> None:
    words, count, draws = 200, 100, 300
    random = torch.Generator().manual_seed(5)
    predictions = torch.randn(POSITIONS, SIZE, generator=random)
    embedding = torch.randn(words, SIZE, generator=random) / 2
    bias = torch.randn(words, generator=random)
    targets = torch.randint(words, (POSITIONS,), generator=random)
    log_expected = torch.full((words,), count / words).log()
    mean = torch.zeros_like(embedding)
    for _ in range(draws):
        sample = torch.randperm(words, generator=random)[:count]
        _, (own,) = gradients(
            lambda e, s=sample: sampled_cross_entropy(
                predictions, targets, e, bias, s, log_expected
            ),
            embedding,
        )
        mean += own / draws
    _, (exact,) = gradients(
        lambda e: functional.cross_entropy(predictions @ e.T + bias, targets), embedding
    )
    # What is left is the bias of a logarithm and the noise of the draws.
    assert (mean - exact).norm() < 0.1 * exact.norm()


def test_products_in_bfloat16_change_little() -> None:
    predictions, embedding, bias, targets = inputs()
    sample, none = torch.arange(12), torch.zeros(WORDS)
    values = [
        sampled_cross_entropy(predictions, targets, embedding, bias, sample, none, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    torch.testing.assert_close(values[0], values[1], rtol=5e-3, atol=0)
    assert values[0] != values[1]
