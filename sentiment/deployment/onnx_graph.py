"""The ONNX graph of a saved model, made node by node from its weights.

Inputs: `ids` int64 (B, T), padded by any id; `lengths` int64 (B,), at least 1; and of a model with
an n-gram branch `ngrams` int64 (B, P), the columns of those that a text holds, padded by G. Output:
`probabilities` float32 (B, C). What stands after a text's own length is never read.

Quantized, the large tensors lie in the file, and in memory, as int8 with their scales
(`sentiment.inference.quantization`); only the rows that a text needs become float32.

Shapes: B texts, T steps, E embedding size, H hidden units, D directions, C classes, K outputs of
the head (1 or C), G n-grams, P n-grams of the text that holds the most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.quantization import SCALE, quantize, rows_a_tile
from sentiment.ngrams.model import PREFIX

OPSET, IR_VERSION = 17, 8
"""Old enough for ONNX Runtime from 1.13 on."""
LARGEST = 2**31 - 2**20
"""Bytes of weights that an ONNX file can hold beside its nodes."""

_OPERATORS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
# Where each gate of ONNX stands among those of torch: i o f c of i f g o, and z r h of r z n.
_GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}


def build_graph(bundle: Bundle, quantized: bool = False) -> onnx.ModelProto:
    """Return the ONNX model of a bundle.

    Args:
        bundle: the saved model.
        quantized: whether the embedding and the weights of the n-grams stay in 8 bits.

    Raises:
        InputError: the model can't be an ONNX graph: it reads the padding, has a part that is
            unknown here, or is larger than an ONNX file may be.
    """
    model = bundle.config.model
    if model.packing == "padded":
        raise InputError(
            "a model of packing=padded can't be exported to ONNX: its answers depend on the batch"
        )
    if model.cell not in _OPERATORS or model.pooling not in _POOLINGS:
        raise InputError(
            f"a model of cell={model.cell} and pooling={model.pooling} can't be exported to ONNX"
        )
    weights = _padded(bundle.weights)
    weights = quantize(weights) if quantized else weights
    size = sum(each.numel() * each.element_size() for each in weights.values())
    if size > LARGEST:
        raise InputError(
            f"{size / 2**30:.1f} GiB of weights don't fit into an ONNX file, which holds 2: "
            "export it with --to folder"
        )
    graph = _Graph(weights)
    lengths = graph.node("Cast", "lengths", to=TensorProto.INT32)
    words = graph.rows("embedding.weight", "ids")
    outputs = graph.node("Transpose", words, perm=[1, 0, 2])
    last = ""
    for layer in range(model.layers):
        outputs, last = _layer(graph, bundle, layer, outputs, lengths)
    pooled = _POOLINGS[model.pooling](graph, outputs, last)
    head = (graph.tensor("head.weight"), graph.tensor("head.bias"))
    logits = graph.node("Gemm", pooled, *head, transB=1)
    inputs = [_input("ids", "batch", "time"), _input("lengths", "batch")]
    if bundle.ngrams is not None:
        logits = graph.node("Add", logits, _ngram_logits(graph, len(bundle.ngrams.table)))
        inputs.append(_input("ngrams", "batch", "ngrams"))
    _probabilities(graph, bundle, logits)
    result = helper.make_tensor_value_info(
        "probabilities", TensorProto.FLOAT, ["batch", len(bundle.label_names)]
    )
    made = helper.make_model(
        helper.make_graph(graph.nodes, "classifier", inputs, [result], graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sentiment-sweeps",
    )
    onnx.checker.check_model(made, full_check=True)
    return made


class _Graph:
    """Nodes and tensors of a graph that is being made; each node's output has a name of its own."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._weights = weights

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return that output's name."""
        return self.nodes_outputs(kind, 1, *inputs, **attributes)[0]

    def nodes_outputs(
        self, kind: str, count: int, *inputs: str, **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node, and return the names of its outputs."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        outputs = tuple(f"{name}.{number}" for number in range(count))
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs

    def array(self, name: str, values: np.ndarray) -> str:
        """Add a tensor, and return its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def tensor(self, name: str) -> str:
        """Add one of the model's tensors, and return its name."""
        return self.array(name, self._weights[name].numpy())

    def constant(self, values: object, kind: type[np.generic] = np.int64) -> str:
        """Add a small tensor, and return its name."""
        return self.array(f"constant_{len(self.initializers)}", np.array(values, dtype=kind))

    def rows(self, name: str, index: str) -> str:
        """Return float32 rows of a matrix, which may be quantized, at an index of any shape."""
        rows = self.node("Gather", self.tensor(name), index)
        if name + SCALE not in self._weights:
            return rows
        a_tile = rows_a_tile(name)
        if a_tile > 1:
            index = self.node("Div", index, self.constant(a_tile))
        scales = self.node("Gather", self.tensor(name + SCALE), index)
        return self.node("Mul", self.node("Cast", rows, to=TensorProto.FLOAT), scales)


def _padded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights with a row of zeros after those of the n-grams, for their padding."""
    name = f"{PREFIX}weight"
    if name not in weights:
        return weights
    row = torch.zeros(1, weights[name].shape[1])
    return {**weights, name: torch.cat([weights[name], row])}


def _layer(graph: _Graph, bundle: Bundle, layer: int, inputs: str, lengths: str) -> tuple[str, str]:
    """Add a recurrent layer over (T, B, features).

    Returns:
        Names of its outputs (T, B, D * H), zeros after a text's end, and of the last state of each
        direction, (B, D * H).
    """
    model = bundle.config.model
    suffixes = [f"l{layer}", f"l{layer}_reverse"][: 2 if model.bidirectional else 1]

    def of(kind: str) -> np.ndarray:
        """Return a parameter of all directions, (D, gates * H, …), its gates in ONNX's order."""
        found = []
        for suffix in suffixes:
            gates = bundle.weights[f"recurrent.{kind}_{suffix}"].numpy()
            split = np.split(gates, len(_GATES[model.cell]))
            found.append(np.concatenate([split[place] for place in _GATES[model.cell]]))
        return np.stack(found)

    parameters = (
        graph.array(f"layer_{layer}.W", of("weight_ih")),
        graph.array(f"layer_{layer}.R", of("weight_hh")),
        graph.array(f"layer_{layer}.B", np.concatenate([of("bias_ih"), of("bias_hh")], axis=1)),
    )
    attributes: dict[str, Any] = {
        "hidden_size": model.hidden_dim,
        "direction": "bidirectional" if model.bidirectional else "forward",
    }
    if model.cell == "gru":
        attributes["linear_before_reset"] = 1  # the reset gate after the product, as in torch
    outputs, last = graph.nodes_outputs(
        _OPERATORS[model.cell], 2, inputs, *parameters, lengths, **attributes
    )
    steps_first = graph.node("Transpose", outputs, perm=[0, 2, 1, 3])
    texts_first = graph.node("Transpose", last, perm=[1, 0, 2])
    return (
        graph.node("Reshape", steps_first, graph.constant([0, 0, -1])),
        graph.node("Reshape", texts_first, graph.constant([0, -1])),
    )


def _last(graph: _Graph, outputs: str, last: str) -> str:
    return last


def _maximum(graph: _Graph, outputs: str, last: str) -> str:
    own = graph.node("Where", _own_steps(graph), outputs, graph.constant(-np.inf, np.float32))
    return graph.node("ReduceMax", own, axes=[0], keepdims=0)


def _mean(graph: _Graph, outputs: str, last: str) -> str:
    own = graph.node("Where", _own_steps(graph), outputs, graph.constant(0, np.float32))
    total = graph.node("ReduceSum", own, graph.constant([0]), keepdims=0)
    counts = graph.node("Cast", "lengths", to=TensorProto.FLOAT)
    return graph.node("Div", total, graph.node("Unsqueeze", counts, graph.constant([1])))


_POOLINGS = {"last": _last, "max": _maximum, "mean": _mean}


def _own_steps(graph: _Graph) -> str:
    """Return the name of which steps are a text's own, bool (T, B, 1)."""
    shape = graph.node("Shape", "ids", start=1, end=2)
    count = graph.node("Squeeze", shape, graph.constant([0]))
    steps = graph.node("Range", graph.constant(0), count, graph.constant(1))
    column = graph.node("Unsqueeze", steps, graph.constant([1]))
    own = graph.node("Less", column, "lengths")
    return graph.node("Unsqueeze", own, graph.constant([2]))


def _ngram_logits(graph: _Graph, ngrams: int) -> str:
    """Return the name of the n-gram branch's logits (B, K)."""
    weights = graph.rows(f"{PREFIX}weight", "ngrams")
    total = graph.node("ReduceSum", weights, graph.constant([1]), keepdims=0)
    held = graph.node("Less", "ngrams", graph.constant(ngrams))
    ones = graph.node("Cast", held, to=TensorProto.FLOAT)
    count = graph.node("ReduceSum", ones, graph.constant([1]), keepdims=1)
    root = graph.node("Sqrt", graph.node("Max", count, graph.constant(1, np.float32)))
    return graph.node("Add", graph.node("Div", total, root), graph.tensor(f"{PREFIX}bias"))


def _probabilities(graph: _Graph, bundle: Bundle, logits: str) -> None:
    """Add the nodes from logits (B, K) to the output `probabilities` (B, C)."""
    if bundle.model.binary:
        both = graph.node("Concat", graph.node("Neg", logits), logits, axis=1)
        graph.nodes.append(helper.make_node("Sigmoid", [both], ["probabilities"], name="sigmoid"))
    else:
        graph.nodes.append(
            helper.make_node("Softmax", [logits], ["probabilities"], name="softmax", axis=1)
        )


def _input(name: str, *shape: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)
