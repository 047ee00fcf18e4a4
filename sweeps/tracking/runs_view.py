"""A sweep's view of MLflow's runs page: its trials alone, the best first, with their metrics.

MLflow shows trials under their sweep only while runs are sorted by their time; sorted by a metric,
all runs of an experiment stand in one list. Its page takes filter, order and columns from a
"shared view": a tag of the experiment, which an address names by its key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from mlflow import MlflowClient

from sentiment.config import Objective
from sentiment.objective import is_minimized

RUNS = "workflowType=machine_learning"
"""What makes MLflow's pages show training runs."""
LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where `python -m sweeps.ui` serves MLflow's pages by default."""

_TAG = "mlflow.sharedViewState."
_METRICS = ("valid/accuracy", "valid/f1", "valid/loss")
_COSTS = ("parameters/total", "seconds/total")
_LONGEST_TAG = 5000


def keep_trials_view(
    client: MlflowClient,
    experiment_id: str,
    sweep: str,
    objective: Objective,
    searched: Sequence[str],
    costs: Sequence[str] = (),
) -> None:
    """Keep the view of a sweep's trials with its experiment.

    Args:
        client: client of the store.
        experiment_id: the experiment of the sweep.
        sweep: the sweep's name.
        objective: what the trials are sorted by.
        searched: hyperparameters that the sweep searches, a column each.
        costs: further metrics, a column each.
    """
    view = _view(sweep, objective, searched, costs)
    client.set_experiment_tag(experiment_id, _tag(sweep), view)


def has_trials_view(client: MlflowClient, experiment_id: str, sweep: str) -> bool:
    """Tell whether the view of a sweep's trials was kept."""
    return _tag(sweep) in client.get_experiment(experiment_id).tags


def runs_page(experiment_id: str) -> str:
    """Return the address of an experiment's runs, relative to MLflow's pages."""
    return f"#/experiments/{experiment_id}/runs?{RUNS}"


def trials_page(experiment_id: str, sweep: str) -> str:
    """Return the address of a sweep's trials, the best first, relative to MLflow's pages."""
    return f"{runs_page(experiment_id)}&viewStateShareKey={quote(_key(sweep))}"


def _view(sweep: str, objective: Objective, searched: Sequence[str], costs: Sequence[str]) -> str:
    metrics = [objective, *(name for name in _METRICS if name != objective)]
    best = [f"metrics.`best/{name}`" for name in metrics]
    columns = [
        "attributes.`Created`",
        "tags.`sweep.outcome`",
        *best,
        *(f"metrics.`{name}`" for name in dict.fromkeys((*_COSTS, *costs))),
        *(f"params.`{name}`" for name in searched),
    ]
    state = {
        "searchFilter": f"tags.sweep.name = '{sweep}' and tags.sweep.role != 'sweep'",
        "orderByKey": best[0],
        "orderByAsc": is_minimized(objective),
        # By default its charts draw the first ten runs.
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": columns,
    }
    while len(text := json.dumps(state)) > _LONGEST_TAG:
        columns.pop()
    return text


def _tag(sweep: str) -> str:
    return f"{_TAG}{_key(sweep)}"


def _key(sweep: str) -> str:
    return f"sweep-{sweep}"
