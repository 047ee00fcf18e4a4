"""Where a model is trained, and in which precision."""

import pytest
import torch

from sentiment.errors import InputError
from sentiment.nn import rnn_choice
from sentiment.nn.devices import (
    configure_threads,
    has_fast_bfloat16,
    pick_device,
    pick_precision,
    recurrent_precision,
)
from sentiment.nn.matmul import bfloat16_speedup, precision_name
from sentiment.nn.rnn_choice import Compiled

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_devices_by_name():
    assert pick_device("cpu") == CPU
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "toaster"):
        with pytest.raises(InputError, match=name):
            pick_device(name)


def test_precision_is_what_is_asked_for_or_the_faster():
    assert pick_precision("float32", CPU) == torch.float32
    assert pick_precision("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("capabilities", "speedup", "fast"),
    [
        ({"avx512_bf16": True}, 2.0, True),
        ({"avx512_bf16": True}, 0.5, False),
        ({"amx_bf16": True, "avx512_bf16": True}, 8.0, True),
        ({"avx512_bf16": False}, 2.0, False),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_has_it_and_a_product_is_faster(
    monkeypatch, capabilities, speedup, fast
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr("sentiment.nn.devices.bfloat16_speedup", lambda: speedup)
    assert has_fast_bfloat16(CPU) == fast
    assert precision_name(pick_precision("auto", CPU)) == ("bfloat16" if fast else "float32")


def test_the_speed_of_products_is_measured_once():
    assert 0.02 < bfloat16_speedup() < 50
    assert bfloat16_speedup() == bfloat16_speedup()


def layers_are_compiled(monkeypatch, *dtypes):
    """Have the layers compiled in these precisions, and the CPU fast in bfloat16."""

    def compiled(dtype):
        return Compiled(object() if dtype in dtypes else None, "")

    monkeypatch.setattr(rnn_choice, "compiled", compiled)
    monkeypatch.setattr("sentiment.nn.devices.has_fast_bfloat16", lambda device: True)
    monkeypatch.setattr("sentiment.nn.devices.has_bfloat16_lstm", lambda: True)


def test_small_loops_stay_in_float32_unless_told(monkeypatch):
    layers_are_compiled(monkeypatch)
    assert recurrent_precision("auto", CPU, "rnn", 64) == torch.float32
    assert recurrent_precision("auto", CPU, "gru", 64) == torch.float32
    assert recurrent_precision("auto", CPU, "rnn", 128) == torch.bfloat16
    assert recurrent_precision("auto", CPU, "gru", 128) == torch.bfloat16
    assert recurrent_precision("auto", CPU, "lstm", 32) == torch.bfloat16
    assert recurrent_precision("bfloat16", CPU, "rnn", 8) == torch.bfloat16
    assert recurrent_precision("auto", torch.device("cuda"), "rnn", 8) == pick_precision(
        "auto", torch.device("cuda")
    )


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_layers_compiled_in_bfloat16_are_taken_where_the_cpu_is_fast_in_it(monkeypatch, cell):
    layers_are_compiled(monkeypatch, torch.float32, torch.bfloat16)
    assert recurrent_precision("auto", CPU, cell, 8) == torch.bfloat16
    assert recurrent_precision("auto", CPU, cell, 1_024) == torch.bfloat16
    assert recurrent_precision("float32", CPU, cell, 32) == torch.float32
    monkeypatch.setattr("sentiment.nn.devices.has_fast_bfloat16", lambda device: False)
    assert recurrent_precision("auto", CPU, cell, 32) == torch.float32


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_layers_compiled_in_float32_alone_stay_in_it_unless_told(monkeypatch, threads, cell):
    layers_are_compiled(monkeypatch, torch.float32)
    threads(1)
    assert recurrent_precision("auto", CPU, cell, 256) == torch.float32
    assert recurrent_precision("auto", CPU, cell, 257) == torch.bfloat16
    assert recurrent_precision("bfloat16", CPU, cell, 128) == torch.bfloat16


@pytest.mark.parametrize("there", [True, False])
def test_an_lstm_stays_in_float32_where_the_cpu_has_none_in_bfloat16(monkeypatch, there):
    monkeypatch.setattr("sentiment.nn.devices.has_bfloat16_lstm", lambda: there)
    taken = recurrent_precision("bfloat16", CPU, "lstm", 64)
    assert taken == (torch.bfloat16 if there else torch.float32)
    assert recurrent_precision("bfloat16", CPU, "gru", 64) == torch.bfloat16


def test_denormals_are_flushed_in_the_thread():
    configure_threads(1)
    assert torch.get_num_threads() == 1
    tiny = torch.full((64,), 1e-38) * 1e-3
    assert (tiny == 0).all()
