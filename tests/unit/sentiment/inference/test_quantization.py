"""Weights in 8 bits: what is kept of each, and what is refused of a quantized model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_bundle import toy_bundle

from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.ensemble import Ensemble, load_model
from sentiment.inference.quantization import NGRAMS_A_TILE, dequantize, quantize

TEXTS = ["a great film and a great plot", "a dull film , far too long", "", "fine " * 90]


def test_a_row_of_the_embedding_has_its_own_scale():
    rows = torch.tensor([[0.0, 0.0, 0.0], [127.0, -63.6, 0.4], [0.254, -0.0009, 0.001]])
    found = quantize({"embedding.weight": rows})
    assert found["embedding.weight"].dtype == torch.int8
    assert found["embedding.weight"].tolist() == [[0, 0, 0], [127, -64, 0], [127, 0, 0]]
    assert found["embedding.weight.scale"].tolist() == [[0.0], [1.0], [pytest.approx(0.002)]]
    again = dequantize(found)
    assert list(again) == ["embedding.weight"]
    assert again["embedding.weight"].tolist()[1] == [127.0, -64.0, 0.0]


def test_what_was_quantized_is_kept_when_it_is_quantized_again():
    random = np.random.default_rng(7)
    tensors = {
        "embedding.weight": random.normal(size=(300, 20)),
        "ngrams.weight": random.standard_cauchy(size=(500, 3)),
    }
    first = quantize({n: torch.from_numpy(v.astype(np.float32)) for n, v in tensors.items()})
    second = quantize(dequantize(first))
    for name in tensors:
        assert torch.equal(second[name], first[name])


def test_sixty_four_ngrams_of_a_class_share_a_scale():
    weights = np.random.default_rng(3).normal(size=(150, 2)).astype(np.float32)
    weights[70, 1] = 50
    found = quantize({"ngrams.weight": torch.from_numpy(weights)})
    scales = found["ngrams.weight.scale"].numpy()
    assert scales.shape == (3, 2)
    assert scales[1, 1] == pytest.approx(50 / 127)
    assert scales[1, 0] == pytest.approx(np.abs(weights[64:128, 0]).max() / 127)
    again = dequantize(found)["ngrams.weight"].numpy()
    # Half a scale at most, whatever the large weight of the other class does.
    allowed = np.repeat(scales, NGRAMS_A_TILE, axis=0)[:150] * 0.5001
    assert (np.abs(again - weights) <= allowed).all()


def test_keys_come_back_without_loss():
    keys = torch.tensor([3, 900, 7_000_000_000, 7_000_000_001])
    near, far = torch.tensor([0, 5, 2**31 + 4]), torch.empty(0, dtype=torch.int64)
    found = quantize({"ngrams.keys.1": near, "ngrams.keys.2": keys, "ngrams.keys.3": far})
    assert found["ngrams.keys.1.steps"].dtype == torch.int32
    # A difference of more than 31 bits leaves the keys as they are.
    assert torch.equal(found["ngrams.keys.2"], keys)
    again = dequantize(found)
    assert torch.equal(again["ngrams.keys.1"], near)
    assert torch.equal(again["ngrams.keys.2"], keys)
    assert again["ngrams.keys.3"].dtype == torch.int64 and len(again["ngrams.keys.3"]) == 0


@pytest.mark.parametrize("settings", [{}, {"classes": 3, "ngrams": 2}, {"ngrams": 3}])
def test_a_quantized_folder_is_loaded_as_any_other(tmp_path: Path, settings):
    bundle = toy_bundle(TEXTS, tokenizer="whitespace", **settings)
    small = bundle.save(tmp_path / "small", in_8_bits=True)
    loaded = load_model(small)
    assert isinstance(loaded, Bundle)
    assert all(value.dtype in (torch.float32, torch.int64) for value in loaded.weights.values())
    assert loaded.weights.keys() == bundle.weights.keys()
    probabilities = loaded.predict(TEXTS)
    assert np.array_equal(probabilities, bundle.quantized().predict(TEXTS))
    assert 0 < np.abs(probabilities - bundle.predict(TEXTS)).max() < 0.02
    # Written without the flag it has all bits again, and the same answers.
    again = Bundle.load(loaded.save(tmp_path / "again"))
    assert np.array_equal(again.predict(TEXTS), probabilities)


def test_members_of_an_ensemble_are_quantized(tmp_path: Path):
    members = (
        toy_bundle(TEXTS, tokenizer="whitespace"),
        toy_bundle(TEXTS, tokenizer="whitespace", cell="gru"),
    )
    folder = Ensemble(members, (0.75, 0.25)).save(tmp_path / "small", in_8_bits=True)
    quantized = Ensemble(tuple(each.quantized() for each in members), (0.75, 0.25))
    assert np.array_equal(load_model(folder).predict(TEXTS), quantized.predict(TEXTS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("embedding.weight.scale"), "embedding.weight is not a matrix in int8"),
        (lambda w: w.update({"embedding.weight": torch.zeros(4, 0, dtype=torch.int8)}), "matrix"),
        (
            lambda w: w.update({"ngrams.weight.scale": torch.zeros(1, 2)}),
            r"ngrams.weight.scale is not of shape \(\d, 1\)",
        ),
        (
            lambda w: w.update({"ngrams.keys.1.steps": torch.zeros(3)}),
            "ngrams.keys.1.steps is not a list of 32-bit numbers",
        ),
        (lambda w: w["ngrams.keys.2.steps"].neg_(), "keys out of order"),
        (lambda w: w["embedding.weight.scale"].fill_(torch.nan), "else than finite numbers"),
        (lambda w: w.pop("embedding.weight"), "don't fit"),
    ],
)
def test_a_quantized_folder_that_was_damaged_is_refused(tmp_path: Path, change, message):
    folder = toy_bundle(TEXTS, tokenizer="whitespace", ngrams=2).save(
        tmp_path / "small", in_8_bits=True
    )
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(InputError, match=message):
        Bundle.load(folder)


def test_a_folder_of_another_format_does_not_load_as_a_quantized_one(tmp_path: Path):
    folder = toy_bundle(TEXTS, tokenizer="whitespace").save(tmp_path / "model", in_8_bits=True)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(InputError, match=r"does not fit config\.json"):
        Bundle.load(folder)
    config.write_text(config.read_text().replace('"format": 1', '"format": 3'))
    with pytest.raises(InputError, match="format 3, this version reads formats 1 and 2"):
        Bundle.load(folder)
