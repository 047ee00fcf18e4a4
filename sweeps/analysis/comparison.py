"""Chosen runs side by side: what they were set to, what they reached, and whether they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment.data.datasets import DataConfig
from sentiment.errors import InputError
from sentiment.tracking.model_uri import model_of_run
from sentiment.tracking.runs import hyperparameters
from sweeps.analysis.predictions import Predictions, dataset_of, predict_split
from sweeps.analysis.significance import Paired, holm
from sweeps.analysis.sweep_data import differing
from sweeps.tracking.queries import intermediate_values

CURVE = "valid/accuracy"
"""The metric whose course is drawn."""


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs.

    Attributes:
        run_id: its id.
        label: what it is called here; no two are called the same.
        settings: hyperparameters as values, and the data.
        metrics: the last value of each.
        curve: values of `CURVE` by training examples seen.
        predictions: what its model says of the split; None if that can't be had.
    """

    run_id: str
    label: str
    settings: dict[str, Any]
    metrics: dict[str, float]
    curve: dict[int, float]
    predictions: Predictions | None


@dataclass(frozen=True)
class Pair:
    """Two of the runs on the same texts.

    Attributes:
        first: label of the one.
        second: label of the other.
        counts: who is right where.
        p_value: of McNemar's exact test.
        adjusted: the same, adjusted by Holm's method for the number of pairs.
    """

    first: str
    second: str
    counts: Paired
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class Comparison:
    """Several runs.

    Attributes:
        split: the split of the paired tests.
        runs: in the order in which they were named.
        pairs: all pairs of those with predictions.
        notes: why there are fewer pairs than one may expect.
    """

    split: str
    runs: list[ComparedRun]
    pairs: list[Pair]
    notes: list[str]

    @property
    def differing(self) -> list[str]:
        """Names of the settings that are not the same in all runs."""
        settings = [run.settings for run in self.runs]
        return differing(settings, list(dict.fromkeys(name for each in settings for name in each)))

    @property
    def common(self) -> dict[str, Any]:
        """The settings that are the same in all runs."""
        apart = set(self.differing)
        return {n: value for n, value in self.runs[0].settings.items() if n not in apart}

    @property
    def metric_names(self) -> list[str]:
        """The metrics that are recorded once of a run, in an order to read them."""
        found = {name for run in self.runs for name in run.metrics}
        prefixes = ("best/", "test/", "parameters/", "seconds/")
        return [n for prefix in prefixes for n in sorted(found) if n.startswith(prefix)]

    def plain(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "split": self.split,
            "runs": [
                {"run_id": r.run_id, "run": r.label, "settings": r.settings, "metrics": r.metrics}
                | ({"scored": r.predictions.scores().metrics(self.split)} if r.predictions else {})
                for r in self.runs
            ],
            "pairs": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    **asdict(pair.counts),
                    "difference": pair.counts.difference,
                    "interval_95": list(pair.counts.interval()),
                    "p_value": pair.p_value,
                    "p_value_adjusted": pair.adjusted,
                }
                for pair in self.pairs
            ],
            "notes": self.notes,
        }


def compare_runs(
    client: MlflowClient,
    runs: Sequence[Run],
    split: str = "valid",
    data: DataConfig | None = None,
) -> Comparison:
    """Read some runs, let their models predict a split, and test each pair.

    Args:
        client: client of the store.
        runs: trials, baselines or single trainings.
        split: which split they predict.
        data: where the data is now; None if it has not moved.
    """
    predictions: dict[str, Predictions] = {}
    notes: list[str] = []
    fingerprints = {run.data.params.get("dataset_fingerprint") for run in runs}
    if len(fingerprints) > 1:
        notes.append("The runs saw different data, so there are no texts to test them on in pairs.")
    else:
        predictions, notes = _predictions(client, runs, split, data)
    labels = _labels(runs)
    compared = [
        ComparedRun(
            run_id=run.info.run_id,
            label=label,
            settings={
                **hyperparameters(run.data.params),
                **{n: run.data.params[n] for n in ("dataset",) if n in run.data.params},
            },
            metrics=dict(run.data.metrics),
            curve=intermediate_values(client, run.info.run_id, CURVE),
            predictions=predictions.get(run.info.run_id),
        )
        for run, label in zip(runs, labels, strict=True)
    ]
    return Comparison(split, compared, paired_tests(compared), notes)


def paired_tests(runs: Sequence[ComparedRun]) -> list[Pair]:
    """Return McNemar's test of each pair of the runs that have predictions."""
    able = [(run.label, run.predictions.hits) for run in runs if run.predictions is not None]
    tables = [
        (first, second, Paired.of(hits, others))
        for (first, hits), (second, others) in combinations(able, 2)
    ]
    p_values = [counts.p_value() for _, _, counts in tables]
    return [
        Pair(first, second, counts, p_value, adjusted)
        for (first, second, counts), p_value, adjusted in zip(
            tables, p_values, holm(p_values), strict=True
        )
    ]


def _predictions(
    client: MlflowClient, runs: Sequence[Run], split: str, data: DataConfig | None
) -> tuple[dict[str, Predictions], list[str]]:
    found: dict[str, Predictions] = {}
    notes = []
    try:
        dataset = dataset_of(client, runs[0], data)
    except InputError as error:
        return {}, [f"No predictions: {error}"]
    for run in runs:
        try:
            found[run.info.run_id] = predict_split(client, model_of_run(run), dataset, split)
        except InputError as error:
            notes.append(f"{run.info.run_name}: no predictions: {error}")
    return found, notes


def _labels(runs: Sequence[Run]) -> list[str]:
    """Return the runs' names, with a part of the id where two are called the same."""
    names = [str(run.info.run_name) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({run.info.run_id[:6]})"
        for name, run in zip(names, runs, strict=True)
    ]
