"""The competent side's model is ours by other means, and its batches hold each review once."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.competent_sweep import Learner
from benchmarks.padded_classifier import PADDING, Dropout, PaddedClassifier, Reviews
from sentiment.config import Config
from sentiment.data.batching import Batch
from sentiment.data.packed_layout import PackedLayout
from sentiment.nn.classifier import Classifier

WORDS, DIM = 40, 6
SETTINGS = {
    "cell": "gru",
    "layers": 1,
    "bidirectional": False,
    "hidden_dim": 5,
    "dropout": 0.0,
    "pooling": "last",
    "optimizer": "adam",
    "learning_rate": 0.02,
    "batch_size": 8,
    "precision": "float32",
    "seed": 1,
}


def _reviews(count=30, longest=12):
    """Reviews of 1 to `longest` tokens; positive ones begin with word 2, negative ones with 3."""
    draw = np.random.default_rng(0)
    lengths = np.concatenate([[1, longest, longest], draw.integers(1, longest + 1, count - 3)])
    labels = draw.integers(0, 2, count).astype(np.float32)
    tokens = draw.integers(4, WORDS, lengths.sum()).astype(np.int32)
    tokens[np.cumsum(lengths) - lengths] = np.where(labels > 0, 2, 3)
    return {"tokens": tokens, "lengths": lengths, "labels": labels}


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize(
    ("cell", "layers", "bidirectional"),
    [("lstm", 2, True), ("gru", 2, True), ("rnn", 1, True), ("lstm", 1, False), ("gru", 2, False)],
)
def test_logits_and_gradients_are_our_classifiers(cell, layers, bidirectional, pooling):
    settings = {
        **SETTINGS,
        "cell": cell,
        "layers": layers,
        "bidirectional": bidirectional,
        "pooling": pooling,
    }
    torch.manual_seed(0)
    matrix = torch.randn(WORDS, DIM)
    matrix[PADDING] = 0
    ours = Classifier(Config.from_flat(settings).model, WORDS, DIM, 2, matrix.clone())
    theirs = PaddedClassifier(matrix.clone(), settings)
    names = {name: _our_name(name) for name, _ in theirs.named_parameters()}
    theirs.load_state_dict({name: ours.state_dict()[own] for name, own in names.items()})

    reviews = Reviews(**_reviews())
    longest_first = np.argsort(-reviews.lengths, kind="stable")
    ids, lengths, labels = reviews.batch(longest_first)
    packed = pack_padded_sequence(ids.long(), lengths).data
    expected = ours(Batch(packed, PackedLayout.of(lengths), labels.long())).squeeze(1)
    shuffled = np.random.default_rng(1).permutation(len(lengths))
    logits = theirs(ids[:, shuffled], lengths[shuffled])
    assert torch.allclose(logits, expected[shuffled], atol=1e-5)

    functional.binary_cross_entropy_with_logits(expected, labels).backward()
    functional.binary_cross_entropy_with_logits(logits, labels[shuffled]).backward()
    own = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        assert torch.allclose(parameter.grad, own[names[name]].grad, atol=1e-5), name


def _our_name(name):
    """Return our name of a parameter: a direction is a module of its own there."""
    if not name.startswith("layers."):
        return name
    _, layer, direction, parameter = name.split(".")
    return f"recurrent.{parameter.removesuffix('_l0')}_l{layer}" + "_reverse" * int(direction)


def test_dropout_keeps_the_share_and_the_mean():
    torch.manual_seed(0)
    dropout = Dropout(0.3)
    values = torch.ones(99, 1013, requires_grad=True)
    dropped = dropout(values)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(dropped.detach().mean()) == pytest.approx(1.0, abs=0.01)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())
    assert dropout.eval()(values) is values


def test_batches_hold_each_review_once():
    arrays = _reviews()
    reviews = Reviews(**arrays)
    starts = np.cumsum(arrays["lengths"]) - arrays["lengths"]
    plans = [reviews.epoch(8, np.random.default_rng(0)), list(reviews.by_length())]
    assert [len(chosen) for chosen in plans[0]].count(8) == 3
    for plan in plans:
        assert sorted(np.concatenate(plan)) == list(range(30))
        for chosen in plan:
            ids, lengths, labels = reviews.batch(chosen)
            assert ids.shape == (lengths.max(), len(chosen))
            for column, review in enumerate(chosen):
                length = arrays["lengths"][review]
                own = arrays["tokens"][starts[review] : starts[review] + length]
                assert ids[:length, column].tolist() == own.tolist()
                assert (ids[length:, column] == PADDING).all()
                assert labels[column] == arrays["labels"][review]


@pytest.fixture
def own_threads():
    """Undo what a learner sets for its process."""
    threads, product = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(product)


@pytest.mark.usefixtures("own_threads")
@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [("adam", "float32"), ("rmsprop", "bfloat16"), ("sgd", "float32"), ("sgd", "bfloat16")],
)
def test_a_learner_learns_in_each_precision_and_by_each_optimizer(optimizer, precision):
    settings = {
        **SETTINGS,
        "cell": "lstm",
        "bidirectional": True,
        "hidden_dim": 16,
        "dropout": 0.1,
        "optimizer": optimizer,
        "learning_rate": 1.0 if optimizer == "sgd" else 0.01,
        "precision": precision,
    }
    split = _reviews(200)
    matrix = torch.randn(WORDS, DIM, generator=torch.Generator().manual_seed(0)).numpy()
    learner = Learner(settings, {"matrix": matrix, "train": split, "valid": split})
    epochs = [learner.epoch() for _ in range(10)]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] < 0.8
    assert epochs[-1]["valid_accuracy"] > 0.95
    assert epochs[-1]["train_reviews"] == 200
