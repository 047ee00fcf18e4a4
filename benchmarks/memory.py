"""`python -m benchmarks.memory`: a training's peak of memory above the imports.

Each training runs in a process of its own: 8 steps of 64 reviews of 400 tokens, two layers of 256
units in both directions, and an evaluation.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import tables
from sentiment import cli
from sentiment.config import Config, parse_assignments
from sentiment.data.corpus import Corpus, EncodedSplit

SETTINGS = ("hidden_dim=256", "layers=2", "bidirectional=true", "max_length=400", "batch_size=64")
TOKENS, WORDS, TEXTS = 400, 25_000, 8 * 64


def main(argv: list[str] | None = None) -> None:
    """Measure each cell and precision, and print a table."""
    parser = cli.Parser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"], help="cells")
    parser.add_argument("--one", nargs=2, metavar=("CELL", "PRECISION"), help="measure here")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    if args.one:
        print(measure(*args.one))
        return
    rows = []
    for cell in args.cells:
        for precision in ("float32", "bfloat16"):
            command = [sys.executable, "-m", "benchmarks.memory", "--one", cell, precision]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append([cell, precision, f"{float(done.stdout):,.0f}"])
    table = tables.markdown(["cell", "precision", "peak above the imports, MB"], rows)
    print(table)
    if args.write:
        tables.replace(Path(args.write), "memory", table)


def measure(cell: str, precision: str) -> float:
    """Train in this process; return the peak above what the imports took, in MB."""
    from sentiment.training.trainer import Trainer

    random = np.random.default_rng(0)
    corpus = Corpus(
        words=tuple(f"w{i}" for i in range(WORDS)),
        counts=np.arange(WORDS, 0, -1),
        splits={"train": _split(random, TEXTS), "valid": _split(random, 512)},
        label_names=("neg", "pos"),
        dataset="random",
        dataset_fingerprint="",
    )
    settings = [*SETTINGS, f"cell={cell}", f"precision={precision}", "epochs=1"]
    config = Config.from_flat(parse_assignments(settings))
    before = _peak()
    for _ in Trainer(config, corpus).evaluations():
        pass
    return _peak() - before


def _split(random: np.random.Generator, texts: int) -> EncodedSplit:
    return EncodedSplit(
        tokens=random.integers(0, WORDS, texts * TOKENS, dtype=np.int32),
        offsets=np.arange(0, texts * TOKENS + 1, TOKENS),
        labels=random.integers(0, 2, texts),
    )


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    cli.run(main)
