"""The classifier: word ids of a batch in, logits out.

Shapes: N tokens in packed order, B texts, E embedding size, H hidden units, D directions,
C classes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from sentiment.config import ModelConfig
from sentiment.data.batching import Batch
from sentiment.data.packed_layout import PackedLayout
from sentiment.data.vocabulary import PAD_ID
from sentiment.nn.dropout import dropout
from sentiment.nn.packed_rnn import PackedRNN
from sentiment.nn.pooling import POOLINGS


class Classifier(nn.Module):
    """Embedding, recurrent layers, pooling over a text's own steps, linear head."""

    def __init__(
        self,
        config: ModelConfig,
        words: int,
        dim: int,
        classes: int,
        matrix: torch.Tensor | None = None,
    ) -> None:
        """Make the model.

        Args:
            config: its settings.
            words: rows of the embedding, `<unk>` and `<pad>` included.
            dim: E, the size of the word vectors.
            classes: C, at least 2.
            matrix: (words, E) first values of the embedding; zeros without it.
        """
        super().__init__()
        self.config = config
        self.classes = classes
        self.binary = config.is_binary(classes)
        start = torch.zeros(words, dim) if matrix is None else matrix
        self.embedding = nn.Embedding.from_pretrained(
            start, freeze=config.freeze_embedding, padding_idx=PAD_ID
        )
        self.recurrent = PackedRNN(
            config.cell,
            dim,
            config.hidden_dim,
            config.layers,
            config.bidirectional,
            _own(config.layer_dropout, config.dropout),
        )
        self.head = nn.Linear(
            config.hidden_dim * self.recurrent.directions, 1 if self.binary else classes
        )
        self.embedding_dropout = _own(config.embedding_dropout, config.dropout)
        self.head_dropout = _own(config.head_dropout, config.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return logits: (B, 1) for a binary model, else (B, C)."""
        embedded, read = self.embed(batch)
        return self.classify(embedded, read, batch.layout)

    def embed(self, batch: Batch) -> tuple[torch.Tensor, PackedLayout]:
        """Return the word vectors after dropout, (N, E), and the layout of their rows.

        With `packing: padded` the padding has rows too.
        """
        read, ids = batch.layout, batch.ids
        if self.config.packing == "padded":
            read = batch.layout.to_padded()
            padding = torch.full((read.rows,), PAD_ID, device=ids.device)
            ids = padding.index_copy(0, batch.layout.padded_index, ids)
        return self._drop_embedded(self.embedding(ids), read), read

    def classify(
        self, embedded: torch.Tensor, read: PackedLayout, own: PackedLayout
    ) -> torch.Tensor:
        """Return the logits of word vectors.

        Args:
            embedded: (N, E), from `embed`.
            read: the layout of its rows.
            own: the layout of the batch, without padding.
        """
        outputs = self.recurrent(embedded, read)
        if read is not own and self.config.pooling != "last":
            outputs, read = outputs.index_select(0, own.padded_index), own
        pooled = POOLINGS[self.config.pooling](outputs.flatten(1), read)
        return self.head(dropout(pooled, self.head_dropout, self.training))

    def log_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits into log probabilities (B, C)."""
        if self.binary:
            return functional.logsigmoid(torch.cat([-logits, logits], dim=1))
        return functional.log_softmax(logits, dim=1)

    def parameter_counts(self) -> dict[str, int]:
        """Count parameters, in all and by part."""
        parts = {"embedding": self.embedding, "recurrent": self.recurrent, "head": self.head}
        counts = {
            name: sum(parameter.numel() for parameter in part.parameters())
            for name, part in parts.items()
        }
        trainable = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return {"total": sum(counts.values()), "trainable": trainable, **counts}

    def _drop_embedded(self, embedded: torch.Tensor, layout: PackedLayout) -> torch.Tensor:
        """Drop features of (N, E), by one mask for all steps of a text where so set.

        The shared mask is variational dropout (Gal and Ghahramani, 2016, arXiv:1512.05287).
        """
        if not self.training or self.embedding_dropout == 0:
            return embedded
        if not self.config.variational_dropout:
            return dropout(embedded, self.embedding_dropout)
        ones = embedded.new_ones(layout.sequences, embedded.shape[1])
        mask = dropout(ones, self.embedding_dropout)
        return embedded * mask.index_select(0, layout.sequence)


def _own(value: float | None, shared: float) -> float:
    """Return a dropout's own rate where it has one, else the shared rate."""
    return shared if value is None else value
