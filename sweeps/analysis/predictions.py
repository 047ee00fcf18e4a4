"""Predictions of a logged model on a split, text by text.

Shapes: n texts, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from sentiment.data.datasets import DATASETS, DataConfig, Dataset, load_dataset
from sentiment.data.identity import mismatch
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.ensemble import Ensemble, TextModel, load_model
from sentiment.inference.evaluation import split_log_probabilities, split_parts
from sentiment.inference.metrics import Scores, score
from sentiment.inference.prediction import TokenWeight
from sentiment.io.processes import available_cores
from sentiment.nn.devices import configure_threads
from sentiment.tracking.model_uri import fetch_bundle
from sweeps.analysis.error_weights import error_weights
from sweeps.config import SweepSettings
from sweeps.tracking.queries import TrialRecord, artifact_text
from sweeps.workspace import SETTINGS_FILE

HEAVIEST = 15
"""N-grams of each class whose weights a report shows."""
MISTAKES = 10
"""Texts that a report shows of what a model got wrong."""
SMALL_HIDDEN = 256
"""Up to this hidden size a second thread waits more than it works where others compute too."""


@dataclass(frozen=True)
class Predictions:
    """A model's predictions of a split, in float32.

    Attributes:
        split: the split's name.
        texts: n texts.
        labels: (n,) what they are, by index.
        log_probabilities: (n, C).
        label_names: C names.
        parts: of a model with an n-gram branch the log probabilities (n, C) of each of its parts.
        ngrams: of such a model the n-grams with the largest weights for each class.
        weights: of some texts, by index, the weights of their words for the likeliest class.
    """

    split: str
    texts: list[str]
    labels: np.ndarray
    log_probabilities: np.ndarray
    label_names: tuple[str, ...]
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    ngrams: Mapping[str, list[tuple[str, float]]] = field(default_factory=dict)
    weights: Mapping[int, tuple[TokenWeight, ...]] = field(default_factory=dict)

    @property
    def predicted(self) -> np.ndarray:
        """(n,) the likeliest class of each text."""
        return self.log_probabilities.argmax(axis=1)

    @property
    def hits(self) -> np.ndarray:
        """(n,) booleans: is the likeliest class the label?"""
        return self.predicted == self.labels

    @property
    def confidence(self) -> np.ndarray:
        """(n,) the probability of the likeliest class."""
        return np.exp(self.log_probabilities.max(axis=1).astype(np.float64))

    def scores(self) -> Scores:
        """Return the metrics of these predictions."""
        return score(self.log_probabilities, self.labels)


@dataclass(frozen=True)
class Mistake:
    """A text that a model got wrong.

    Attributes:
        text: the text.
        label: what it is.
        predicted: what the model took it for.
        probability: what the model gave that.
        right: parts of the model that got it right by themselves; None of a model in one part.
        weights: of its words for what the model took it for; empty where they were not computed.
    """

    text: str
    label: str
    predicted: str
    probability: float
    right: tuple[str, ...] | None = None
    weights: tuple[TokenWeight, ...] = ()


def predict_split(
    client: MlflowClient, model_id: str, dataset: Dataset, split: str, explained: int = 0
) -> Predictions:
    """Let a logged model predict a split from the raw texts, in float32.

    Args:
        client: client of the store.
        model_id: the model.
        dataset: the data set.
        split: the split's name.
        explained: as in `bundle_predictions`.

    Raises:
        InputError: the model can't be had, or the data has other labels.
    """
    return bundle_predictions(logged_model(client, model_id), dataset, split, explained)


def logged_model(client: MlflowClient, model_id: str | None) -> TextModel:
    """Return a logged model; None is that of a run that has none.

    Raises:
        InputError: it can't be had, or is damaged.
    """
    if model_id is None:
        raise InputError("the model was removed: --keep-models keeps more")
    try:
        return load_model(fetch_bundle(client, model_id))
    except MlflowException as error:
        reason = str(error.message).splitlines()[0]
        raise InputError(f"the model {model_id} can't be had: {reason}") from error


def judged_model(
    client: MlflowClient, chosen: TrialRecord, winner: TrialRecord, runs: Sequence[TrialRecord]
) -> TextModel:
    """Return the model that validation judged, before a refit saw its texts.

    Args:
        client: client of the store.
        chosen: the best run.
        winner: the registered one: the same, its refit, or an ensemble.
        runs: all of the sweep.

    Raises:
        InputError: it, or one of an ensemble's members, was removed or can't be had.
    """
    if not winner.members:
        return logged_model(client, chosen.model_id or winner.model_id)
    ids = {run.key: run.model_id for run in runs}
    members = [logged_model(client, ids.get(member.key)) for member in winner.members]
    bundles = tuple(each for each in members if isinstance(each, Bundle))
    return Ensemble(bundles, tuple(member.weight for member in winner.members))


def bundle_predictions(
    bundle: TextModel, dataset: Dataset, split: str, explained: int = 0
) -> Predictions:
    """Let a saved model predict a split from the raw texts, in float32.

    Args:
        bundle: the model.
        dataset: the data set.
        split: the split's name.
        explained: most confident errors to weigh the words of, fewer if it takes too long
            (`error_weights`).

    Raises:
        InputError: the data has other labels.
    """
    small = bundle.config.model.hidden_dim <= SMALL_HIDDEN
    configure_threads(1 if small else available_cores())
    texts = dataset.splits[split]
    parts = split_parts(bundle, dataset, split)
    predictions = Predictions(
        split=split,
        texts=texts.texts,
        labels=texts.labels,
        log_probabilities=(
            parts.pop("blend") if parts else split_log_probabilities(bundle, dataset, split)
        ),
        label_names=dataset.label_names,
        parts=parts,
        ngrams=bundle.heaviest_ngrams(HEAVIEST),
    )
    errors = _confident_errors(predictions, explained)
    found = error_weights(bundle, [predictions.texts[index] for index in errors])
    return replace(predictions, weights=dict(zip(errors, found, strict=False)))


def parts_that_erred(predictions: Predictions) -> dict[str, int]:
    """Return how many of the mistakes each part of the model made by itself, and how many both."""
    wrong = ~predictions.hits
    erred = {
        name: each.argmax(axis=1) != predictions.labels for name, each in predictions.parts.items()
    }
    if not erred:
        return {}
    all_erred = np.logical_and.reduce(list(erred.values()))
    alone = {name: int((wrong & each & ~all_erred).sum()) for name, each in erred.items()}
    return {"both": int((wrong & all_erred).sum()), **alone}


def most_confident_errors(predictions: Predictions, count: int) -> list[Mistake]:
    """Return the misclassified texts by falling confidence."""
    names = predictions.label_names
    return [
        Mistake(
            text=predictions.texts[index],
            label=names[predictions.labels[index]],
            predicted=names[predictions.predicted[index]],
            probability=float(predictions.confidence[index]),
            right=_right(predictions, index),
            weights=predictions.weights.get(index, ()),
        )
        for index in _confident_errors(predictions, count)
    ]


def _confident_errors(predictions: Predictions, count: int) -> list[int]:
    """Return the indexes of the misclassified texts by falling confidence."""
    wrong = np.flatnonzero(~predictions.hits)
    order = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    indexes: list[int] = order[:count].tolist()
    return indexes


def _right(predictions: Predictions, index: int) -> tuple[str, ...] | None:
    if not predictions.parts:
        return None
    label = predictions.labels[index]
    return tuple(n for n, each in predictions.parts.items() if each[index].argmax() == label)


def dataset_of(client: MlflowClient, run: Run, given: DataConfig | None = None) -> Dataset:
    """Load the data set that a run saw, from where it was then or from where it is now.

    Args:
        client: client of the store.
        run: a sweep's run, a trial's, or that of a single training.
        given: where it is now; None if it has not moved.

    Raises:
        InputError: it can't be had, or is other data than the run saw.
    """
    name, seen = (run.data.params.get(key) for key in ("dataset", "dataset_fingerprint"))
    if name is None or seen is None:
        raise InputError(f"the run {run.info.run_id} does not say which data it saw")
    parent = run.data.tags.get("mlflow.parentRunId")
    if given is None and ("sweep.name" in run.data.tags):
        settings = artifact_text(client, parent or run.info.run_id, SETTINGS_FILE)
        given = SweepSettings.from_json(settings).data
    elif given is None and name in DATASETS:
        given = DataConfig(dataset=name)
    elif given is None:
        raise InputError(
            f"the run {run.info.run_id} was trained on a file of your own, {name}: give it again "
            "by --data, with the same options"
        )
    dataset = load_dataset(given)
    different = mismatch(dataset, seen, f"the run {run.info.run_id}")
    if different is not None:
        raise InputError(different)
    return dataset
