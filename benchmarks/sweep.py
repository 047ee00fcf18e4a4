"""`python -m benchmarks.sweep`: trials an hour of our sweep against the straightforward one.

Both train the twelve configurations of sweep.yaml on the same reviews for one epoch, one thread a
trial, as many at once as there are cores, denormals flushed. The other side is Ray Tune with its
stock MLflow callback and Optuna search, each trial the tutorials' loop with its own preparation
(`benchmarks.straightforward_sweep`). Ours is the sweep as it is, with its record
(`benchmarks.fixed_sweep`): in float32 and in the precision that it takes by itself, none stopped
early, and once more with ASHA. Each runs in a process, a folder and a cache of its own; the trials
are timed from the start of the first to the end of the last, the whole from the process's start to
its end.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import tables
from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.embeddings.catalog import packaged_glove
from sentiment.io.processes import available_cores

DOCS = Path("docs/benchmarks.md")
CONFIGURATIONS = Path(__file__).with_suffix(".yaml")
DATASETS = ("imdb-25k", "rotten-tomatoes")
HEADER = [
    "sweep",
    "trials, s",
    "trials an hour",
    "times as many",
    "whole, s",
    "times as fast",
    "validation accuracy, mean",
    "best",
]
SIDES = {
    "straightforward": ("benchmarks.straightforward_sweep", ()),
    "ours, float32": ("benchmarks.fixed_sweep", ("--precision", "float32")),
    "ours": ("benchmarks.fixed_sweep", ()),
    "ours, early stopping": ("benchmarks.fixed_sweep", ("--scheduler", "asha")),
}
_SEED = 1234
_HELD_BACK = 500


def main(argv: list[str] | None = None) -> None:
    """Run all sides one after the other, and print the table."""
    parser = cli.Parser(
        prog="python -m benchmarks.sweep",
        description="Measure trials an hour against a sweep written by stock means.",
    )
    parser.add_argument("--dataset", default=DATASETS[0], help=" or ".join(DATASETS))
    parser.add_argument(
        "--reviews", type=int, metavar="N", help="to train on (default: 2000 of imdb-25k, else all)"
    )
    parser.add_argument(
        "--max-length", type=int, default=0, metavar="N", help="tokens of a review; 0: all"
    )
    parser.add_argument("--configurations", type=int, metavar="N", help="only the last N")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="to run")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCS}")
    args = parser.parse_args(argv)
    reviews = args.reviews or (2_000 if args.dataset == "imdb-25k" else None)
    with tempfile.TemporaryDirectory() as scratch:
        plan = make_plan(
            Path(scratch), args.dataset, reviews, args.max_length, args.configurations or 0
        )
        timings: dict[str, Timing] = {}
        for side in args.sides:
            timings[side] = run(side, plan, Path(scratch))
            print(f"{side}: {timings[side]}", flush=True)
    table = tables.markdown(HEADER, rows(timings))
    print(table)
    if args.write:
        suffix = f"-{args.max_length}" if args.max_length else ""
        tables.replace(DOCS, f"sweep-{args.dataset}{suffix}", table)


@dataclass(frozen=True)
class Timing:
    """What a side took, and how well its models did.

    Attributes:
        trials: seconds from the first trial's start to the last one's end.
        whole: seconds of the whole process.
        accuracies: of each trial's best model on validation.
        seconds: of each trial.
        trained: settings of each trial.
        reviews: training reviews that each has seen.
    """

    trials: float
    whole: float
    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]
    trained: tuple[dict[str, Any], ...]
    reviews: tuple[int, ...]

    @property
    def an_hour(self) -> float:
        """Trials an hour."""
        return 3600 * len(self.accuracies) / self.trials

    def __str__(self) -> str:
        each = ", ".join(f"{s:.1f}" for s in self.seconds)
        accuracies = ", ".join(f"{a:.3f}" for a in self.accuracies)
        return f"{self.trials:.1f} s, whole {self.whole:.1f} s; each {each} s; at {accuracies}"


def rows(timings: dict[str, Timing]) -> list[list[str]]:
    """Return the table's rows; the first side is what the others are compared with."""
    first = next(iter(timings.values()))
    return [
        [
            side,
            f"{timing.trials:,.1f}",
            f"{timing.an_hour:,.0f}",
            f"{timing.an_hour / first.an_hour:.1f}",
            f"{timing.whole:,.1f}",
            f"{first.whole / timing.whole:.1f}",
            f"{statistics.mean(timing.accuracies):.4f}",
            f"{max(timing.accuracies):.4f}",
        ]
        for side, timing in timings.items()
    ]


def make_plan(
    folder: Path, dataset: str, reviews: int | None, max_length: int, last: int = 0
) -> dict[str, Any]:
    """Write down what all sides read, and return where it is and what is to be trained.

    Args:
        folder: for the files.
        dataset: name of the data set.
        reviews: drawn from its train split; None: all of its splits as they are.
        max_length: tokens of a review; 0: all.
        last: take that many of the configurations, from the end; 0: all.
    """
    listed = yaml.safe_load(CONFIGURATIONS.read_text(encoding="utf-8"))
    shared = {**listed["shared"], "max_length": max_length, "seed": _SEED}
    return {
        "configurations": [
            Config.from_flat({**shared, **each}).flat() for each in listed["configurations"][-last:]
        ],
        "reviews": str(_write_reviews(folder / "reviews.csv", dataset, reviews)),
        "vectors": str(_write_vectors(folder / "vectors")),
        "workers": available_cores(),
    }


def run(side: str, plan: dict[str, Any], scratch: Path) -> Timing:
    """Run one side in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    module, arguments = SIDES[side]
    folder = Path(tempfile.mkdtemp(dir=scratch))
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    environment = {**os.environ, "SENTIMENT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", module, "plan.json", "result.json", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    whole = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{side} failed: {done.stderr[-2_000:]}")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return Timing(
        trials=result["last"] - result["first"],
        whole=whole,
        accuracies=tuple(result["accuracies"]),
        seconds=tuple(result["seconds"]),
        trained=tuple(result["trained"]),
        reviews=tuple(result["reviews"]),
    )


def _write_reviews(path: Path, dataset: str, reviews: int | None) -> Path:
    """Write a CSV with the columns text, label and split."""
    splits = load_dataset(DataConfig(dataset=dataset)).splits
    draw = np.random.default_rng(_SEED)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for name in ("train", "valid", "test"):
            split = splits[name]
            wanted = len(split) if reviews is None else reviews
            if reviews is not None and name != "train":
                wanted = min(_HELD_BACK, reviews)
            for index in draw.permutation(len(split))[:wanted]:
                writer.writerow([split.texts[index], int(split.labels[index]), name])
    return path


def _write_vectors(folder: Path) -> Path:
    """Write the packaged GloVe 6B 50d as torchtext's cache has it after the first use."""
    import torch

    table = packaged_glove()
    folder.mkdir()
    torch.save(
        (
            list(table.words),
            {word: index for index, word in enumerate(table.words)},
            torch.from_numpy(np.array(table.vectors, dtype=np.float32)),
            table.vectors.shape[1],
        ),
        folder / "glove.6B.50d.txt.pt",
    )
    return folder


if __name__ == "__main__":
    cli.run(main)
