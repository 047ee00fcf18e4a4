"""`python -m benchmarks.recipes`: the tutorials' systems, trained and scored on the test split.

Runs are recorded in the store of the current folder like any others, and one that is there is not
trained again, so that the command can be interrupted and repeated.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment import cli
from sentiment.recipes.recipe import baseline_recipes
from sentiment.tracking.experiment import default_experiment
from sentiment.tracking.store import open_store, tracking_uri

SEEDS = (1234, 1235, 1236)
CHEAPEST = ("small-rnn", "small-lstm", "base-rnn")
"""Trained with all seeds; the others with the first."""
REPORTED = {
    "base-rnn": (45.47,),
    "upgraded-bilstm": (84.79, 87.03),
    "lstm-1": (86.82, 84.78),
    "lstm-1-dropout": (87.61, 87.59),
    "bilstm-1": (87.53, 88.49),
    "lstm-3": (62.26, 83.83),
    "basic-rnn": (50.0,),
    "basic-gru": (84.0,),
    "basic-lstm": (80.0,),
    "small-rnn": (50.7,),
    "small-lstm": (51.8,),
    "stacked-rnn": (74.23,),
}
"""Test accuracies, in percent, that the tutorials report."""


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, and print the table."""
    parser = cli.Parser(
        prog="python -m benchmarks.recipes",
        description="Train the tutorials' systems and compare with what they report.",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these recipes alone")
    args = parser.parse_args(argv)
    client, experiment = open_store(tracking_uri(), default_experiment())
    wanted = [recipe.name for recipe in baseline_recipes()]
    for name in args.only or wanted:
        for seed in SEEDS if name in CHEAPEST else SEEDS[:1]:
            if _accuracy(client, experiment, name, seed) is None:
                command = [sys.executable, "-m", "sentiment.train", "--recipe", name, "--test"]
                subprocess.run([*command, "--set", f"seed={seed}"], check=True)
    print("| recipe | reported | test accuracy here | seeds | parameters | seconds an epoch |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in wanted:
        print(_row(client, experiment, name))


def _runs(client: MlflowClient, experiment: str, name: str, seed: int) -> list[Run]:
    return client.search_runs(
        [experiment],
        f"tags.recipe = '{name}' and params.seed = '{seed}' and attributes.status = 'FINISHED'",
        max_results=1,
    )


def _accuracy(client: MlflowClient, experiment: str, name: str, seed: int) -> float | None:
    found = _runs(client, experiment, name, seed)
    return found[0].data.metrics["test/accuracy"] if found else None


def _row(client: MlflowClient, experiment: str, name: str) -> str:
    runs = [run for seed in SEEDS for run in _runs(client, experiment, name, seed)]
    reported = " and ".join(f"{value:.2f}%" for value in REPORTED[name])
    if not runs:
        return f"| `{name}` | {reported} | not run | | | |"
    metrics = runs[0].data.metrics
    accuracies = [run.data.metrics["test/accuracy"] for run in runs]
    seconds = metrics["seconds/total"] / metrics["epoch"]
    return (
        f"| `{name}` | {reported} | {100 * statistics.mean(accuracies):.2f}% | {len(runs)} | "
        f"{metrics['parameters/trainable']:,.0f} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    cli.run(main)
