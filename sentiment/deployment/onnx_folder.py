"""A folder with a model in ONNX and all that running it needs but ONNX Runtime itself."""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from sentiment.data import token_rules
from sentiment.data.tokenizer import LANGUAGE_PACKAGES
from sentiment.deployment import onnx_predict
from sentiment.deployment.onnx_graph import OPSET, build_graph
from sentiment.inference.bundle import Bundle
from sentiment.inference.model_folder import write_json
from sentiment.listing import listed

FORMAT = 1
_PROJECT_IMPORT = "from sentiment.data.token_rules import"

README = """\
# A text classifier in ONNX

Tells apart: {labels}.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python predict.py "This film is great"

prints the label and its probability; without a text, those of each line of standard input. In
Python, with this folder on `sys.path`:

    from predict import OnnxModel
    OnnxModel("THIS FOLDER").predict(["This film is great"])    # (texts, classes), float32

| file | what |
| --- | --- |
| `model.onnx` | the model{bits}, for ONNX Runtime 1.13 or newer (opset {opset}) |
| `vocabulary.json` | words by id; 0 is `<unk>`, any word that is not listed; 1 is `<pad>` |
| `labels.json` | the classes in the order of the probabilities |
| `settings.json` | how a text becomes tokens, and how many of them are read |
{ngram_file}| `predict.py`, `token_rules.py` | from a text to the inputs below, and to its label |
| `requirements.txt` | what they were tried with |

## Inputs and output of `model.onnx`

| name | type | what |
| --- | --- | --- |
| `ids` | int64 (batch, time) | ids of a text's words, then any padding; at most {max_length} |
| `lengths` | int64 (batch,) | words of each text, 1 or more: one without a word is one `<unk>` |
{ngram_input}| `probabilities` | float32 (batch, {classes}) | the output |

Only the tokens of training get the answers of training: take them from `predict.py`, or write
the same in your language and compare. A text's answer does not depend on the others in the batch.
"""

NGRAM_FILE = """\
| `ngrams.npz` | for each n the keys of its n-grams, increasing: (place of the first n - 1 words \
among the keys before) × {vocabulary:,} + (id of the last word - 2) |
"""

NGRAM_INPUT = """\
| `ngrams` | int64 (batch, n-grams) | places of the n-grams that the whole text holds, each once, \
those of one word first; padded by {ngrams} |
"""


def write_onnx(bundle: Bundle, folder: Path, quantized: bool = False) -> None:
    """Write a model as ONNX into an empty folder, with what makes its inputs from a text.

    Args:
        bundle: the saved model.
        folder: it is there.
        quantized: whether its large tensors are in 8 bits.

    Raises:
        InputError: the model can't be an ONNX graph, see `build_graph`.
    """
    onnx.save_model(build_graph(bundle, quantized), str(folder / "model.onnx"))
    text, branch = bundle.config.text, bundle.ngrams
    fields = {"tokenizer", "language", "lowercase", "strip_markup", "max_length", "truncation"}
    settings = {
        "format": FORMAT,
        "text": text.model_dump(mode="json", include=fields),
        "ngrams": 0 if branch is None else len(branch.table.keys),
    }
    write_json(folder / "settings.json", settings)
    write_json(folder / "vocabulary.json", list(bundle.vocabulary.itos))
    write_json(folder / "labels.json", list(bundle.label_names))
    if branch is not None:
        keys: dict[str, Any] = {str(n): each for n, each in enumerate(branch.table.keys, start=1)}
        np.savez_compressed(folder / "ngrams.npz", **keys)
    script = inspect.getsource(onnx_predict).replace(_PROJECT_IMPORT, "from token_rules import")
    (folder / "predict.py").write_text(script, encoding="utf-8")
    rules = inspect.getsource(token_rules)
    (folder / "token_rules.py").write_text(rules, encoding="utf-8")
    (folder / "requirements.txt").write_text(_requirements(bundle), encoding="utf-8")
    (folder / "README.md").write_text(_readme(bundle, quantized), encoding="utf-8")


def _requirements(bundle: Bundle) -> str:
    text = bundle.config.text
    packages = ["numpy", "onnxruntime"]
    if text.tokenizer == "spacy":
        packages += ["spacy", *LANGUAGE_PACKAGES.get(text.language, ())]
    pins = (f"{package}=={version(package).partition('+')[0]}\n" for package in packages)
    return f"# Python {sys.version_info.major}.{sys.version_info.minor}\n{''.join(pins)}"


def _readme(bundle: Bundle, quantized: bool) -> str:
    branch = bundle.ngrams
    file = NGRAM_FILE.format(vocabulary=bundle.vocabulary.size) if branch else ""
    given = NGRAM_INPUT.format(ngrams=len(branch.table)) if branch else ""
    return README.format(
        labels=listed(bundle.label_names),
        bits=", its large tensors in 8 bits" if quantized else "",
        opset=OPSET,
        ngram_file=file,
        ngram_input=given,
        max_length=bundle.config.text.max_length or "as many as you like",
        classes=len(bundle.label_names),
    )
