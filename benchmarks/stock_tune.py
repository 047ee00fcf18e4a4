"""What the sweeps by stock means share: Optuna's search over a plan's settings, and a clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from ray import tune
from ray.tune.search.optuna import OptunaSearch

SEARCHED = (
    "cell",
    "layers",
    "bidirectional",
    "hidden_dim",
    "dropout",
    "optimizer",
    "learning_rate",
)


def shared_settings(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings that all configurations of a plan have in common."""
    return {name: value for name, value in configs[0].items() if name not in SEARCHED}


def optuna_search(configs: Sequence[dict[str, Any]]) -> OptunaSearch:
    """Return Ray's stock search, which suggests the given configurations in their order."""
    return OptunaSearch(
        {
            "cell": CategoricalDistribution(["rnn", "gru", "lstm"]),
            "layers": IntDistribution(1, 2),
            "bidirectional": CategoricalDistribution([False, True]),
            "hidden_dim": CategoricalDistribution(sorted({each["hidden_dim"] for each in configs})),
            "dropout": FloatDistribution(0.0, 0.6),
            "optimizer": CategoricalDistribution(["sgd", "adam", "rmsprop"]),
            "learning_rate": FloatDistribution(1e-4, 1.0, log=True),
        },
        metric="valid_accuracy",
        mode="max",
        points_to_evaluate=[{name: each[name] for name in SEARCHED} for each in configs],
    )


class Clock(tune.Callback):
    """Keeps when trials started and ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_trial_start(self, *args: Any, **info: Any) -> None:
        self.times.append(time.time())

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        self.times.append(time.time())


def outcome(
    results: tune.ResultGrid, clock: Clock, configs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return what `benchmarks.sweep` reads of a sweep.

    Raises:
        RuntimeError: a trial failed.
    """
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} trials failed: {results.errors[0]}")
    trials = [results[number].metrics or {} for number in range(len(configs))]
    shared = shared_settings(configs)
    return {
        "first": min(clock.times),
        "last": max(clock.times),
        "accuracies": [trial["valid_accuracy"] for trial in trials],
        "reviews": [trial["train_reviews"] for trial in trials],
        "seconds": [trial["time_total_s"] for trial in trials],
        "trained": [{**trial["config"], **shared} for trial in trials],
    }
