"""What a trial's settings cost, against torch's own layers."""

import numpy as np
import pytest
import torch

from sweeps.search.cost_model import CHARACTERS_A_TOKEN, OTHER_WEIGHTS, TrialCost

TOKENS = 100
TEXTS = ["x" * round(TOKENS * CHARACTERS_A_TOKEN)] * 3
SETTINGS = {"cell": "gru", "layers": 1, "hidden_dim": 32, "embedding_dim": 50, "max_length": 0}


@pytest.mark.parametrize(
    ("cell", "layer"), [("rnn", torch.nn.RNN), ("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM)]
)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_operations_follow_from_the_weights(cell, layer, bidirectional, layers):
    recurrent = layer(50, 32, num_layers=layers, bidirectional=bidirectional, bias=False)
    weights = sum(weight.numel() for weight in recurrent.parameters())
    settings = {**SETTINGS, "cell": cell, "layers": layers, "bidirectional": bidirectional}
    expected = 6 * TOKENS * (weights + OTHER_WEIGHTS)
    assert TrialCost(TEXTS)(settings) == pytest.approx(expected, rel=1e-3)


def test_no_text_costs_more_than_its_first_tokens():
    cost = TrialCost([*TEXTS, TEXTS[0] * 3])
    whole, cut = cost(SETTINGS), cost({**SETTINGS, "max_length": TOKENS})
    assert whole == pytest.approx(1.5 * cut, rel=1e-3)
    assert cost({**SETTINGS, "max_length": 10 * TOKENS}) == pytest.approx(whole)


def test_a_typical_batch_has_the_lengths_of_the_texts():
    cost = TrialCost(["x" * round(length * CHARACTERS_A_TOKEN) for length in range(1, 100)])
    lengths = cost.batch_lengths(4, {"max_length": 60})
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [60, 60, 38, 13]
    assert TrialCost(["", ""]).batch_lengths(2, {}).tolist() == [1, 1]


def test_a_missing_setting_has_its_default():
    default = {"cell": "lstm", "layers": 1, "hidden_dim": 128, "bidirectional": True}
    cost = TrialCost(TEXTS)
    assert cost({}) == cost({**default, "embedding_dim": 100, "learning_rate": 1e-3})
