"""Cross-entropy over a large vocabulary by a sample of it, shared by all positions of a batch.

The loss of a position is that of its own word among the sampled ones, whose logits are lowered by
the log of how often they are expected in a sample (Bengio and Senecal, 2008; Rawat et al., 2019,
arXiv:1907.10747): in the mean over samples its gradient comes near that of the whole softmax, at
the cost of S words in place of V.

Shapes: P positions, E embedding size, V words of the vocabulary, S words of the sample.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sentiment.nn.matmul import filled_up, padded_rows

ROWS = 512
"""Positions at once: their logits stay in a core's cache."""
_NEVER = -1e30


def sampled_cross_entropy(
    predictions: Tensor,
    targets: Tensor,
    embedding: Tensor,
    bias: Tensor,
    sample: Tensor,
    log_expected: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the mean loss of all positions, an estimate of the whole softmax's.

    Args:
        predictions: float32 (P, E); the logit of a word is its product with the word's vector,
            plus the word's bias.
        targets: int64 (P,), the words that stand there.
        embedding: float32 (V, E).
        bias: float32 (V,).
        sample: int64 (S,), different words; a position's own word does not count in it.
        log_expected: float32 (V,), log of the expected number of each word in a sample; zeros
            where the sample is the whole vocabulary.
        dtype: of the products.
    """
    loss: Tensor = _SampledCrossEntropy.apply(
        predictions, embedding, bias, targets, sample, log_expected, dtype
    )
    return loss


class _SampledCrossEntropy(torch.autograd.Function):
    """Computes loss and gradients together, part by part: no (P, S) array is ever made."""

    @staticmethod
    def forward(
        ctx: Any,
        predictions: Tensor,
        embedding: Tensor,
        bias: Tensor,
        targets: Tensor,
        sample: Tensor,
        log_expected: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        count = len(predictions)
        place = sample.new_full((len(embedding),), -1)
        place[sample] = torch.arange(len(sample), device=sample.device)
        own_place = place[targets]
        words = embedding[sample].to(dtype)
        shift = bias[sample] - log_expected[sample]
        own_vectors = embedding[targets]
        own_logits = (predictions * own_vectors).sum(1) + bias[targets]

        last = count % ROWS
        filled = padded_rows(last, dtype) if predictions.device.type == "cpu" else last
        read = filled_up(predictions.to(dtype), count - last + filled)
        gradient = torch.empty_like(predictions)
        of_words = torch.zeros(words.shape, device=words.device)
        of_shift = torch.zeros_like(shift)
        own_error = torch.empty_like(own_logits)
        loss = own_logits.new_zeros(())
        for start in range(0, count, ROWS):
            part, rows = read[start : start + ROWS], slice(start, min(start + ROWS, count))
            own = own_logits[rows]
            logits = (part @ words.T)[: len(own)].float().add_(shift)
            hit = torch.nonzero(own_place[rows] >= 0).squeeze(1)
            logits[hit, own_place[rows][hit]] = _NEVER
            largest = torch.maximum(logits.amax(1), own)
            shares = logits.sub_(largest.unsqueeze(1)).exp_()
            own_share = torch.exp(own - largest)
            total = shares.sum(1) + own_share
            loss += (torch.log(total) + largest - own).sum()
            shares.div_(total.unsqueeze(1))
            own_error[rows] = own_share / total - 1
            reduced = filled_up(shares.to(dtype), len(part))
            gradient[rows] = (reduced @ words)[: len(own)].float()
            of_words += (reduced.T @ part).float()
            of_shift += shares.sum(0)

        error = own_error.unsqueeze(1)
        gradient += error * own_vectors
        of_embedding = torch.zeros_like(embedding)
        of_embedding.index_add_(0, sample, of_words).index_add_(0, targets, error * predictions)
        of_bias = torch.zeros_like(bias)
        of_bias.index_add_(0, sample, of_shift).index_add_(0, targets, own_error)
        ctx.save_for_backward(gradient, of_embedding, of_bias)
        ctx.count = count
        return loss / count

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient, of_embedding, of_bias = ctx.saved_tensors
        scale = upstream / ctx.count
        return gradient * scale, of_embedding * scale, of_bias * scale, None, None, None, None
