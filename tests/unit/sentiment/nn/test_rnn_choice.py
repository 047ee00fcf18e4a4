"""When recurrent layers are compiled, and what is said where they are not."""

import logging

import pytest
import torch
from recurrence import layers_of

from sentiment.nn import rnn_choice
from sentiment.nn.compiled_rnn import CompiledRNN
from sentiment.nn.native_library import load_library
from sentiment.nn.rnn_choice import SWITCH, TOLERANCE, compiled, compiled_for, recurrence


@pytest.fixture
def layers():
    return layers_of(torch.float32)


@pytest.fixture
def in_bfloat16():
    return layers_of(torch.bfloat16)


@pytest.fixture
def asked_again():
    """Have this process find out once more what it has, and after the test again."""
    compiled.cache_clear()
    yield
    compiled.cache_clear()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_they_are_taken_in_float32_and_up_to_a_width(layers, threads, cell):
    threads(1)
    assert compiled_for(cell, 32, torch.float32) is layers
    assert compiled_for(cell, 32, torch.float64) is None
    assert compiled_for(cell, rnn_choice.WIDEST[cell], torch.float32) is layers
    assert compiled_for(cell, rnn_choice.WIDEST[cell] + 1, torch.float32) is None
    threads(2)
    assert compiled_for(cell, rnn_choice.WIDEST_OF_THREADS[cell], torch.float32) is layers
    assert compiled_for(cell, rnn_choice.WIDEST[cell], torch.float32) is None
    assert recurrence() == "compiled"


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_in_bfloat16_they_are_taken_at_every_width(in_bfloat16, threads, cell):
    for count in (1, 2):
        threads(count)
        assert compiled_for(cell, 8, torch.bfloat16) is in_bfloat16
        assert compiled_for(cell, 4_096, torch.bfloat16) is in_bfloat16
    assert recurrence("bfloat16") == "compiled"


def test_a_cpu_without_bfloat16_has_them_in_float32_alone(layers, asked_again, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    assert compiled_for("gru", 32, torch.bfloat16) is None
    assert compiled_for("gru", 32, torch.float32) is not None
    assert recurrence("bfloat16") == "python: this CPU has no products in bfloat16"
    assert recurrence() == "compiled"


def test_whoever_asks_first_may_be_predicting(layers, asked_again):
    for mode in (torch.inference_mode, torch.no_grad):
        compiled.cache_clear()
        with mode():
            assert compiled(torch.float32).layers is not None


def test_a_variable_turns_them_off(asked_again, monkeypatch, caplog):
    monkeypatch.setenv(SWITCH, "0")
    with caplog.at_level(logging.INFO):
        assert recurrence() == "python: SENTIMENT_COMPILED=0"
        assert compiled_for("gru", 32, torch.float32) is None
    assert [record.getMessage() for record in caplog.records] == [
        "recurrent layers in float32 are not compiled: SENTIMENT_COMPILED=0"
    ]


def test_without_a_compiler_training_goes_on_in_python(asked_again, monkeypatch):
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert recurrence() == "python: no C compiler: /nowhere/cc is not there"
    assert compiled_for("gru", 32, torch.float32) is None


class WrongRNN(CompiledRNN):
    """Layers that are wrong by a tenth of a thousandth, or by what is no number."""

    factor = 1.0

    def layer(self, cell, *given, **named):
        outputs = super().layer(cell, *given, **named)
        return outputs * self.factor if cell == "gru" else outputs


@pytest.mark.parametrize("factor", [1.0001, torch.nan])
def test_layers_that_compute_something_else_are_not_taken(layers, asked_again, monkeypatch, factor):
    assert rnn_choice.largest_difference(layers) < TOLERANCE[torch.float32] / 3
    monkeypatch.setattr(WrongRNN, "factor", factor)
    monkeypatch.setattr(rnn_choice, "CompiledRNN", WrongRNN)
    found, reason = compiled(torch.float32)
    assert found is None
    assert reason.startswith("the compiled layers are wrong by ")
    assert recurrence() == f"python: {reason}"


def test_in_bfloat16_a_wrong_gate_is_found(in_bfloat16):
    assert rnn_choice.largest_difference(in_bfloat16) < TOLERANCE[torch.bfloat16] / 2

    class Wrong(CompiledRNN):
        """An LSTM that leaves out the recurrent weights of one gate."""

        def layer(self, cell, inputs, sizes, reversed_index, weights):
            if cell == "lstm":
                units = weights[0][1].shape[1]
                kept = torch.ones(4 * units, 1).index_fill(0, torch.arange(units), 0.0)
                weights = [[own[0], own[1] * kept, *own[2:]] for own in weights]
            return super().layer(cell, inputs, sizes, reversed_index, weights)

    wrong = Wrong(load_library("BFLOAT16"), torch.bfloat16)
    assert rnn_choice.largest_difference(wrong) > 2 * TOLERANCE[torch.bfloat16]
