"""`python -m benchmarks.sweep`: CPU seconds and trials an hour of our sweep against stock ones.

All train the twelve configurations of sweep.yaml on the same reviews for one epoch, one thread a
trial, as many at once as there are cores, denormals flushed, and keep a record in MLflow. The
other side is Ray Tune with its stock MLflow callback and Optuna search: as somebody writes it who
knows the trade (`benchmarks.competent_sweep`), in float32 and in bfloat16; or, where `--sides` asks
for it, as tutorials have it, with a preparation in each trial (`benchmarks.straightforward_sweep`).
Ours is the sweep as it is, with its record (`benchmarks.fixed_sweep`): in float32 and in the
precision that it takes by itself, none stopped early, and, if asked for, once more with ASHA.

The sides take turns for some rounds. Each runs in a process, a folder and a cache of its own; the
trials are timed from the start of the first to the end of the last, the whole from the process's
start to its end, and CPU seconds are those of the process and of all that it starts.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks import tables
from benchmarks.process_cpu import run_measured
from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.embeddings.catalog import packaged_glove
from sentiment.errors import InputError
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
    "CPU, s",
    "times as few",
    "validation accuracy, mean",
    "best",
]
SIDES = {
    "straightforward": ("benchmarks.straightforward_sweep", ()),
    "competent, float32": ("benchmarks.competent_sweep", ()),
    "competent, bfloat16": ("benchmarks.competent_sweep", ("--precision", "bfloat16")),
    "ours, float32": ("benchmarks.fixed_sweep", ("--precision", "float32")),
    "ours": ("benchmarks.fixed_sweep", ()),
    "ours, early stopping": ("benchmarks.fixed_sweep", ("--scheduler", "asha")),
}
DEFAULT_SIDES = ("competent, float32", "competent, bfloat16", "ours, float32", "ours")
QUANTITIES = {"cpu_seconds": "cpu", "trials_seconds": "trials", "whole_seconds": "whole"}
"""What is compared: its name in JSON, and in `Timing`."""
_SEED = 1234
_HELD_BACK = 500


def main(argv: list[str] | None = None) -> None:
    """Run all sides one after the other, and print the table."""
    parser = cli.Parser(
        prog="python -m benchmarks.sweep",
        description="Measure our sweep against sweeps written by stock means.",
    )
    parser.add_argument("--dataset", default=DATASETS[0], help=" or ".join(DATASETS))
    parser.add_argument(
        "--reviews", type=int, metavar="N", help="to train on (default: 2000 of imdb-25k, else all)"
    )
    parser.add_argument(
        "--max-length", type=int, default=0, metavar="N", help="tokens of a review; 0: all"
    )
    parser.add_argument("--configurations", type=int, metavar="N", help="only the last N")
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=SIDES,
        default=DEFAULT_SIDES,
        help="to run (default: the competent ones and ours without early stopping)",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of all sides, in turns")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCS}")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        raise InputError(f"--rounds {args.rounds}: give 1 or more")
    reviews = args.reviews or (2_000 if args.dataset == "imdb-25k" else None)
    load = os.getloadavg()[0]
    measured: dict[str, list[Timing]] = {side: [] for side in args.sides}
    with tempfile.TemporaryDirectory() as scratch:
        plan = make_plan(
            Path(scratch), args.dataset, reviews, args.max_length, args.configurations or 0
        )
        for _ in range(args.rounds):
            for side in measured:
                timing = run(side, plan, Path(scratch))
                measured[side].append(timing)
                print(f"{side}: {timing}", file=sys.stderr, flush=True)
    table = tables.markdown(HEADER, rows(measured))
    if args.json:
        conditions = {
            "dataset": args.dataset,
            "reviews": measured[args.sides[0]][0].reviews[0],
            "max_length": args.max_length,
            "trials": len(plan["configurations"]),
            "cores": plan["workers"],
            "load_before": load,
        }
        print(json.dumps({**conditions, **as_json(measured)}))
    else:
        print(table)
    if args.write:
        kind = "tutorials-sweep" if "straightforward" in measured else "sweep"
        suffix = f"-{args.max_length}" if args.max_length else ""
        tables.replace(DOCS, f"{kind}-{args.dataset}{suffix}", table)


@dataclass(frozen=True)
class Timing:
    """What a side took, and how well its models did.

    Attributes:
        trials: seconds from the first trial's start to the last one's end.
        whole: seconds of the whole process.
        cpu: CPU seconds of the process and of all that it started.
        accuracies: of each trial's best model on validation.
        seconds: of each trial.
        trained: settings of each trial.
        reviews: training reviews that each has seen.
    """

    trials: float
    whole: float
    cpu: float
    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]
    trained: tuple[dict[str, Any], ...]
    reviews: tuple[int, ...]

    def __str__(self) -> str:
        each = ", ".join(f"{s:.1f}" for s in self.seconds)
        accuracies = ", ".join(f"{a:.3f}" for a in self.accuracies)
        return (
            f"{self.trials:.1f} s, whole {self.whole:.1f} s, CPU {self.cpu:.1f} s; "
            f"each {each} s; at {accuracies}"
        )


def rows(measured: Mapping[str, Sequence[Timing]]) -> list[list[str]]:
    """Return the table's rows, of medians.

    What the others are compared with is the better competent side in each column, or the first
    side where no competent one was run.
    """
    base = {
        quantity: median(measured[rival(measured, quantity)], quantity)
        for quantity in QUANTITIES.values()
    }
    table = []
    for side, timings in measured.items():
        cpu, trials, whole = (median(timings, quantity) for quantity in QUANTITIES.values())
        count = len(timings[0].accuracies)
        table.append(
            [
                side,
                f"{trials:,.1f}",
                f"{3600 * count / trials:,.0f}",
                f"{base['trials'] / trials:.1f}",
                f"{whole:,.1f}",
                f"{base['whole'] / whole:.1f}",
                f"{cpu:,.1f}",
                f"{base['cpu'] / cpu:.1f}",
                f"{statistics.median(statistics.mean(t.accuracies) for t in timings):.4f}",
                f"{statistics.median(max(t.accuracies) for t in timings):.4f}",
            ]
        )
    return table


def as_json(measured: Mapping[str, Sequence[Timing]]) -> dict[str, Any]:
    """Return what was measured, and for each of our sides the rival's quantities over ours.

    A ratio is that of two runs of one round: its median, its least and its largest of all rounds.
    """
    ratios: dict[str, Any] = {}
    for side in measured:
        if side.startswith("ours"):
            ratios[side] = {}
            for name, quantity in QUANTITIES.items():
                other = rival(measured, quantity)
                rounds = [
                    getattr(theirs, quantity) / getattr(ours, quantity)
                    for theirs, ours in zip(measured[other], measured[side], strict=True)
                ]
                ratios[side][name] = {
                    "against": other,
                    "median": statistics.median(rounds),
                    "least": min(rounds),
                    "largest": max(rounds),
                }
    sides = {
        side: {
            **{
                name: [getattr(timing, quantity) for timing in timings]
                for name, quantity in QUANTITIES.items()
            },
            "valid_accuracies": [timing.accuracies for timing in timings],
        }
        for side, timings in measured.items()
    }
    return {"rounds": len(next(iter(measured.values()))), "ratios": ratios, "sides": sides}


def rival(measured: Mapping[str, Sequence[Timing]], quantity: str) -> str:
    """Return the competent side with the least median of a quantity, else the first side."""
    competent = [side for side in measured if side.startswith("competent")]
    if not competent:
        return next(iter(measured))
    return min(competent, key=lambda side: median(measured[side], quantity))


def median(timings: Sequence[Timing], quantity: str) -> float:
    """Return the median of a quantity, an attribute of `Timing`."""
    return statistics.median(getattr(timing, quantity) for timing in timings)


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
    done = run_measured(command, folder, environment)
    if done.status:
        raise RuntimeError(f"{side} failed: {done.errors[-2_000:]}")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return Timing(
        trials=result["last"] - result["first"],
        whole=done.wall,
        cpu=done.cpu,
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
    """Write the packaged GloVe 6B 50d as the other sides have it after the first use.

    That is torchtext's cache for the straightforward one; a list of words and a file of numpy's,
    which processes can map, for the competent one.
    """
    import torch

    table = packaged_glove()
    vectors = np.array(table.vectors, dtype=np.float32)
    folder.mkdir()
    torch.save(
        (
            list(table.words),
            {word: index for index, word in enumerate(table.words)},
            torch.from_numpy(vectors),
            vectors.shape[1],
        ),
        folder / "glove.6B.50d.txt.pt",
    )
    np.save(folder / "vectors.npy", vectors)
    (folder / "words.txt").write_text("\n".join(table.words), encoding="utf-8")
    return folder


if __name__ == "__main__":
    cli.run(main)
