"""Trials that fail in every way, through real Ray workers, and what the stores have of them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow.artifacts
import pytest
import ray.cloudpickle
from optuna.trial import TrialState

from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.errors import TrainingError
from sentiment.nn.rnn_choice import recurrence
from sentiment.tracking.store import open_store
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer
from sweeps.console.live_view import Silent
from sweeps.console.progress import Progress
from sweeps.execution import tuner
from sweeps.execution.callbacks import TrackingCallback
from sweeps.execution.local_ray import local_ray
from sweeps.execution.resources import Workers
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.rungs import plan_rungs
from sweeps.search.schedulers import make_scheduler
from sweeps.search.study import make_study
from sweeps.space.space import SearchSpace
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import TrialWorker
from sweeps.trials.watchdog import Watchdog

SETTINGS = {
    "cell": "rnn",
    "embedding": "random",
    "embedding_dim": 4,
    "hidden_dim": 4,
    "dropout": 0.2,
    "learning_rate": {"float": [1e-3, 1e-2]},
}
BASE = {"epochs": 0.2, "evaluations_per_epoch": 20, "precision": "float32"}
EVALUATIONS = 4
RAISES, KILLED, HANGS, OUT_OF_MEMORY, NOT_FINITE, CLEAN = range(6)


class Impatient(Watchdog):
    """Gives up the worker that hangs as soon as it does: a clock would take slow ones for it."""

    def __init__(self, marks):
        super().__init__(25)
        self._mark = marks / f"{HANGS}-0"
        self._given_up = False

    def hung(self):
        if self._given_up or not self._mark.exists():
            return []
        self._given_up = True
        return [trial for trial in self._heard if trial.config["trial"] == HANGS]


class Sabotaged(TrialWorker):
    """Fails in the manner of its trial's number, before the third evaluation, if not done yet."""

    def _evaluate(self):
        number = self._settings["trial"]
        marks = Path(os.environ["SABOTAGE"])
        done = len(list(marks.glob(f"{number}-*")))
        if len(self._results) == 2 and done < (2 if number == OUT_OF_MEMORY else 1):
            (marks / f"{number}-{done}").touch()
            match number:
                case 0:
                    raise ValueError("something unforeseen")
                case 1:
                    os.kill(os.getpid(), 9)
                case 2:
                    time.sleep(3600)
                case 3:
                    raise MemoryError("no room for 5 tensors")
                case 4:
                    raise TrainingError("the loss is not finite at step 12")
        return super()._evaluate()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of six trials of which five fail, each in its own way."""
    folder = tmp_path_factory.mktemp("failures")
    (folder / "marks").mkdir()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    patch = pytest.MonkeyPatch()
    patch.setattr(tuner, "TrialWorker", Sabotaged)
    patch.setenv("SABOTAGE", str(folder / "marks"))
    client, experiment = open_store(f"sqlite:///{folder}/mlflow.db")
    space = SearchSpace.from_mapping(SETTINGS)
    prepared = prepare(
        DataConfig(dataset="rotten-tomatoes"), [Config.from_flat(space.fixed | BASE)]
    )
    fingerprint = prepared.dataset.fingerprint
    tracker = SweepTracker.start(
        client,
        experiment,
        "failures",
        objective="valid/accuracy",
        parameters={"dataset": "rotten-tomatoes", "dataset_fingerprint": fingerprint},
        precision="float32",
        space_yaml="{}",
        folder=folder,
    )
    study = make_study(None, "failures", "valid/accuracy", space, "random", 5)
    attempts = RetryTracker(Storage(folder / "ray"), retries=1)
    search = OptunaSearcher(
        study,
        space,
        metric="valid/accuracy",
        max_trials=6,
        budget=10**9,
        seed=1,
        base=BASE,
        attempts=attempts,
    )
    said = []
    progress = Progress(6, 2, "valid/accuracy")
    workers = Workers(2, 1, 0.0)
    try:
        with local_ray(workers, 0):
            tuner.run_trials(
                search,
                make_scheduler("fifo", plan_rungs(1, 100), "valid/accuracy"),
                prepared=tuner.without_texts(prepared),
                workers=workers,
                callback=TrackingCallback(
                    tracker,
                    progress,
                    Silent(),
                    notify=said.append,
                    dataset="rotten-tomatoes",
                    dataset_fingerprint=fingerprint,
                    attempts=attempts,
                    watchdog=Impatient(folder / "marks"),
                ),
                storage=attempts.storage,
            )
        tracker.end("finished")
    finally:
        patch.undo()
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    runs = {}
    for run in client.search_runs([experiment]):
        if run.data.tags["sweep.role"] == "trial":
            assert run.data.tags["sweep.trial"] not in runs
            runs[run.data.tags["sweep.trial"]] = run
    return SimpleNamespace(
        client=client,
        runs=[runs[str(number)] for number in range(6)],
        study=study,
        prepared=prepared,
        said=said,
        folder=folder,
    )


def history(swept, number, name):
    points = swept.client.get_metric_history(swept.runs[number].info.run_id, name)
    return [(point.step, point.value) for point in sorted(points, key=lambda point: point.step)]


def artifact(swept, number, file):
    uri = f"{swept.runs[number].info.artifact_uri}/{file}"
    return mlflow.artifacts.load_text(uri)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (RAISES, "ValueError: something unforeseen"),
        (KILLED, "The actor is dead because its worker process has died"),
        (HANGS, "the worker reported nothing for 25 seconds and was ended"),
    ],
)
def test_a_trial_that_fails_once_goes_on_as_if_nothing_had_happened(swept, number, reason):
    run = swept.runs[number]
    assert run.data.tags["sweep.outcome"] == "completed"
    assert run.data.tags["sweep.retries"] == "1"
    assert reason in artifact(swept, number, "failure-1.txt")
    assert any(f"trial {number} failed: " in line and "retry 1 of 1" in line for line in swept.said)
    config = Config.from_flat(
        {**BASE, **{name: v for name, v in SETTINGS.items() if name != "learning_rate"}}
        | {"learning_rate": float(run.data.params["learning_rate"]), "seed": 1 + number}
    )
    trainer = Trainer(config, *swept.prepared.for_config(config))
    alone = [(e.examples, e.metrics["valid/loss"]) for e in trainer.evaluations()]
    assert history(swept, number, "valid/loss") == alone
    assert len(alone) == EVALUATIONS


@pytest.mark.parametrize(
    ("number", "reason", "tries"),
    [
        (OUT_OF_MEMORY, "MemoryError: no room for 5 tensors", 2),
        (NOT_FINITE, "TrainingError: the loss is not finite", 1),
    ],
)
def test_a_trial_that_fails_for_good_keeps_what_it_had(swept, number, reason, tries):
    run = swept.runs[number]
    assert (run.info.status, run.data.tags["sweep.outcome"]) == ("FAILED", "failed")
    error = artifact(swept, number, "error.txt")
    assert reason in error
    assert "in _evaluate\n" in error
    assert "\x1b" not in error
    assert len(history(swept, number, "valid/accuracy")) == 2
    assert run.data.metrics["best/valid/accuracy"] > 0
    assert len(run.outputs.model_outputs) == 1
    assert len(list((swept.folder / "marks").glob(f"{number}-*"))) == tries
    (trial,) = [t for t in swept.study.trials if t.user_attrs["trial"] == number]
    assert trial.state == TrialState.FAIL
    assert len(trial.intermediate_values) == 2


def test_the_sweep_goes_on(swept):
    assert len(swept.study.trials) == 6
    states = [trial.state for trial in swept.study.trials]
    assert states.count(TrialState.COMPLETE) == 4
    run = swept.runs[CLEAN]
    assert "sweep.retries" not in run.data.tags
    assert run.data.tags["provenance.precision"] == "float32"
    assert run.data.tags["provenance.recurrence"] == recurrence()
    assert len(history(swept, CLEAN, "train/loss")) == EVALUATIONS
    # Trials that have ended keep no place on disk.
    assert list((swept.folder / "ray").glob("0000*/checkpoint_*")) == []
