"""Explanations: logit, bias, tokens and n-grams that add up, and stand where they say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sentiment.config import Config
from sentiment.data.vocabulary import Vocabulary
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.explain import explain
from sentiment.inference.explanation_text import coloured, summary
from sentiment.inference.integrated_gradients import TOLERANCE
from sentiment.inference.loaded_model import LoadedModel
from sentiment.inference.prediction import Explanation, Piece, TokenWeight, pieces
from sentiment.ngrams.model import NgramModel
from sentiment.ngrams.table import count_ngrams
from sentiment.nn.classifier import Classifier
from sentiment.nn.devices import configure_threads

WORDS = ("<unk>", "<pad>", "this", "film", "is", "great", "dull", ".")
TEXTS = [
    "This film is great.",
    "",
    "dull",
    "this film is dull . " * 9,
    "GREAT great<br />film, this film",
    "unheard words",
]
TWO, THREE = ("neg", "pos"), ("a", "b", "c")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    configure_threads(1)


def bundle_of(labels: tuple[str, ...] = TWO, ngrams: int = 0, **settings: object) -> Bundle:
    """A model with random weights; its branch knows the n-grams of `TEXTS`."""
    torch.manual_seed(5)
    config = Config.from_flat({"hidden_dim": 6, "ngrams": ngrams, **settings})
    model = Classifier(config.model, len(WORDS), 4, len(labels), torch.randn(len(WORDS), 4))
    with torch.no_grad():
        for parameter in [*model.recurrent.parameters(), *model.head.parameters()]:
            parameter *= 2
    bundle = Bundle(config, Vocabulary(WORDS), labels, dict(model.state_dict()))
    if ngrams:
        split = bundle.encode([bundle.tokenize(text) for text in TEXTS])
        table, _ = count_ngrams(split, ngrams, 1, bundle.vocabulary.size)
        random, outputs = np.random.default_rng(2), model.head.out_features
        weights = random.normal(size=(len(table), outputs)).astype(np.float32)
        branch = NgramModel(table, weights, random.normal(size=outputs).astype(np.float32))
        bundle.weights |= branch.tensors()
    return bundle


def log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        (TWO, {}),
        (TWO, {"loss": "cross_entropy", "ngrams": 2}),
        (TWO, {"ngrams": 3, "cell": "gru", "max_length": 6, "truncation": "head_tail"}),
        (THREE, {"ngrams": 2, "cell": "rnn", "pooling": "last", "tokenizer": "basic"}),
        (THREE, {"packing": "padded", "pooling": "mean", "max_length": 5, "truncation": "tail"}),
    ],
)
def test_everything_adds_up_to_the_log_odds(labels, settings):
    bundle = bundle_of(labels, **settings)
    for text, found in zip(TEXTS, explain(bundle, TEXTS), strict=True):
        (row,) = bundle.predict([text])
        assert list(found.probabilities) == list(labels)
        assert list(found.probabilities.values()) == pytest.approx(row, abs=1e-5)
        assert (found.label, found.probability) == (labels[row.argmax()], pytest.approx(row.max()))
        assert found.logit == pytest.approx(log_odds(found.probability), abs=1e-3)
        assert abs(found.residual) <= TOLERANCE + 1e-4
        total = found.bias + sum(each.weight for each in found.tokens) + found.residual
        assert total == pytest.approx(found.logit, abs=1e-9)
        assert len(found.tokens) == max(1, len(bundle.tokenize(text)))
        for each in found.tokens:
            if text:
                assert text[each.start : each.end].lower() == each.token


@pytest.mark.parametrize("labels", [TWO, THREE])
def test_weights_of_ngrams_are_exact(labels):
    bundle = bundle_of(labels, ngrams=2)
    # Without the RNN only the branch speaks.
    silent = {
        n: torch.zeros_like(v) if n.startswith("head.") else v for n, v in bundle.weights.items()
    }
    bundle = replace(bundle, weights=silent)
    branch = bundle.ngrams
    columns = {bundle.ngram_words(column): column for column in range(len(branch.table))}
    for text, found in zip(TEXTS, explain(bundle, TEXTS), strict=True):
        words = bundle.tokenize(text)
        held = [" ".join(words[i : i + n]) for n in (1, 2) for i in range(len(words) - n + 1)]
        held = [each for each in held if each in columns]
        logits = branch.weights[[columns[each] for each in set(held)]] / math.sqrt(
            max(len(set(held)), 1)
        )
        row = logits.sum(axis=0) + branch.bias
        best = labels.index(found.label)
        if len(labels) == 2:
            direction = np.array([1 if best else -1])
        else:
            direction = -np.exp(row) / (np.exp(row).sum() - np.exp(row[best]))
            direction[best] = 1
        expected = dict(zip(set(held), logits @ direction, strict=True))
        assert {each.words: each.weight for each in found.ngrams} == pytest.approx(
            expected, abs=1e-5
        )
        sizes = [abs(each.weight) for each in found.ngrams]
        assert sizes == sorted(sizes, reverse=True)
        assert abs(found.residual) < 1e-5
        # Each word has its share of all n-grams that it stands in.
        for place, each in enumerate(found.tokens if words else ()):
            share = sum(
                expected[ngram] / n / held.count(ngram)
                for n in (1, 2)
                for start in range(place - n + 1, place + 1)
                if start >= 0
                and (ngram := " ".join(words[start : start + n])) in expected
                and start + n <= len(words)
            )
            assert each.weight == pytest.approx(share, abs=1e-5)


def test_what_is_cut_off_has_weights_by_ngrams_alone():
    text = "this film is dull . great"
    cut = {"max_length": 4, "truncation": "head_tail"}
    (found,) = explain(bundle_of(**cut), [text])
    assert [each.weight == 0 for each in found.tokens] == [False, False, True, True, False, False]
    (found,) = explain(bundle_of(ngrams=1, **cut), [text])
    assert all(each.weight for each in found.tokens)


def test_a_text_without_a_token_is_an_unknown_word():
    (found,) = explain(bundle_of(), [" "])
    (token,) = found.tokens
    assert (token.token, token.start, token.end) == ("<unk>", None, None)
    assert explain(bundle_of(), []) == []


def test_a_text_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment.inference.explain.LONGEST", 3)
    with pytest.raises(InputError, match=r"of 4 words is too long to be explained: give 3 at most"):
        explain(bundle_of(), ["great", "this film is great"])
    assert len(explain(bundle_of(max_length=3), ["this film is great"])) == 1


def test_a_loaded_model_explains_one_text():
    model = LoadedModel(bundle_of())
    assert model.explain(TEXTS[0]) == explain(model.bundle, TEXTS[:1])[0]
    with pytest.raises(TypeError, match="give one text, a string, not list"):
        model.explain(TEXTS)  # type: ignore[arg-type]


SHOWN = "Bad\x1b film, bad"
TOKENS = (
    TokenWeight("bad", 0, 3, 1.0),
    TokenWeight("film", 5, 9, -0.5),
    TokenWeight(",", 9, 10, 0.001),
    TokenWeight("bad", 11, 14, 0.25),
)


def test_a_text_is_cut_at_its_tokens():
    cut = list(pieces(SHOWN, TOKENS))
    assert "".join(piece.text for piece in cut) == SHOWN
    assert cut[:3] == [Piece("Bad", 1.0, 1.0), Piece("\x1b "), Piece("film", -0.5, -0.5)]
    astray = (TokenWeight("x", None, None, 1.0), TokenWeight("y", 40, 41, 1.0))
    assert list(pieces(SHOWN, astray)) == [Piece(SHOWN)]


def test_heaviest_words_are_listed_and_coloured():
    found = Explanation("neg", 0.9, {"neg": 0.9, "pos": 0.1}, 2.2, 1.4, 0.0, TOKENS, ())
    assert summary(found) == "neg\t0.9000\tbad +1.25  film -0.50"
    text = coloured(SHOWN, TOKENS)
    assert text.plain == "Bad\ufffd film, bad"  # nothing that would command a terminal
    styles = [(text.plain[span.start : span.end], span.style) for span in text.spans]
    assert styles == [("Bad", "black on green"), ("film", "bold red"), ("bad", "green")]
