from __future__ import annotations

import json

from mlflow import MlflowClient

from sweeps.config import SweepSettings
from sweeps.console.summary import _browse
from sweeps.tracking.runs_view import has_trials_view, keep_trials_view, trials_page

Store = tuple[MlflowClient, str]


def view_of(store: Store, sweep: str) -> dict[str, object]:
    client, experiment = store
    tags = client.get_experiment(experiment).tags
    view: dict[str, object] = json.loads(tags[f"mlflow.sharedViewState.sweep-{sweep}"])
    return view


def test_a_view_of_the_trials_is_kept_with_the_experiment(store: Store) -> None:
    client, experiment = store
    assert not has_trials_view(client, experiment, "first")
    keep_trials_view(client, experiment, "first", "valid/accuracy", ["cell", "hidden_dim"])
    keep_trials_view(client, experiment, "second", "valid/loss", [])
    assert has_trials_view(client, experiment, "first")
    view = view_of(store, "first")
    assert view["searchFilter"] == "tags.sweep.name = 'first' and tags.sweep.role != 'sweep'"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best/valid/accuracy`", False)
    columns = view["selectedColumns"]
    assert isinstance(columns, list)
    assert columns[2] == "metrics.`best/valid/accuracy`"
    assert columns[-2:] == ["params.`cell`", "params.`hidden_dim`"]
    view = view_of(store, "second")
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best/valid/loss`", True)


def test_its_filter_is_one_that_mlflow_takes(store: Store) -> None:
    client, experiment = store
    for role in ("sweep", "trial", "baseline"):
        client.create_run(experiment, tags={"sweep.role": role, "sweep.name": "a.b-1"})
    client.create_run(experiment, tags={"sweep.role": "trial", "sweep.name": "other"})
    keep_trials_view(client, experiment, "a.b-1", "valid/accuracy", [])
    found = client.search_runs([experiment], str(view_of(store, "a.b-1")["searchFilter"]))
    assert {run.data.tags["sweep.role"] for run in found} == {"trial", "baseline"}


def test_a_view_of_many_settings_fits_into_its_tag(store: Store) -> None:
    client, experiment = store
    keep_trials_view(client, experiment, "wide", "valid/accuracy", [f"x{'y' * 90}"] * 100)
    assert len(str(view_of(store, "wide")["selectedColumns"])) < 5000


def test_address_of_the_view() -> None:
    assert trials_page("7", "first") == (
        "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=sweep-first"
    )


def test_where_the_pages_are() -> None:
    settings = SweepSettings(trials=1)
    assert _browse(settings, "sqlite:////x/mlflow.db") == "python -m sweeps.ui"
    assert _browse(settings, "http://me:secret@host:5000/ml/") == "http://host:5000/ml"
    other = SweepSettings(trials=1, tracking_uri="sqlite:///x.db", experiment="mine")
    command = "python -m sweeps.ui --tracking-uri sqlite:///x.db --experiment mine"
    assert _browse(other, "sqlite:////x.db") == command
