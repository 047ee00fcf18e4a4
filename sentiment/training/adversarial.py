"""Adversarial training on labelled texts: word vectors moved to where the loss is higher.

Miyato, Dai and Goodfellow, 2017, arXiv:1605.07725: beside its own loss a text counts with that of
its word vectors plus r = epsilon * g / ||g||, where g is the loss's gradient with respect to all
word vectors of the text, and ||g|| its norm over the text. There the vectors are normalised; here
epsilon is in units of the word vectors' root mean square norm before training.
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


def perturbation(gradient: torch.Tensor, layout: PackedLayout, length: float) -> torch.Tensor:
    """Return what moves each text by a length along its gradient.

    Args:
        gradient: (N, E), the loss's with respect to the word vectors; each text's loss may have
            a factor of its own.
        layout: of its rows.
        length: the norm of the result over a text's rows.
    """
    squares = gradient.new_zeros(layout.sequences)
    squares.index_add_(0, layout.sequence, gradient.square().sum(1))
    scale = length / squares.sqrt().clamp_min(_SMALLEST_NORM)
    return gradient * scale.index_select(0, layout.sequence).unsqueeze(1)
