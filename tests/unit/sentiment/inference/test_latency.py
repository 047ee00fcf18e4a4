"""The time that a model takes for a single text."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sentiment.inference import latency
from sentiment.inference.latency import WARM_UP, single_text_latency


class Sleeping:
    """A model that takes a known time for each text, and longer for the first ones."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[list[str]] = []

    def predict(self, texts: list[str]) -> np.ndarray:
        place = len(self.asked)
        self.asked.append(texts)
        time.sleep(0.2 if place < WARM_UP else self.seconds[place - WARM_UP])
        return np.ones((len(texts), 2)) / 2


def test_it_is_the_median_of_single_texts_after_some_to_warm_up() -> None:
    model = Sleeping(0.002, 0.01, 0.004, 0.06, 0.003)
    texts = [f"text {number}" for number in range(5)]
    found = single_text_latency(model, texts)  # type: ignore[arg-type]
    assert 4.0 <= found < 9.0
    assert model.asked == [[text] for text in [*texts[:WARM_UP], *texts]]


def test_slow_models_predict_fewer_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "LONGEST", 0.05)
    model = Sleeping(*[0.03] * 10)
    assert single_text_latency(model, ["text"] * 10) >= 30  # type: ignore[arg-type]
    assert len(model.asked) == WARM_UP + 2


def test_it_needs_texts() -> None:
    with pytest.raises(ValueError, match="a latency needs texts"):
        single_text_latency(Sleeping(), [])  # type: ignore[arg-type]
