"""A search over the toy space, and a stand-in for Ray that runs it."""

from __future__ import annotations

import math
from typing import Any

import optuna
from ray.tune.search import Searcher
from toy_space import TOY

from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.study import make_study
from sweeps.space.space import SearchSpace

METRIC = "valid/accuracy"
BUDGET = 400


def quality(config: dict[str, Any]) -> float:
    """Best, at 1, for a gru with adam, no dropout and a learning rate of 1e-3."""
    wrong = (config["cell"] != "gru") + (config["optimizer"] != "adam") + config["dropout"]
    return 1 - 0.1 * wrong - 0.1 * abs(math.log10(config["learning_rate"]) + 3)


def search_over(
    study: optuna.Study, trials: int, space: SearchSpace = TOY, **more: Any
) -> OptunaSearcher:
    return OptunaSearcher(
        study, space, metric=METRIC, max_trials=trials, budget=BUDGET, seed=7, **more
    )


def evaluation(value: float, examples: int, **more: Any) -> dict[str, Any]:
    return {METRIC: value, "examples": examples, **more}


def run_alone(search: OptunaSearcher, prune: bool = True) -> list[dict[str, Any]]:
    """Stand in for Ray: one trial after the other, every third one stopped at its first rung."""
    configs: list[dict[str, Any]] = []
    while (config := search.suggest(f"ray-{len(configs)}")) != Searcher.FINISHED:
        trial_id, value = f"ray-{len(configs)}", quality(config)
        if prune and len(configs) % 3 == 2:
            search.on_trial_complete(trial_id, evaluation(value - 0.1, 100))
        else:
            search.on_trial_result(trial_id, evaluation(value - 0.1, 100))
            search.on_trial_complete(trial_id, evaluation(value, BUDGET, finished=True))
        configs.append(config)
    return configs


def study_in(storage: str | None, space: SearchSpace = TOY, **more: Any) -> optuna.Study:
    return make_study(storage, "toy", METRIC, space, **more)
