"""When recurrent layers are compiled, and what is said where they are not."""

import logging

import pytest
import torch

from sentiment.nn import rnn_choice
from sentiment.nn.compiled_rnn import CompiledRNN
from sentiment.nn.rnn_choice import SWITCH, TOLERANCE, compiled, compiled_for, recurrence


@pytest.fixture
def layers():
    found, reason = compiled()
    if found is None:
        pytest.skip(reason)
    return found


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


@pytest.mark.parametrize(("cell", "widest"), rnn_choice.WIDEST_REDUCED.items())
def test_with_reduced_products_they_are_taken_in_bfloat16_too(
    layers, threads, monkeypatch, cell, widest
):
    threads(1)
    monkeypatch.setattr(rnn_choice, "has_reduced_products", lambda: True)
    assert compiled_for(cell, widest, torch.bfloat16) is layers
    assert compiled_for(cell, widest + 1, torch.bfloat16) is None
    monkeypatch.setattr(rnn_choice, "has_reduced_products", lambda: False)
    assert compiled_for(cell, widest, torch.bfloat16) is None


def test_whoever_asks_first_may_be_predicting(layers, asked_again):
    for mode in (torch.inference_mode, torch.no_grad):
        compiled.cache_clear()
        with mode():
            assert compiled().layers is not None


def test_a_variable_turns_them_off(asked_again, monkeypatch, caplog):
    monkeypatch.setenv(SWITCH, "0")
    with caplog.at_level(logging.INFO):
        assert recurrence() == "python: SENTIMENT_COMPILED=0"
        assert compiled_for("gru", 32, torch.float32) is None
    assert [record.getMessage() for record in caplog.records] == [
        "recurrent layers are not compiled: SENTIMENT_COMPILED=0"
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
    assert rnn_choice.largest_difference(layers) < TOLERANCE / 3
    monkeypatch.setattr(WrongRNN, "factor", factor)
    monkeypatch.setattr(rnn_choice, "CompiledRNN", WrongRNN)
    found, reason = compiled()
    assert found is None
    assert reason.startswith("the compiled layers are wrong by ")
    assert recurrence() == f"python: {reason}"
