"""What a language model predicts, and from what."""

from __future__ import annotations

import pytest
import torch

from sentiment.data.batching import Batch
from sentiment.data.packed_layout import PackedLayout
from sentiment.data.vocabulary import UNK_ID
from sentiment.pretraining.language_model import LanguageModel

WORDS, SIZE, HIDDEN = 9, 4, 5
TEXTS = ([2, 3, 4, 5, 6], [7, UNK_ID, 8], [3, 2], [5])


def batch_of(texts: tuple[list[int], ...] = TEXTS) -> Batch:
    layout = PackedLayout.of(torch.tensor([len(text) for text in texts]))
    ids = torch.tensor(
        [
            texts[sequence][step]
            for step, sequence in zip(layout.step.tolist(), layout.sequence.tolist(), strict=True)
        ]
    )
    return Batch(ids, layout, torch.zeros(len(texts), dtype=torch.int64))


def model_of(backward: bool, cell: str = "gru", layers: int = 2) -> LanguageModel:
    torch.manual_seed(1)
    model = LanguageModel(
        *(cell, layers, HIDDEN, torch.randn(WORDS, SIZE), torch.zeros(WORDS)),
        backward=backward,
        share_dropped=0.5,
    )
    return model.eval()


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_each_word_but_the_first_is_predicted_from_those_before(cell: str, backward: bool) -> None:
    model = model_of(backward, cell)
    torch_layers = getattr(torch.nn, cell.upper())(SIZE, HIDDEN, 2)
    torch_layers.load_state_dict(model.recurrent.state_dict())
    predictions, targets = model(batch_of())
    expected = []
    for text in TEXTS:
        read = text[::-1] if backward else text
        outputs = torch_layers(model.embedding(torch.tensor(read)).unsqueeze(1))[0].squeeze(1)
        projected = model.projection(outputs)
        expected += [
            (word, projected[step]) for step, word in enumerate(read[1:]) if word != UNK_ID
        ]
    found = list(zip(targets.tolist(), predictions, strict=True))
    assert len(found) == len(expected) == 6
    for word, prediction in expected:
        close = [
            torch.allclose(prediction, own, atol=1e-5) for target, own in found if target == word
        ]
        assert sum(close) == 1


def test_dropout_is_for_training_alone() -> None:
    model, batch = model_of(False), batch_of()
    assert torch.equal(model(batch)[0], model(batch)[0])
    model.train()
    assert not torch.equal(model(batch)[0], model(batch)[0])


def test_all_weights_are_trained() -> None:
    model = model_of(True).train()
    predictions, targets = model(batch_of())
    logits = predictions @ model.embedding.weight.T + model.bias
    torch.nn.functional.cross_entropy(logits, targets).backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for parameter in model.parameters()
    )
