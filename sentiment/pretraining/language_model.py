"""A language model of one direction: packed recurrent layers that predict each next word.

The words' vectors are those that a word is predicted by, too (tied weights: Press and Wolf, 2017,
arXiv:1608.05859; Inan et al., 2017, arXiv:1611.01462), behind a projection of the outputs.

Shapes: N tokens in packed order, P of them predicted, E embedding size, H hidden units, V words of
the vocabulary with the special ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sentiment.data.batching import Batch
from sentiment.data.packed_layout import PackedLayout
from sentiment.data.vocabulary import PAD_ID, SPECIALS
from sentiment.nn.dropout import dropout
from sentiment.nn.matmul import filled_up, padded_rows
from sentiment.nn.packed_rnn import PackedRNN, gather


class LanguageModel(nn.Module):
    """Embedding, recurrent layers of one direction, projection to the embedding's size."""

    def __init__(
        self,
        cell: str,
        layers: int,
        hidden: int,
        matrix: Tensor,
        log_frequency: Tensor,
        *,
        backward: bool,
        share_dropped: float,
    ) -> None:
        """Make the model.

        Args:
            cell: rnn, gru or lstm.
            layers: recurrent layers.
            hidden: H.
            matrix: (V, E) first values of the embedding.
            log_frequency: (V,) first values of the words' biases.
            backward: whether a text is read from its end.
            share_dropped: dropout on embeddings, between layers and on the outputs.
        """
        super().__init__()
        size = matrix.shape[1]
        self.backward_reading = backward
        self.share_dropped = share_dropped
        self.embedding = nn.Embedding.from_pretrained(matrix, freeze=False, padding_idx=PAD_ID)
        self.recurrent = PackedRNN(cell, size, hidden, layers, dropout=share_dropped)
        self.projection = nn.Linear(hidden, size)
        self.bias = nn.Parameter(log_frequency)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return predictions (P, E) and the words that stand there, (P,).

        A word outside the vocabulary is read and not predicted, nor is the first of a text.
        """
        layout = batch.layout
        ids = batch.ids[layout.reversed_index] if self.backward_reading else batch.ids
        embedded = self.embedding(ids)
        if self.training:
            ones = embedded.new_ones(layout.sequences, embedded.shape[1])
            mask = dropout(ones, self.share_dropped)
            embedded = embedded * mask.index_select(0, layout.sequence)
        outputs = self.recurrent(embedded, layout)[:, 0]
        outputs = dropout(outputs, self.share_dropped, self.training)
        predicted, before = _predicted(layout, ids)
        return gather(self._project(outputs), before), ids[predicted]

    def _project(self, outputs: Tensor) -> Tensor:
        dtype = self.recurrent.compute_dtype
        rows = len(outputs)
        if outputs.device.type == "cpu" and dtype is not None:
            outputs = filled_up(outputs, padded_rows(rows, dtype))
        with torch.autocast(outputs.device.type, dtype=dtype, enabled=dtype is not None):
            projected: Tensor = self.projection(outputs)
        return projected[:rows].float()


def _predicted(layout: PackedLayout, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (P,) whose words are predicted, and the row before each in its text."""
    predicted = torch.nonzero((layout.step > 0) & (ids >= len(SPECIALS))).squeeze(1)
    return predicted, layout.row(layout.step[predicted] - 1, layout.sequence[predicted])
