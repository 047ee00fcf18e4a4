"""`sentiment.export`: what it writes is taken by every command, or runs in ONNX Runtime alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import toy_bundle

from sentiment import evaluate, export, predict, train
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.deployment.onnx_predict import OnnxModel
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.ensemble import Ensemble, load_model
from sentiment.tracking.model_uri import find_model
from sweeps.serving.served_model import check_answers, load_served


@pytest.fixture(scope="module")
def reviews() -> list[str]:
    return load_dataset(DataConfig(dataset="rotten-tomatoes")).splits["valid"].texts[:60]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, reviews: list[str]) -> Path:
    """The folder of a model with n-grams."""
    bundle = toy_bundle(
        reviews, words=800, ngrams=2, cell="gru", hidden_dim=16, tokenizer="whitespace"
    )
    return bundle.save(tmp_path_factory.mktemp("model") / "model")


def test_to_onnx(model, reviews, tmp_path, capsys):
    output = tmp_path / "new" / "onnx"
    export.main([str(model), "--output", str(output)])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == str(output)
    assert shown[1].startswith("  size: 0.") and shown[1].endswith(" before)")
    assert shown[2].startswith("  greatest difference of a probability over 200 texts: ")
    assert float(shown[2].rpartition(" ")[2]) < 1e-5
    found = OnnxModel(output).predict(reviews)
    assert np.abs(found - Bundle.load(model).predict(reviews)).max() < 1e-5
    assert [path.name for path in output.parent.iterdir()] == ["onnx"]


def test_a_quantized_folder_is_taken_by_every_command(model, reviews, tmp_path, capsys):
    output, data = tmp_path / "small", tmp_path / "reviews.csv"
    rows = [
        f'"{text}",{("neg", "pos")[n % 2]}' for n, text in enumerate(reviews) if '"' not in text
    ]
    data.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    arguments = [str(model), "--to", "folder", "--quantize", "int8", "--output", str(output)]
    export.main([*arguments, "--data", str(data)])
    shown = capsys.readouterr().out
    size, before = (sum(p.stat().st_size for p in f.iterdir()) for f in (output, model))
    assert f"size: {size / 1e6:.2f} MB ({before / 1e6:.2f} MB before)" in shown
    assert size < 0.75 * before
    assert "not in memory" in shown
    evaluate.main(["--model", str(output), "--data", str(data), "--split", "valid", "--json"])
    accuracy = json.loads(capsys.readouterr().out)["valid/accuracy"]
    assert f"valid/accuracy: {accuracy:.4f} (" in shown
    expected = Bundle.load(model).quantized().predict(reviews[:3])
    predict.main(["--model", str(output), "--json", *reviews[:3]])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["probability"] for line in lines] == pytest.approx(expected.max(1), abs=1e-6)
    served = load_served(find_model(str(output)))
    check_answers(served)
    assert np.array_equal(served.bundle.predict(reviews[:3]), expected)


def test_a_folder_without_quantization_is_a_copy(model, tmp_path, capsys):
    export.main([str(model), "--to", "folder", "--output", str(tmp_path / "copy")])
    assert "over 200 texts: 0\n" in capsys.readouterr().out
    for path in model.iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()
        # Another user may serve it.
        assert (tmp_path / "copy" / path.name).stat().st_mode & 0o044 == 0o044


def test_an_ensemble_has_a_folder_and_no_onnx(model, tmp_path, capsys):
    ensemble = Ensemble((Bundle.load(model), Bundle.load(model)), (0.5, 0.5))
    folder = ensemble.save(tmp_path / "ensemble")
    with pytest.raises(InputError, match="ensemble of 2 models can't be exported to ONNX: "):
        export.main([str(folder), "--output", str(tmp_path / "onnx")])
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble"]
    arguments = ["--to", "folder", "--quantize", "int8", "--output", str(tmp_path / "small")]
    export.main([str(folder), *arguments])
    assert isinstance(load_model(tmp_path / "small"), Ensemble)
    assert "MB before" in capsys.readouterr().out


def test_what_is_wrong_is_told_before_any_work(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--output is missing"):
        export.main([str(model)])
    with pytest.raises(InputError, match=rf"--output {tmp_path}: is there already"):
        export.main([str(model), "--output", str(tmp_path)])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--output .*file/out: can't be written"):
        export.main([str(model), "--output", str(tmp_path / "file" / "out")])
    with pytest.raises(InputError, match="there is no such folder"):
        export.main([str(tmp_path / "none"), "--output", str(tmp_path / "out")])
    # A folder of the user's that is called like one of the packages is not the package.
    (tmp_path / "onnx_that_is_missing").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(export, "PACKAGES", ("numpy", "onnx_that_is_missing"))
    with pytest.raises(InputError, match=r"--to onnx needs onnx_that_is_missing.* pip install"):
        export.main([str(model), "--output", str(tmp_path / "out")])


def test_an_onnx_model_that_answers_otherwise_is_not_kept(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(InputError, match="in ONNX Runtime the model would answer otherwise, by"):
        export.main([str(model), "--output", str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["cell=gru", "layers=2", "ngrams=3", "pooling=max"],
        ["cell=lstm", "ngrams=2", "pooling=mean", "max_length=100", "truncation=head_tail"],
        ["cell=rnn", "bidirectional=false", "pooling=last", "tokenizer=basic"],
    ],
)
def test_trained_models_answer_alike_on_500_reviews(settings, store_uri, tmp_path, capsys):
    fast = ["hidden_dim=24", "epochs=1", "evaluations_per_epoch=1"]
    arguments = ["--dataset", "rotten-tomatoes", "--tracking-uri", store_uri]
    train.main([*arguments, "--set", *fast, *settings])
    run = capsys.readouterr().out.rpartition("--model ")[2].split()[0]
    store = ["--tracking-uri", store_uri]
    export.main([run, *store, "--output", str(tmp_path / "onnx")])
    small = [f"runs:/{run}", *store, "--to", "folder", "--quantize", "int8"]
    export.main([*small, "--dataset", "rotten-tomatoes", "--output", str(tmp_path / "small")])
    bundle = load_model(find_model(run, store_uri).folder)
    texts = [
        *load_dataset(DataConfig()).splits["valid"].texts[:500],
        *load_dataset(DataConfig(dataset="rotten-tomatoes")).splits["test"].texts[:500],
    ]
    expected = bundle.predict(texts)
    assert np.abs(OnnxModel(tmp_path / "onnx").predict(texts) - expected).max() < 1e-4
    quantized = load_model(tmp_path / "small").predict(texts)
    assert np.abs(quantized - expected).max() < 0.05
    assert (quantized.argmax(1) == expected.argmax(1)).mean() > 0.99
