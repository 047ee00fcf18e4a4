"""The training of a language model: what it learns, and that a killed one continues as it was."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sentiment.config import TextConfig
from sentiment.data.batching import TextDataset
from sentiment.data.corpus import EncodedSplit
from sentiment.data.vocabulary import SPECIALS
from sentiment.errors import TrainingError
from sentiment.nn.devices import configure_threads
from sentiment.pretraining import lm_training
from sentiment.pretraining.language_model import LanguageModel
from sentiment.pretraining.lm_training import LanguageModelTraining, batch_size, perplexity
from sentiment.pretraining.partial import PartialPretraining

WORDS = 12


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    configure_threads(1)


def texts_of(count: int, seed: int = 0) -> TextDataset:
    """Texts that count upwards from a random word, modulo the number of words."""
    random = np.random.default_rng(seed)
    texts = [
        (random.integers(WORDS) + np.arange(random.integers(2, 15))) % WORDS for _ in range(count)
    ]
    split = EncodedSplit(
        np.concatenate(texts).astype(np.int32),
        np.cumsum([0, *map(len, texts)]).astype(np.int64),
        np.zeros(count, np.int64),
    )
    return TextDataset(split, TextConfig(), WORDS)


def training_of(
    partial: PartialPretraining, epochs: float = 2, valid: TextDataset | None = None
) -> tuple[LanguageModelTraining, LanguageModel]:
    torch.manual_seed(0)
    rows = WORDS + len(SPECIALS)
    model = LanguageModel(
        *("gru", 1, 16, torch.randn(rows, 8) / 4, torch.zeros(rows)),
        backward=False,
        share_dropped=0.1,
    )
    training = LanguageModelTraining(
        *(model, texts_of(600), valid, np.full(rows, 50)),
        epochs=epochs,
        seed=3,
        partial=partial,
    )
    return training, model


def test_it_learns_what_follows_what() -> None:
    training, model = training_of(PartialPretraining("a" * 8), 16, texts_of(100, 1))
    before = perplexity(model, texts_of(100, 1))
    history = training.run()
    assert 8 < before < 30
    assert history[-1]["perplexity"] < 1.2
    assert history[-1]["perplexity"] == pytest.approx(perplexity(model, texts_of(100, 1)))
    assert [each["epoch"] for each in history[:4]] == [
        pytest.approx(share, abs=0.03) for share in (0.25, 0.5, 0.75, 1.0)
    ]
    assert history[-1]["step"] == training.steps == 16 * math.ceil(600 / 16)
    assert history[-1]["tokens"] == 16 * int(texts_of(600).lengths.sum())
    assert history[0]["loss"] > history[-1]["loss"]


def test_a_killed_training_continues_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, expected = training_of(PartialPretraining("b" * 8))
    history = whole.run()
    monkeypatch.setattr(lm_training, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(lm_training, "REPORT_SECONDS", 0.0)
    partial = PartialPretraining("c" * 8)
    killed, _ = training_of(partial)
    step = LanguageModelTraining.train_step

    def kill(self: LanguageModelTraining, batch: object) -> float:
        if self._state.step == 50:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModelTraining, "train_step", kill)
        with pytest.raises(KeyboardInterrupt):
            killed.run()
    progress = partial.read_progress()
    assert progress is not None
    assert (progress.step, progress.steps) == (50, whole.steps)
    assert progress.seconds_left == pytest.approx((whole.steps - 50) * progress.seconds_a_step)
    resumed, model = training_of(partial)
    again = resumed.run()
    assert [(each["step"], each["loss"]) for each in again] == [
        (each["step"], each["loss"]) for each in history
    ]
    for name, value in expected.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_a_sample_of_a_large_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    training, _ = training_of(PartialPretraining("d" * 8))
    every, shift = training._draw()
    assert every.tolist() == list(range(len(SPECIALS), WORDS + len(SPECIALS)))
    assert not shift.any()
    monkeypatch.setattr(lm_training, "SAMPLE", 4)
    training._chances = torch.arange(WORDS + len(SPECIALS), dtype=torch.float64)
    drawn, shift = training._draw()
    assert len(set(drawn.tolist())) == 4
    expected = 4 * training._chances[-1] / training._chances.sum()
    assert float(shift[-1].exp()) == pytest.approx(float(expected))


def test_the_perplexity_of_a_model_that_knows_nothing_is_the_number_of_words() -> None:
    rows = WORDS + len(SPECIALS)
    model = LanguageModel(
        *("rnn", 1, 4, torch.zeros(rows, 3), torch.zeros(rows)), backward=True, share_dropped=0.0
    )
    assert perplexity(model, texts_of(50)) == pytest.approx(WORDS)
    assert perplexity(model, texts_of(50), tokens=100) == pytest.approx(WORDS)


def test_texts_of_a_step() -> None:
    class Texts:
        def __init__(self, count: int, length: int) -> None:
            self.size, self.lengths = count, np.full(count, length)

    assert batch_size(Texts(72_000, 200)) == 50  # type: ignore[arg-type]
    assert batch_size(Texts(6_000, 20)) == 30  # type: ignore[arg-type]
    assert batch_size(Texts(100, 20)) == 16  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_says_where() -> None:
    training, model = training_of(PartialPretraining("e" * 8))
    with torch.no_grad():
        model.embedding.weight[3] = torch.inf
    with pytest.raises(TrainingError, match="not finite at step 0: set precision=float32"):
        training.run()
