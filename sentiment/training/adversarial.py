"""Adversarial training on labelled texts: word vectors moved to where the loss is higher.

Miyato, Dai and Goodfellow, 2017, arXiv:1605.07725: beside its own loss a text counts with that of
its word vectors plus r = length * g / ||g||, where g is the loss's gradient with respect to all
word vectors of the text, and ||g|| its norm over the text. There the length is the same for all
texts and the vectors are normalised. Here it is epsilon * s * sqrt(T) for a text of T tokens, where
s is the vectors' root mean square norm before training: whatever the length of the text and the
scale of the vectors, a word vector moves by epsilon of its norm in the quadratic mean.
"""

from __future__ import annotations

import torch

from sentiment.data.packed_layout import PackedLayout

_SMALLEST_NORM = 1e-12


def mean_norm(vectors: torch.Tensor) -> float:
    """Return the root mean square norm of the rows of (words, E)."""
    return float(vectors.detach().float().square().sum(1).mean().sqrt())


def tracked(embedded: torch.Tensor) -> torch.Tensor:
    """Make a backward pass keep the gradient with respect to word vectors (N, E)."""
    if embedded.requires_grad:
        embedded.retain_grad()
        return embedded
    return embedded.requires_grad_()  # of an embedding that is frozen


def perturbation(gradient: torch.Tensor, layout: PackedLayout, step: float) -> torch.Tensor:
    """Return what moves each text along its gradient.

    Args:
        gradient: (N, E), the loss's with respect to the word vectors; each text's loss may have
            a factor of its own.
        layout: of its rows.
        step: the root mean square norm, over the rows of a text, of what is returned.
    """
    squares = gradient.new_zeros(layout.sequences)
    squares.index_add_(0, layout.sequence, gradient.square().sum(1))
    lengths = step * layout.lengths.to(gradient).sqrt()
    scale = lengths / squares.sqrt().clamp_min(_SMALLEST_NORM)
    return gradient * scale.index_select(0, layout.sequence).unsqueeze(1)
