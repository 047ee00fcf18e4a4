"""The folder with a model in ONNX: complete, described, and it runs without the project."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from toy_bundle import toy_bundle

from sentiment.data import token_rules
from sentiment.deployment.onnx_folder import write_onnx

TEXTS = ["It's a great film.", "The film isn't great: it is dull.<br />", "Great!"]
# Neither the project nor what it needs beside NumPy, ONNX Runtime and spaCy's tokenizer.
WITHOUT = ("onnx", "pandas", "safetensors", "scipy", "sentiment", "sklearn", "sweeps", "torch")
BLOCKED = f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r})); "


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model with n-grams, and the folder that it was exported to."""
    folder = tmp_path_factory.mktemp("onnx")
    bundle = toy_bundle(TEXTS, ngrams=2, max_length=9)
    write_onnx(bundle, folder)
    return bundle, folder


def run(folder, code):
    command = [sys.executable, "-c", BLOCKED + f"sys.path.insert(0, {str(folder)!r}); {code}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_script_predicts_without_this_project(exported):
    bundle, folder = exported
    code = f"sys.argv[1:] = {TEXTS!r}; import runpy; runpy.run_path('predict.py', None, '__main__')"
    done = run(folder, code)
    assert done.returncode == 0, done.stderr
    expected = [
        f"{bundle.label_names[row.argmax()]}\t{row.max():.4f}" for row in bundle.predict(TEXTS)
    ]
    assert done.stdout.splitlines() == expected


def test_the_example_of_the_readme_works(exported):
    bundle, folder = exported
    readme = (folder / "README.md").read_text()
    code = re.findall(r"^    (from predict import .+|OnnxModel.+)$", readme, re.MULTILINE)
    assert len(code) == 2
    statement = code[1].partition("    #")[0].replace("THIS FOLDER", str(folder))
    done = run(folder, f"{code[0]}; print({statement}.tolist())")
    assert done.returncode == 0, done.stderr
    assert np.array(json.loads(done.stdout)) == pytest.approx(
        bundle.predict(["This film is great"]), abs=1e-5
    )


@pytest.mark.parametrize("ngrams", [0, 2])
def test_the_readme_names_each_file_input_and_output(tmp_path, ngrams):
    bundle = toy_bundle(TEXTS, ngrams=ngrams, classes=3, max_length=0, tokenizer="whitespace")
    write_onnx(bundle, tmp_path, quantized=True)
    readme = (tmp_path / "README.md").read_text()
    assert "Tells apart: neg, pos, neutral." in readme
    rows = re.findall(r"^\| (`.+?) \| ", readme, re.MULTILINE)
    named = set(re.findall(r"`(.+?)`", " ".join(rows)))
    session = onnxruntime.InferenceSession(
        str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    ports = {each.name for each in (*session.get_inputs(), *session.get_outputs())}
    files = {path.name for path in tmp_path.iterdir()}
    assert named == (files - {"README.md"}) | ports
    assert ("ngrams.npz" in files) == ("ngrams" in ports) == bool(ngrams)
    assert "its large tensors in 8 bits" in readme


def test_requirements_are_pinned_and_only_what_is_needed(exported, tmp_path):
    lines = (exported[1] / "requirements.txt").read_text().splitlines()
    names = [line.partition("==")[0] for line in lines[1:]]
    assert names == ["numpy", "onnxruntime", "spacy"]
    assert f"onnxruntime=={onnxruntime.__version__}" in lines
    write_onnx(toy_bundle(TEXTS, tokenizer="basic"), tmp_path)
    assert "spacy" not in (tmp_path / "requirements.txt").read_text()


def test_what_is_copied_imports_nothing_of_the_project(exported):
    for name in ("predict.py", "token_rules.py"):
        tree = ast.parse((exported[1] / name).read_text(encoding="utf-8"))
        modules = [
            each.module if isinstance(each, ast.ImportFrom) else each.names[0].name
            for each in ast.walk(tree)
            if isinstance(each, ast.Import | ast.ImportFrom)
        ]
        assert modules
        assert not [each for each in modules if str(each).startswith(("sentiment", "sweeps"))]
    rules = (exported[1] / "token_rules.py").read_bytes()
    assert rules == Path(token_rules.__file__).read_bytes()
