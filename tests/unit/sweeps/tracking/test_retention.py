from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sentiment.config import Config
from sentiment.errors import InputError
from sentiment.tracking.model_uri import resolve_model
from sentiment.tracking.runs import run_parameters
from sweeps.objectives import LATENCY, METRICS, Objectives
from sweeps.registry import versions
from sweeps.tracking.members import PARAMETER, Member, members_text
from sweeps.tracking.queries import find_sweep, trials_of
from sweeps.tracking.retention import Removed, keep_best_models, remove_model
from sweeps.tracking.tracker import SweepTracker

Store = tuple[MlflowClient, str]
BESTS = (0.5, 0.9, 0.7, 0.8, 0.6)


@pytest.fixture
def tracker(store: Store, make_bundle: Callable[[int], Path]) -> SweepTracker:
    """A sweep of five trials, the first of them failed, and a baseline; each has a model."""
    client, experiment = store
    tracker = SweepTracker.start(
        client,
        experiment,
        "kept",
        objective="valid/accuracy",
        parameters={"dataset": "toy", "dataset_fingerprint": "f00"},
        precision="float32",
        space_yaml="cell: lstm\n",
    )
    parameters = run_parameters(Config(), "toy", "f00")
    for number, best in enumerate(BESTS):
        tracker.start_trial(number, parameters, "lstm")
        tracker.trial(number).log_model(make_bundle(number), {"best/valid/accuracy": best}, 640)
        tracker.trial(number).end("failed" if number == 0 else "completed")
    tracker.start_trial("small", parameters, "small", role="baseline")
    tracker.trial("small").log_model(make_bundle(9), {"best/valid/accuracy": 0.4}, 640)
    tracker.trial("small").end("completed")
    tracker.end("finished")
    return tracker


def keep(store: Store, count: int) -> Removed:
    return keep_best_models(store[0], find_sweep(store[0], [store[1]]), count, "valid/accuracy")


def test_models_within_the_limits_come_first(store: Store, tracker: SweepTracker) -> None:
    sweep = find_sweep(store[0], [store[1]])
    for trial in trials_of(store[0], sweep):
        if trial.role == "trial":
            store[0].log_metric(trial.run_id, METRICS[LATENCY], 10.0 - float(str(trial.key)))
    limits = Objectives.parse(["valid/accuracy", LATENCY], ["latency=6ms"]).limits
    removed = keep_best_models(store[0], sweep, 1, "valid/accuracy", limits)
    assert removed.kept == 1
    assert left(store) == {"trial-004", "small"}


def left(store: Store) -> set[str]:
    """Return the names of the models that the store has; all of them have their files."""
    models = store[0].search_logged_models([store[1]])
    assert all(Path(model.artifact_location, "MLmodel").is_file() for model in models)
    return {model.name for model in models}


def test_models_of_the_best_and_of_baselines_stay(
    store: Store, tracker: SweepTracker, tmp_path: Path
) -> None:
    def size() -> int:
        files = (tmp_path / "mlruns").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    before = size()
    removed = keep(store, 2)
    assert (removed.models, removed.kept) == (3, 2)
    assert removed.size == before - size() > 0
    assert left(store) == {"trial-001", "trial-003", "small"}
    assert len(list((tmp_path / "mlruns").glob("**/m-*"))) == 3
    trials = trials_of(store[0], find_sweep(store[0], [store[1]]))
    gone = [trial.key for trial in trials if trial.model_id is None]
    assert gone == [0, 2, 4]
    assert "removed the models of 3 trials" in str(removed)
    # A cut-off removal, or a sweep that goes on, does it again.
    assert keep(store, 2) == Removed(0, 0, 2)
    assert keep(store, 1).models == 1
    assert left(store) == {"trial-001", "small"}


def test_what_is_registered_stays(store: Store, tracker: SweepTracker) -> None:
    model_id = tracker.model_of(4)
    assert model_id is not None
    versions.register(
        store[0],
        "elsewhere",
        model_id=model_id,
        run_id=tracker.run_of(4),
        tags={},
        description="",
    )
    removed = keep(store, 0)
    assert (removed.models, removed.kept) == (3, 2)
    assert left(store) == {"trial-001", "trial-004", "small"}


def test_members_of_an_ensemble_stay(store: Store, tracker: SweepTracker) -> None:
    sweep = find_sweep(store[0], [store[1]])
    again = SweepTracker.resume(store[0], sweep)
    members = [Member(1, "1", 0.5, 0.3, 0.9), Member(2, "2", 0.5, 0.4, 0.7)]
    run = again.start_trial(
        "ensemble-aa-001", {PARAMETER: members_text(members)}, "", role="ensemble"
    )
    run.end("completed")
    again.end("finished")
    assert keep(store, 1).kept == 2
    assert left(store) == {"trial-001", "trial-002", "small"}


def test_a_model_that_is_gone_takes_no_room(store: Store, tracker: SweepTracker) -> None:
    model_id = tracker.model_of(2)
    assert model_id is not None
    assert remove_model(store[0], model_id) > 0
    assert remove_model(store[0], model_id) == 0


def test_a_removed_model_is_told(store: Store, tracker: SweepTracker) -> None:
    keep(store, 1)
    with pytest.raises(InputError, match="its model was removed"):
        resolve_model(tracker.run_of(3), store[0].tracking_uri)
