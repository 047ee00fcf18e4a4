"""Models registered as the winners of sweeps that never ran, for the tests of the registry."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mlflow import MlflowClient

from sentiment.config import Objective
from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.inference.bundle import Bundle
from sentiment.inference.metrics import score
from sentiment.tracking.logged_model import log_bundle
from sentiment.tracking.model_uri import version_of_alias
from sentiment.tracking.runs import create_run
from sweeps import promote as command
from sweeps.registry.challenger import RegisteredWinner, register_winner
from sweeps.registry.isolated_scoring import IsolatedPredictions

Store = tuple[MlflowClient, str]
Reviews = tuple[Path, Dataset]


def make_reviews(folder: Path) -> Reviews:
    """Write a file of 400 short reviews that differ; return it, and the data set that it makes."""
    path = folder / "reviews.csv"
    words = ["great", "bad", "film", "this", "is"]
    random = np.random.default_rng(0)
    texts = sorted({" ".join(random.choice(words, 6)) for _ in range(420)})[:400]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for text in texts:
            good = text.split().count("great") >= text.split().count("bad")
            writer.writerow([text, int(good)])
    return path, load_dataset(DataConfig(data=str(path)))


def fewer_reviews(reviews: Reviews, folder: Path, left_out: int = 40) -> Reviews:
    """Write the same file without its last lines, which makes it another data set."""
    other = folder / "other.csv"
    other.write_text("\n".join(reviews[0].read_text().splitlines()[:-left_out]))
    return other, load_dataset(DataConfig(data=str(other)))


def accuracy_of(bundle: Path, dataset: Dataset) -> float:
    """Return a bundle's accuracy on the test split."""
    split = dataset.splits["test"]
    return score(Bundle.load(bundle).log_probabilities(split.texts), split.labels).accuracy


def better_and_worse_of(make_bundle: Callable[[int], Path], dataset: Dataset) -> tuple[Path, Path]:
    """Return two tiny models of which the first is clearly the better one."""
    ranked = sorted(map(make_bundle, range(8)), key=lambda one: accuracy_of(one, dataset))
    assert accuracy_of(ranked[-1], dataset) - accuracy_of(ranked[0], dataset) > 0.2
    return ranked[-1], ranked[0]


def answers_here(model: Path, texts: Sequence[str]) -> IsolatedPredictions:
    """Return what a model predicts, loaded in this process rather than in isolation."""
    bundle = Bundle.load(model / "artifacts/bundle")
    return IsolatedPredictions(bundle.label_names, bundle.log_probabilities(list(texts)))


def train(
    store: Store, bundle: Path, dataset: Dataset, valid: float | None = None
) -> tuple[str, str]:
    """Log a model as a run would that trained it; return the run's id and the model's."""
    client, experiment_id = store
    parameters = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint}
    run_id = create_run(client, experiment_id, "x", tags={}, parameters=parameters)
    metrics = {} if valid is None else {"best/valid/accuracy": valid, "best/valid/loss": 1 - valid}
    return run_id, log_bundle(client, run_id, bundle, name="x", metrics=metrics, step=1)


def win(
    store: Store,
    bundle: Path,
    reviews: Reviews,
    sweep: str,
    error: float = 0.0,
    *,
    valid: float = 0.75,
    objective: Objective = "valid/accuracy",
    as_challenger: bool = False,
) -> RegisteredWinner:
    """Register a model as the winner of a sweep.

    Args:
        store: client and experiment.
        bundle: the model.
        reviews: its data.
        sweep: the sweep.
        error: what its recorded test accuracy is off by.
        valid: its accuracy on validation; its loss there is what is missing to 1.
        objective: the sweep's.
        as_challenger: make it the challenger in any case.
    """
    path, dataset = reviews
    run_id, model_id = train(store, bundle, dataset, valid)
    return register_winner(
        store[0],
        "sentiment",
        model_id=model_id,
        run_id=run_id,
        sweep=sweep,
        data=DataConfig(data=str(path)),
        dataset=dataset,
        objective=objective,
        validation={"best/valid/accuracy": valid, "best/valid/loss": 1 - valid},
        test={"test/accuracy": accuracy_of(bundle, dataset) + error},
        description=f"winner of {sweep}",
        as_challenger=as_challenger,
    )


def alias(store: Store, name: str) -> int | None:
    """Return the number of the version that bears an alias."""
    version = version_of_alias(store[0], "sentiment", name)
    return int(version.version) if version else None


def promote(store: Store, reviews: Reviews, *arguments: str) -> int:
    """Run `sweeps.promote` on a store, with the data named."""
    uri = store[0].tracking_uri
    return command.main(["--tracking-uri", uri, "--data", str(reviews[0]), *arguments])
