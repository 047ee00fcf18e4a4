"""The tutorials' training loop, as the other side of measurements and of a test.

torch's own modules on a `PackedSequence` and Adam; nothing of ours but the settings.

Shapes: T steps, B texts, E embedding size, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

CELLS: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {
    "rnn": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


class TutorialModel(nn.Module):
    """Embedding, torch's packed layers, last states of all directions, linear head."""

    def __init__(
        self,
        words: int,
        dim: int,
        cell: str,
        hidden: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
        padding: int,
    ) -> None:
        """Make the model, with one output."""
        super().__init__()
        self.embedding = nn.Embedding(words, dim, padding_idx=padding)
        self.recurrent = CELLS[cell](
            dim,
            hidden,
            layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0,
        )
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), 1)
        self.dropout = nn.Dropout(dropout)
        self.directions = 2 if bidirectional else 1

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (B,) of word ids (T, B), in packed order."""
        embedded = self.dropout(self.embedding(ids))
        states = self.recurrent(pack_padded_sequence(embedded, lengths))[1]
        last = states[0] if isinstance(states, tuple) else states
        # (layers * directions, B, H): the last layer's directions side by side.
        pooled = torch.cat(list(last[-self.directions :]), dim=1)
        return self.head(self.dropout(pooled)).squeeze(1)


def step(
    model: TutorialModel, optimizer: torch.optim.Optimizer, ids: Tensor, lengths: Tensor, y: Tensor
) -> float:
    """Train on one batch, ids (T, B) and labels (B,); return its mean loss."""
    optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(model(ids, lengths), y.float())
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def bucket_batches(
    texts: Sequence[Sequence[str]], labels: Sequence[int], words: Sequence[str], batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield ids (T, B), lengths (B,) and labels (B,) as torchtext's BucketIterator makes them.

    Args:
        texts: tokens of each text.
        labels: of each text.
        words: the vocabulary, its first two `<unk>` and `<pad>`.
        batch_size: B.
    """
    from torchtext import data

    text_field = data.Field(include_lengths=True, unk_token="<unk>", pad_token="<pad>")
    label_field = data.LabelField(dtype=torch.long, use_vocab=False)
    fields = [("text", text_field), ("label", label_field)]
    examples = [
        data.Example.fromlist([list(tokens), int(label)], fields)
        for tokens, label in zip(texts, labels, strict=True)
    ]
    dataset = data.Dataset(examples, fields)
    # Each word once, the commonest most often, gives torchtext the very order of ours.
    text_field.build_vocab([[word] * 1 for word in words[2:]], specials_first=True)
    order = {word: index for index, word in enumerate(words)}
    text_field.vocab.itos = list(words)
    text_field.vocab.stoi.clear()
    text_field.vocab.stoi.update(order)
    iterator = data.BucketIterator(
        dataset,
        batch_size=batch_size,
        sort_within_batch=True,
        sort_key=lambda example: len(example.text),
        device=torch.device("cpu"),
    )
    for batch in iterator:
        ids, lengths = batch.text
        yield ids, lengths, batch.label
