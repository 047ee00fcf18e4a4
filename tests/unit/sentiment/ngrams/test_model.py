"""The n-gram model: its logits by hand, and what is refused of its tensors."""

import numpy as np
import pytest
import torch
from toy_corpus import split_of

from sentiment.data.corpus import EncodedSplit
from sentiment.ngrams.model import NgramModel
from sentiment.ngrams.table import count_ngrams

SPLIT = split_of(60, 1)
TABLE, _ = count_ngrams(SPLIT, 2, 2, 8)


def model_of(outputs=1):
    random = np.random.default_rng(5)
    weights = random.normal(size=(len(TABLE), outputs)).astype(np.float32)
    return NgramModel(TABLE, weights, random.normal(size=outputs).astype(np.float32))


@pytest.mark.parametrize("outputs", [1, 3])
def test_logits_are_sums_over_the_root_of_the_count(outputs):
    model = model_of(outputs)
    columns = {ngram: column for column, ngram in enumerate(TABLE.ngrams())}
    logits = model.logits(SPLIT)
    assert logits.dtype == np.float32
    for row in range(len(SPLIT)):
        text = SPLIT.tokens[SPLIT.offsets[row] : SPLIT.offsets[row + 1]].tolist()
        ngrams = {tuple(text[i : i + n]) for n in (1, 2) for i in range(len(text) - n + 1)}
        held = [columns[ngram] for ngram in ngrams if ngram in columns]
        expected = model.weights[held].sum(axis=0) / np.sqrt(max(len(held), 1)) + model.bias
        assert logits[row] == pytest.approx(expected, abs=1e-5)


def test_a_text_without_a_known_ngram_gets_the_bias():
    model = model_of()
    unknown = EncodedSplit(np.array([-1, -1], np.int32), np.array([0, 2]), np.zeros(1, np.int64))
    assert model.logits(unknown)[0] == model.bias


def test_a_text_gets_the_same_logits_alone():
    model = model_of(3)
    logits = model.logits(SPLIT)
    for row in range(5):
        first, last = SPLIT.offsets[row], SPLIT.offsets[row + 1]
        alone = EncodedSplit(SPLIT.tokens[first:last], np.array([0, last - first]), SPLIT.labels)
        assert model.logits(alone)[0] == pytest.approx(logits[row], abs=1e-6)


def test_scaled_by_a_factor():
    model = model_of(2)
    assert model.scaled(0.25).logits(SPLIT) == pytest.approx(0.25 * model.logits(SPLIT), abs=1e-6)


def test_tensors_there_and_back():
    model = model_of(2)
    again = NgramModel.from_tensors(model.tensors(), 2, 8, 2)
    assert np.array_equal(again.logits(SPLIT), model.logits(SPLIT))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("ngrams.keys.2"), "keys.2 is missing"),
        (lambda t: t.update({"ngrams.keys.3": torch.arange(3)}), "keys.3 belongs to no"),
        (lambda t: t.update({"ngrams.keys.1": torch.arange(8).flip(0)}), "out of order"),
        (lambda t: t.update({"ngrams.keys.1": torch.arange(1, 9)}), "out of range"),
        (lambda t: t.update({"ngrams.keys.1": torch.arange(8.0)}), "not a list of 64-bit keys"),
        (lambda t: t.update({"ngrams.weight": t["ngrams.weight"][1:]}), "not of shape"),
        (lambda t: t.update({"ngrams.bias": t["ngrams.bias"].double()}), "in float32"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, message):
    tensors = model_of().tensors()
    change(tensors)
    with pytest.raises(ValueError, match=message):
        NgramModel.from_tensors(tensors, 2, 8, 1)
