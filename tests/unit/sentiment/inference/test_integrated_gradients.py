"""Integrated gradients: weights that add up, for every cell, pooling and packing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sentiment.config import Config
from sentiment.inference import integrated_gradients
from sentiment.inference.integrated_gradients import TOLERANCE, Text, attribute, logits
from sentiment.nn.classifier import Classifier
from sentiment.nn.devices import configure_threads

WORDS, DIM = 40, 5


@pytest.fixture(autouse=True)
def one_thread() -> None:
    configure_threads(1)


def model_of(outputs: int = 1, **settings: object) -> Classifier:
    """A model with weights so large that its gates saturate, as those of trained models do."""
    torch.manual_seed(3)
    config = Config.from_flat({"hidden_dim": 6, "layers": 2, **settings})
    matrix = torch.randn(WORDS, DIM)
    model = Classifier(config.model, WORDS, DIM, max(outputs, 2), matrix)
    with torch.no_grad():
        for parameter in [*model.recurrent.parameters(), *model.head.parameters()]:
            parameter *= 2
    return model


def texts_of(outputs: int = 1) -> list[Text]:
    random = np.random.default_rng(1)
    return [
        Text(random.integers(0, WORDS, length), random.normal(size=outputs).astype(np.float32))
        for length in (7, 1, 31, 12, 7)
    ]


def value(model: Classifier, text: Text) -> float:
    return float(logits(model, [text.ids])[0] @ text.direction)


@pytest.mark.parametrize("packing", ["packed", "padded"])
@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_weights_add_up(cell: str, pooling: str, packing: str) -> None:
    outputs = 3 if packing == "padded" else 1
    model = model_of(outputs, cell=cell, pooling=pooling, packing=packing)
    texts = texts_of(outputs)
    for text, found in zip(texts, attribute(model, texts), strict=True):
        assert found.weights.shape == text.ids.shape
        total = found.baseline + found.weights.sum()
        assert total == pytest.approx(value(model, text), abs=TOLERANCE + 1e-4)


def test_weights_are_the_integral_of_the_gradient() -> None:
    model = model_of(cell="gru", bidirectional=False, layers=1, pooling="mean").double()
    vectors = model.embedding.weight.detach()
    text = Text(np.array([4, 9, 4, 30, 2]), np.ones(1, np.float32))
    own = vectors[text.ids]
    module = torch.nn.GRU(DIM, 6, batch_first=True).double()
    module.load_state_dict(model.recurrent.state_dict())
    steps = 2000
    along = (torch.arange(steps).double() + 0.5) / steps
    moved = (own * along[:, None, None]).requires_grad_()
    result = model.head(module(moved)[0].mean(1)).sum()
    (gradient,) = torch.autograd.grad(result, moved)
    expected = (gradient.mean(0) * own).sum(1).numpy()
    (found,) = attribute(model.float(), [text], tolerance=1e-4)
    assert found.weights == pytest.approx(expected, abs=1e-3)


def test_a_text_is_weighed_alike_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = model_of(cell="gru"), texts_of()
    together = attribute(model, texts)
    monkeypatch.setattr(integrated_gradients, "_BATCH_ROWS", 40)
    for text, other in zip(texts, together, strict=True):
        (alone,) = attribute(model, [text])
        assert alone.weights == pytest.approx(other.weights, abs=1e-4)
        assert alone.baseline == pytest.approx(other.baseline, abs=1e-5)


def test_intervals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrated_gradients, "MOST_INTERVALS", 8)
    model, texts = model_of(pooling="max"), texts_of()
    for text, found in zip(texts, attribute(model, texts, tolerance=0.0), strict=True):
        assert found.baseline + found.weights.sum() == pytest.approx(value(model, text), abs=0.2)


def test_what_float32_does_not_resolve_is_weighed_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A unit that settles in one of two states; which, turns within 2**-30 of the line."""
    model = model_of(cell="rnn", layers=1, hidden_dim=1, bidirectional=False, pooling="last")
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[5, 0] = -1
        for name, entry in {"weight_ih": 1.0, "weight_hh": 2.0, "bias_ih": 0.1}.items():
            getattr(model.recurrent, f"{name}_l0").fill_(entry)
        model.recurrent.bias_hh_l0.zero_()
        model.head.weight.fill_(3)
    text = Text(np.array([5, *[7] * 29]), np.ones(1, np.float32))
    (found,) = attribute(model, [text])
    change = value(model, text) - found.baseline
    assert change < -5
    # The other words have no vector, so all of it is the first word's.
    assert found.weights[0] == pytest.approx(change, abs=TOLERANCE)
    assert not found.weights[1:].any()
    # In float32 alone it misses.
    monkeypatch.setattr(Classifier, "double", lambda self: self)
    (missed,) = attribute(model, [text])
    assert abs(missed.weights[0] - change) > TOLERANCE
