"""The ONNX graph: the probabilities of the model that it was made from, for all of its parts."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from toy_bundle import toy_bundle

from sentiment.deployment import onnx_graph
from sentiment.deployment.onnx_graph import IR_VERSION, OPSET, build_graph
from sentiment.errors import InputError

TEXTS = [
    "the plot is dull and the film far too long",
    "great",
    "a fine film with a great plot and a fine end " * 4,
    "unheard words alone",
    "the film is great , the end is dull",
]
WHITESPACE = {"tokenizer": "whitespace", "max_length": 0}


def probabilities(bundle, quantized=False, padding=0, batches=(slice(None),)):
    """Run the graph over `TEXTS`, in the given batches, with that many steps more than needed."""
    model = build_graph(bundle, quantized).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    table = None if bundle.ngrams is None else bundle.ngrams.table
    found = []
    for batch in batches:
        encoded = [bundle.vocabulary.encode(bundle.tokenize(text)) for text in TEXTS[batch]]
        lengths = np.array([len(ids) for ids in encoded])
        # Padded by words, which must not be read.
        ids = np.full((len(encoded), lengths.max() + padding), 3)
        for row, values in enumerate(encoded):
            ids[row, : len(values)] = values
        inputs = {"ids": ids, "lengths": lengths}
        if table is not None:
            split = bundle.encode([bundle.tokenize(text) for text in TEXTS[batch]])
            features = table.features(split)
            columns = np.split(features.indices, features.indptr[1:-1])
            inputs["ngrams"] = np.full((len(encoded), max(map(len, columns)) + 1), len(table))
            for row, values in enumerate(columns):
                inputs["ngrams"][row, : len(values)] = values
        assert {each.name for each in session.get_inputs()} == inputs.keys()
        found += session.run(["probabilities"], inputs)
    return np.concatenate(found)


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_every_cell_direction_and_pooling(cell, bidirectional, pooling):
    bundle = toy_bundle(
        TEXTS[:3], cell=cell, bidirectional=bidirectional, pooling=pooling, layers=2, **WHITESPACE
    )
    expected = bundle.predict(TEXTS)
    assert np.ptp(expected[:, 0]) > 0.005
    assert probabilities(bundle, padding=3) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"layers": 1},
        {"layers": 4, "cell": "gru"},
        {"loss": "cross_entropy"},
        {"classes": 4, "cell": "rnn"},
        {"ngrams": 1},
        {"ngrams": 3, "classes": 3},
        {"ngrams": 2, "loss": "cross_entropy", "pooling": "mean"},
    ],
)
def test_layers_losses_classes_and_ngrams(settings, quantized):
    bundle = toy_bundle(TEXTS[:3], **settings, **WHITESPACE)
    expected = (bundle.quantized() if quantized else bundle).predict(TEXTS)
    found = probabilities(bundle, quantized)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=2e-6)
    if quantized:
        assert np.abs(found - bundle.predict(TEXTS)).max() > 1e-4


def test_a_text_gets_the_same_answer_alone_and_in_any_batch():
    bundle = toy_bundle(TEXTS, ngrams=2, **WHITESPACE)
    together = probabilities(bundle, padding=9)
    alone = probabilities(bundle, batches=[slice(row, row + 1) for row in range(len(TEXTS))])
    assert together == pytest.approx(alone, abs=1e-6)


def test_what_is_asked_of_onnx_runtime_and_kept_in_8_bits():
    bundle = toy_bundle(TEXTS, ngrams=2, **WHITESPACE)
    model = build_graph(bundle, quantized=True)
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET)
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    assert kinds["embedding.weight"] == kinds["ngrams.weight"] == onnx.TensorProto.INT8
    assert kinds["head.weight"] == kinds["layer_0.R"] == onnx.TensorProto.FLOAT
    (output,) = model.graph.output
    shape = [each.dim_param or each.dim_value for each in output.type.tensor_type.shape.dim]
    assert (output.name, shape) == ("probabilities", ["batch", 2])


def test_what_can_not_be_a_graph(monkeypatch):
    with pytest.raises(InputError, match="packing=padded can't be exported to ONNX"):
        build_graph(toy_bundle(TEXTS, packing="padded", **WHITESPACE))
    monkeypatch.setattr(onnx_graph, "LARGEST", 100)
    with pytest.raises(InputError, match="GiB of weights don't fit into an ONNX file"):
        build_graph(toy_bundle(TEXTS, **WHITESPACE))
    monkeypatch.delitem(onnx_graph._POOLINGS, "max")
    with pytest.raises(InputError, match="cell=lstm and pooling=max can't be exported to ONNX"):
        build_graph(toy_bundle(TEXTS, **WHITESPACE))
