"""The classifier: sizes, pooling over a text's own steps, padding that must not matter."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from sentiment.config import ModelConfig
from sentiment.data.batching import Batch
from sentiment.data.packed_layout import PackedLayout
from sentiment.nn.classifier import Classifier


def batch_of(*texts):
    packed = pack_sequence([torch.tensor(text) for text in texts])
    layout = PackedLayout.of(torch.tensor([len(text) for text in texts]))
    return Batch(packed.data, layout, torch.zeros(len(texts), dtype=torch.int64))


def model_of(classes=2, **settings):
    torch.manual_seed(11)
    config = ModelConfig(**{"hidden_dim": 6, **settings})
    return Classifier(config, 30, 4, classes, torch.randn(30, 4)).eval()


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({"cell": "lstm", "layers": 2, "bidirectional": True}, 4_810_857),
        ({"cell": "rnn", "layers": 1, "bidirectional": False}, 2_592_105),
    ],
)
def test_parameter_counts_of_the_tutorials(settings, total):
    model = Classifier(ModelConfig(hidden_dim=256, **settings), 25_002, 100, 2)
    counts = model.parameter_counts()
    assert counts["total"] == counts["trainable"] == total
    assert counts["embedding"] == 2_500_200
    assert counts["embedding"] + counts["recurrent"] + counts["head"] == total


def test_a_frozen_embedding_is_counted_but_not_trained():
    counts = model_of(freeze_embedding=True).parameter_counts()
    assert counts["total"] - counts["trainable"] == counts["embedding"] == 120


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_text_alone_and_beside_a_longer_one_is_the_same(pooling, cell, layers):
    model = model_of(cell=cell, pooling=pooling, layers=layers)
    text, longer = [5, 9, 2], [3, 4, 5, 6, 7, 8, 9]
    alone = model(batch_of(text))
    beside = model(batch_of(longer, text))
    torch.testing.assert_close(beside[1:], alone, rtol=1e-5, atol=1e-6)


def test_padded_reads_the_padding():
    model = model_of(packing="padded", pooling="last", bidirectional=False)
    alone, beside = model(batch_of([5, 9])), model(batch_of([3, 4, 5, 6], [5, 9]))
    assert not torch.allclose(beside[1:], alone, atol=1e-4)
    explicit = model(batch_of([5, 9, 1, 1]))
    torch.testing.assert_close(beside[1:], explicit)


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
def test_pooling_by_hand(pooling):
    model = model_of(pooling=pooling, bidirectional=False, cell="gru")
    batch = batch_of([3, 4, 5], [6, 7])
    outputs = model.recurrent(model.embedding(batch.ids), batch.layout)[:, 0]
    rows = [outputs[batch.layout.sequence == text] for text in (0, 1)]
    by_hand = {
        "last": [row[-1] for row in rows],
        "max": [row.max(dim=0).values for row in rows],
        "mean": [row.mean(dim=0) for row in rows],
    }
    torch.testing.assert_close(model(batch), model.head(torch.stack(by_hand[pooling])))


def test_log_probabilities_sum_to_one():
    for classes, loss in ((2, "bce"), (2, "cross_entropy"), (5, "auto")):
        model = model_of(classes, loss=loss)
        logits = model(batch_of([3, 4, 5], [6, 7]))
        assert logits.shape == (2, 1 if loss == "bce" else classes)
        probabilities = model.log_probabilities(logits).exp()
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))
    sigmoid = torch.sigmoid(torch.tensor([[0.3]]))
    binary = model_of().log_probabilities(torch.tensor([[0.3]])).exp()
    torch.testing.assert_close(binary[:, 1:], sigmoid)


def test_variational_dropout_drops_the_same_features_at_every_step():
    model = model_of(dropout=0.5, variational_dropout=True).train()
    layout = PackedLayout.of(torch.tensor([9, 9, 4]))
    dropped = model._drop_embedded(torch.ones(22, 4), layout)
    assert torch.equal(dropped, dropped[:3][layout.sequence])
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    plain = model_of(dropout=0.5, variational_dropout=False).train()
    dropped = plain._drop_embedded(torch.ones(22, 4), layout)
    assert not torch.equal(dropped, dropped[:3][layout.sequence])


def test_padding_gets_no_gradient():
    model = model_of(packing="padded", pooling="last")
    model(batch_of([3, 4, 5], [6])).sum().backward()
    gradient = model.embedding.weight.grad
    assert (gradient[1] == 0).all()
    assert (gradient[3] != 0).any()
