"""`python -m sentiment.export`: a saved model for use elsewhere, as ONNX or in fewer bits."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from sentiment.deployment.comparison import Comparison
    from sentiment.inference.bundle import Bundle
    from sentiment.inference.ensemble import TextModel

PACKAGES = ("onnx", "onnxruntime")
"""What `--to onnx` needs, the extra `export` of this project."""
TOLERANCE = 1e-4
"""Greatest difference of a probability between a model and its ONNX form."""


def main(argv: list[str] | None = None) -> None:
    """Write a model in another form, and say how near its answers and how large its files are."""
    parser = cli.Parser(
        prog="python -m sentiment.export",
        usage="%(prog)s [option ...] [MODEL] --output FOLDER",
        description="Write a saved model into a new folder: in ONNX, with what predicts by ONNX "
        "Runtime alone, or as a folder that every command takes as a model. Given data, compare "
        "the accuracy on its validation split before and after.",
        common=("--to", "--output", "--quantize", "--tracking-uri", "--dataset", "--data"),
        examples=(
            "python -m sentiment.export --output champion-onnx",
            "python -m sentiment.export models:/sentiment/1 --to onnx --output model",
            "python -m sentiment.export --to folder --quantize int8 --output small",
        ),
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a model's URI, a run's id or a folder (default: models:/sentiment@champion)",
    )
    parser.add_argument(
        "--to",
        choices=["onnx", "folder"],
        default="onnx",
        help="onnx, or folder: the project's own form",
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="the folder, a new one")
    parser.add_argument(
        "--quantize",
        choices=["int8"],
        help="keep word vectors and weights of n-grams in 8 bits (default: float32)",
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: the current folder's)"
    )
    cli.add_data_arguments(parser)
    parser.set_defaults(dataset=None)  # without labels, unless data is named
    args = parser.parse_args(argv)
    _check_output(args.output)
    if args.to == "onnx":
        _check_packages()

    from sentiment.deployment.comparison import compare, drawn_texts
    from sentiment.evaluation.scored_texts import select_texts
    from sentiment.inference.ensemble import load_model, weighted_members
    from sentiment.inference.model_folder import written_whole
    from sentiment.io.processes import available_cores
    from sentiment.nn.devices import configure_threads
    from sentiment.tracking.model_uri import find_model

    named = cli.named_data(args)
    found = find_model(args.model, args.tracking_uri)
    model = load_model(found.folder)
    labels: np.ndarray | None = None
    if named:
        scored = select_texts(found, model, named, "valid")
        texts, labels = scored.texts, scored.labels
    else:
        texts = drawn_texts(weighted_members(model)[0][1].vocabulary)
    configure_threads(available_cores())
    before = model.predict(texts, available_cores())
    try:
        with written_whole(args.output) as folder:
            write = _write_onnx if args.to == "onnx" else _write_folder
            after = write(model, folder, args.quantize is not None, texts)
    except OSError as error:
        raise InputError(f"--output {args.output}: can't be written ({error.strerror})") from error
    _report(args, compare(before, after, labels), _size(found.folder))


def _write_onnx(model: TextModel, folder: Path, quantized: bool, texts: list[str]) -> np.ndarray:
    """Write a model as ONNX, and return what it predicts then, float32 (n, C).

    Raises:
        InputError: it can't be exported, or would not answer alike.
    """
    import numpy as np

    from sentiment.deployment.onnx_folder import write_onnx
    from sentiment.deployment.onnx_predict import OnnxModel

    bundle = _only_bundle(model)
    write_onnx(bundle, folder, quantized)
    predicted = OnnxModel(folder).predict(texts)
    expected = (bundle.quantized() if quantized else bundle).predict(texts)
    difference = float(np.abs(predicted - expected).max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"in ONNX Runtime the model would answer otherwise, by {difference:.1g}: "
            "export it with --to folder"
        )
    return predicted


def _write_folder(model: TextModel, folder: Path, quantized: bool, texts: list[str]) -> np.ndarray:
    """Write a model as this project does, and return what it predicts then, float32 (n, C)."""
    from sentiment.inference.ensemble import load_model
    from sentiment.io.processes import available_cores

    model.save(folder, quantized)
    return load_model(folder).predict(texts, available_cores())


def _only_bundle(model: TextModel) -> Bundle:
    from sentiment.inference.bundle import Bundle

    if not isinstance(model, Bundle):
        raise InputError(
            f"an ensemble of {len(model.members)} models can't be exported to ONNX: export it with "
            "--to folder, or name one of its members' folders"
        )
    return model


def _check_output(folder: Path | None) -> None:
    if folder is None:
        raise InputError("--output is missing: name a new folder")
    if folder.exists():
        raise InputError(f"--output {folder}: is there already; name a new folder")


def _check_packages() -> None:
    specs = {name: find_spec(name) for name in PACKAGES}
    # A folder of that name in the working folder has no origin.
    missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        raise InputError(
            f'--to onnx needs {" and ".join(missing)}, the extra "export" of this project: '
            f"{sys.executable} -m pip install {' '.join(missing)}"
        )


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _report(args: argparse.Namespace, found: Comparison, before: int) -> None:
    from sentiment.wording import counted

    size = _size(args.output)
    print(args.output)
    print(f"  size: {size / 1e6:.2f} MB ({before / 1e6:.2f} MB before)")
    print(
        f"  greatest difference of a probability over {counted(found.texts, 'text')}: "
        f"{found.difference:.1g}"
    )
    if found.before is not None and found.after is not None:
        print(f"  valid/accuracy: {found.after:.4f} ({found.before:.4f} before)")
    if args.to == "folder" and args.quantize:
        print("  loading it makes float32 of the 8 bits: it is smaller on the disk, not in memory")


if __name__ == "__main__":
    cli.run(main)
