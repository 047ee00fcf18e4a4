"""Explanations of a trained model: what they say of its decisions, and how predict shows them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sentiment import predict
from sentiment.config import Config
from sentiment.data.datasets import DataConfig, Dataset
from sentiment.inference.bundle import Bundle
from sentiment.inference.explain import explain
from sentiment.inference.integrated_gradients import TOLERANCE
from sentiment.inference.prediction import Explanation
from sentiment.nn.devices import configure_threads
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer
from sweeps.analysis.error_weights import error_weights
from sweeps.analysis.predictions import bundle_predictions, most_confident_errors

DELETED = 5
SETTINGS = {
    "cell": "gru",
    "hidden_dim": 16,
    "learning_rate": 0.01,
    "evaluations_per_epoch": 1,
    "precision": "float32",
}


def train(**settings: Any) -> tuple[Bundle, Dataset]:
    """Train a model on short reviews."""
    config = Config.from_flat({**SETTINGS, **settings})
    prepared = prepare(DataConfig(dataset="rotten-tomatoes"), [config])
    branch = prepared.ngrams_for(config)
    trainer = Trainer(config, *prepared.for_config(config), torch.device("cpu"), 1, branch)
    for _ in trainer.evaluations():
        pass
    return trainer.best, prepared.dataset


@pytest.fixture(autouse=True)
def one_thread() -> None:
    configure_threads(1)


@pytest.fixture(scope="module")
def trained() -> tuple[Bundle, Dataset]:
    """A GRU with an n-gram branch, after one pass."""
    return train(epochs=1, ngrams=2)


def without(text: str, explanation: Explanation, places: Sequence[int]) -> str:
    """Return a text without some of its tokens."""
    for place in sorted(places, reverse=True):
        token = explanation.tokens[place]
        assert token.start is not None
        text = text[: token.start] + text[token.end :]
    return text


def deletion(bundle: Bundle, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much the likeliest label's probability falls without some words.

    First without those that weigh most for it, then without as many drawn at random.
    """
    found = explain(bundle, texts)
    random = np.random.default_rng(0)
    falls = []
    for chosen in (
        [np.argsort([-token.weight for token in each.tokens])[:DELETED] for each in found],
        [random.permutation(len(each.tokens))[:DELETED] for each in found],
    ):
        shortened = [
            without(text, each, places.tolist())
            for text, each, places in zip(texts, found, chosen, strict=True)
        ]
        left = bundle.predict(shortened)
        falls.append(
            np.array(
                [
                    each.probability - row[bundle.label_names.index(each.label)]
                    for each, row in zip(found, left, strict=True)
                ]
            )
        )
    return falls[0], falls[1]


def test_without_its_heaviest_words_a_label_is_less_probable(
    trained: tuple[Bundle, Dataset],
) -> None:
    bundle, dataset = trained
    heaviest, drawn = deletion(bundle, dataset.splits["test"].texts[:20])
    assert heaviest.mean() > drawn.mean() + 0.1
    assert (heaviest > drawn).mean() >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("ngrams", [0, 2])
@pytest.mark.parametrize(("cell", "pooling"), [("gru", "max"), ("lstm", "max"), ("rnn", "mean")])
def test_without_its_heaviest_words_a_label_is_less_probable_at_length(
    cell: str, pooling: str, ngrams: int
) -> None:
    bundle, dataset = train(epochs=2, cell=cell, pooling=pooling, ngrams=ngrams)
    texts = dataset.splits["test"].texts[:200]
    heaviest, drawn = deletion(bundle, texts)
    assert heaviest.mean() > drawn.mean() + 0.15
    assert (heaviest > drawn).mean() >= 0.85
    for each in explain(bundle, texts):
        assert abs(each.residual) <= TOLERANCE + 1e-4


def test_predict_lists_the_heaviest_words(
    trained: tuple[Bundle, Dataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, _ = trained
    model = ["--model", str(bundle.save(tmp_path / "model")), "--explain"]
    lines = b"a moving and beautiful film\n\nthe plot is dull , stupid and far too long\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    predict.main(model)
    good, empty, bad = capsys.readouterr().out.splitlines()
    assert good.startswith("pos\t0.") and "moving +" in good and "\x1b" not in good
    assert len(empty.split("\t")) == 3
    label, probability, words = bad.split("\t")
    assert (label, float(probability) > 0.8) == ("neg", True)
    weights = {word: float(weight) for word, weight in map(str.split, words.split("  "))}
    sizes = list(map(abs, weights.values()))
    assert len(sizes) <= 8 and sizes == sorted(sizes, reverse=True)
    assert weights["dull"] > 0.5 and weights["stupid"] > 0.5

    predict.main([*model, "--json", "A dull film"])
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    odds = math.log(found["probability"] / (1 - found["probability"]))
    assert found["logit"] == pytest.approx(odds, abs=1e-3)
    total = sum(token["weight"] for token in found["tokens"])
    assert found["bias"] + total + found["residual"] == pytest.approx(found["logit"])
    assert [(token["token"], token["start"], token["end"]) for token in found["tokens"]] == [
        ("a", 0, 1),
        ("dull", 2, 6),
        ("film", 7, 11),
    ]
    assert "dull" in {ngram["words"] for ngram in found["ngrams"]}


def test_predict_says_so_where_weights_miss_the_logit(
    trained: tuple[Bundle, Dataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, _ = trained
    arguments = ["--model", str(bundle.save(tmp_path / "model")), "--explain", "a dull film"]
    predict.main(arguments)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sentiment.inference.integrated_gradients.TOLERANCE", 1e-9)
    predict.main(arguments)
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: the weights miss the logit by 0.0")
    assert note.endswith("so don't rely on them: a dull film")


def test_predict_colours_words_on_a_terminal(
    trained: tuple[Bundle, Dataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, _ = trained
    arguments = ["--model", str(bundle.save(tmp_path / "model")), "--explain", "so dull"]
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    predict.main(arguments)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("neg\t")
    assert "\x1b[30;42mdull\x1b[0m" in second
    monkeypatch.setenv("NO_COLOR", "1")
    predict.main(arguments)
    assert capsys.readouterr().out.splitlines() == [first]


def test_words_of_the_most_confident_errors_are_weighed(
    trained: tuple[Bundle, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, dataset = trained
    mistakes = most_confident_errors(bundle_predictions(bundle, dataset, "valid", 3), 4)
    assert [bool(mistake.weights) for mistake in mistakes] == [True, True, True, False]
    for mistake in mistakes[:3]:
        (exact,) = explain(bundle, [mistake.text])
        assert mistake.predicted == exact.label
        coarse = [each.weight for each in mistake.weights]
        assert coarse == pytest.approx([each.weight for each in exact.tokens], abs=0.3)
    texts = ["a dull film"] * 3
    assert len(error_weights(bundle, texts)) == 3
    monkeypatch.setattr("sweeps.analysis.error_weights.WORK", 2.5e6)
    assert len(error_weights(bundle, texts)) == 2
