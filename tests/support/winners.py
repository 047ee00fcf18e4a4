"""Models registered as the winners of sweeps that never ran, for the tests of the registry."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from sweeps.registry.versions import Candidate, find_candidate

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


@dataclass(frozen=True)
class Registry:
    """The registered model `sentiment` in a store of the test's own, and models to register.

    Attributes:
        client: client of the store.
        experiment_id: the experiment of the runs that train the models.
        reviews: the data that models are registered with by default.
        better: a tiny model that is accurate on its test split.
        worse: one that is clearly less accurate.
        make_bundle: saves a tiny model with weights drawn from a seed.
    """

    client: MlflowClient
    experiment_id: str
    reviews: Reviews
    better: Path
    worse: Path
    make_bundle: Callable[[int], Path]

    @property
    def uri(self) -> list[str]:
        """The flags of a command that name the store."""
        return ["--tracking-uri", self.client.tracking_uri]

    def accuracy_of(self, bundle: Path) -> float:
        """Return a bundle's accuracy on the test split of `reviews`."""
        return accuracy_of(bundle, self.reviews[1])

    def train(
        self, bundle: Path, valid: float | None = None, dataset: Dataset | None = None
    ) -> tuple[str, str]:
        """Log a model as a training run does; return the run's id and the model's."""
        dataset = dataset or self.reviews[1]
        parameters = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint}
        run_id = create_run(self.client, self.experiment_id, "x", tags={}, parameters=parameters)
        metrics = {} if valid is None else _validation(valid)
        return run_id, log_bundle(self.client, run_id, bundle, name="x", metrics=metrics, step=1)

    def win(
        self,
        bundle: Path,
        sweep: str,
        error: float = 0.0,
        *,
        reviews: Reviews | None = None,
        valid: float = 0.75,
        objective: Objective = "valid/accuracy",
        as_challenger: bool = False,
    ) -> RegisteredWinner:
        """Register a model as the winner of a sweep.

        Args:
            bundle: the model.
            sweep: the sweep.
            error: what its recorded test accuracy is off by.
            reviews: its data, if it is not that of the registry.
            valid: its accuracy on validation; its loss there is what is missing to 1.
            objective: the sweep's.
            as_challenger: make it the challenger in any case.
        """
        path, dataset = reviews or self.reviews
        run_id, model_id = self.train(bundle, valid, dataset)
        return register_winner(
            self.client,
            "sentiment",
            model_id=model_id,
            run_id=run_id,
            sweep=sweep,
            data=DataConfig(data=str(path)),
            dataset=dataset,
            objective=objective,
            validation=_validation(valid),
            test={"test/accuracy": accuracy_of(bundle, dataset) + error},
            description=f"winner of {sweep}",
            as_challenger=as_challenger,
        )

    def alias(self, name: str) -> int | None:
        """Return the number of the version that bears an alias."""
        version = version_of_alias(self.client, "sentiment", name)
        return int(version.version) if version else None

    def find(self, version: int | None = None) -> tuple[Candidate, Path, Path]:
        """Return a version, else the challenger, and the folders of its model and run."""
        candidate = find_candidate(self.client, "sentiment", version=version)
        model = self.client.get_logged_model(candidate.model_id)
        run = self.client.get_run(candidate.run_id)
        return candidate, Path(model.artifact_location), Path(run.info.artifact_uri)

    def promote(self, *arguments: str) -> int:
        """Run `sweeps.promote` on the store with `reviews` named; return its exit status."""
        return command.main([*self.uri, "--data", str(self.reviews[0]), *arguments])


def _validation(accuracy: float) -> dict[str, float]:
    return {"best/valid/accuracy": accuracy, "best/valid/loss": 1 - accuracy}
