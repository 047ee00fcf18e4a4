"""From a text to the inputs of the ONNX model: as the project itself reads it."""

from __future__ import annotations

import numpy as np
import pytest
from toy_bundle import toy_bundle

from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.deployment import onnx_predict
from sentiment.deployment.onnx_folder import write_onnx
from sentiment.deployment.onnx_predict import OnnxModel

ODD = [
    "",
    " \n ",
    "<pad> <unk> <pad>",
    "\ufeffA film.<br />It's GREAT!",
    "🎬" * 30,
    "\ud800 good",
    "good film " * 300,
    "x" * 5000,
]


@pytest.fixture(scope="module")
def reviews():
    return load_dataset(DataConfig(dataset="rotten-tomatoes")).splits["test"].texts[:120]


@pytest.fixture
def exported(tmp_path):
    def export(bundle, quantized=False):
        write_onnx(bundle, tmp_path, quantized)
        return OnnxModel(tmp_path)

    return export


@pytest.mark.parametrize(
    "settings",
    [
        {"ngrams": 3},
        {"ngrams": 2, "max_length": 7, "truncation": "head_tail", "cell": "gru"},
        {"max_length": 6, "truncation": "tail", "tokenizer": "basic"},
        {"max_length": 0, "tokenizer": "whitespace", "lowercase": False, "strip_markup": False},
        {"language": "es", "max_length": 5, "classes": 3},
    ],
)
def test_the_same_probabilities_as_the_saved_model(exported, reviews, settings):
    bundle = toy_bundle(reviews[:60], **settings)
    model = exported(bundle)
    texts = [*reviews, *ODD]
    found = model.predict(texts)
    assert tuple(model.labels) == bundle.label_names
    assert np.abs(found - bundle.predict(texts)).max() < 1e-5
    assert model.predict([]).shape == (0, len(bundle.label_names))


def test_inputs_by_hand(exported):
    bundle = toy_bundle(["b a a c", "a a b"], ngrams=2, tokenizer="whitespace", max_length=3)
    assert bundle.vocabulary.itos[2:] == ("a", "b", "c")
    model = exported(bundle)
    encoded = [model.encode("a a b what a a"), model.encode("")]
    assert [ids.tolist() for ids in encoded] == [[2, 2, 3, 0, 2, 2], [0]]
    # The words a, b, c have the columns 0, 1, 2; the pairs aa, ab, ac, ba 3 to 6.
    assert model.ngrams(encoded[0]).tolist() == [0, 1, 3, 4]
    inputs = model.inputs(encoded)
    assert inputs["ids"].tolist() == [[2, 2, 3], [0, 0, 0]]
    assert inputs["lengths"].tolist() == [3, 1]
    assert inputs["ngrams"].tolist() == [[0, 1, 3, 4], [7, 7, 7, 7]]


def test_batches_are_of_like_lengths_and_bounded(monkeypatch):
    monkeypatch.setattr(onnx_predict, "BATCH_TOKENS", 20)
    lengths = [9, 2, 50, 3, 10, 2]
    assert list(onnx_predict._batches(lengths)) == [[1, 5, 3], [0, 4], [2]]
    assert list(onnx_predict._batches([])) == []


def test_ngrams_are_those_of_the_table(exported, reviews):
    bundle = toy_bundle(reviews[:60], ngrams=3)
    model = exported(bundle)
    features = bundle.ngrams.table.features(bundle.encode([bundle.tokenize(t) for t in reviews]))
    for row, text in enumerate(reviews):
        expected = features.indices[features.indptr[row] : features.indptr[row + 1]]
        assert model.ngrams(model.encode(text)).tolist() == expected.tolist()
