"""The record of language models, and of the trials that start from them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tracked_sweeps
from mlflow import MlflowClient

from sentiment.config import Config
from sentiment.pretraining.pretrained import PretrainedLayers, pretraining_key
from sweeps.console.progress import Progress
from sweeps.execution.trial_recorder import TrialRecorder
from sweeps.tracking.pretraining import record_language_models, run_keys
from sweeps.tracking.queries import find_sweep, trials_of
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker

CONFIG = Config.from_flat({"pretraining": "lm", "embedding": "word2vec", "hidden_dim": 8})
HISTORY = [
    {"step": 5, "epoch": 0.5, "tokens": 900, "loss": 6.5, "seconds": 1.5, "perplexity": 500.0},
    {"step": 10, "epoch": 1.0, "tokens": 1800, "loss": 6.0, "seconds": 3.0, "perplexity": 300.0},
]
LAYERS = PretrainedLayers(
    CONFIG,
    {"embedding.weight": np.zeros((3, 2))},
    {"forward": HISTORY, "backward": HISTORY[1:]},
    {"forward": "a" * 64, "backward": "b" * 64},
)
KEY = pretraining_key(CONFIG) or ""
DATASET = SimpleNamespace(name="imdb-25k", fingerprint="f00")
NAMES = "pretraining-aaaaaaaa-forward, pretraining-bbbbbbbb-backward"


def test_a_run_for_each_direction_and_its_perplexity_by_tokens(
    store: tuple[MlflowClient, str], tmp_path: Path
) -> None:
    client, experiment_id = store
    tracker = tracked_sweeps.start(store, folder=tmp_path)
    record_language_models(tracker, {KEY: LAYERS}, DATASET)  # type: ignore[arg-type]
    tracker.end("interrupted")
    sweep = tracked_sweeps.dead(client, find_sweep(client, [experiment_id]))
    resumed = SweepTracker.resume(client, sweep, folder=tmp_path)
    record_language_models(resumed, {KEY: LAYERS}, DATASET)  # type: ignore[arg-type]
    resumed.end("finished")
    runs = trials_of(client, sweep)
    assert [(run.role, run.key) for run in runs] == [
        ("pretraining", "pretraining-aaaaaaaa-forward"),
        ("pretraining", "pretraining-bbbbbbbb-backward"),
    ]
    forward = client.get_run(runs[0].run_id)
    assert forward.info.run_name == "language model lstm-1×8 forward"
    assert forward.info.status == "FINISHED"
    assert forward.data.params["direction"] == "forward"
    assert forward.data.params["pretraining_epochs"] == "3.0"
    assert forward.data.params["language_model"] == "a" * 64
    assert forward.data.metrics["seconds/total"] == 3.0
    curve = client.get_metric_history(runs[0].run_id, "pretraining/perplexity")
    assert [(metric.step, metric.value) for metric in curve] == [(900, 500.0), (1800, 300.0)]


def test_a_trial_names_the_language_models_that_it_starts_from(
    store: tuple[MlflowClient, str], tmp_path: Path
) -> None:
    client, experiment_id = store
    assert run_keys({KEY: LAYERS}) == {KEY: NAMES}
    tracker = tracked_sweeps.start(store)
    recorder = TrialRecorder(
        tracker,
        Progress(2, 1, "valid/accuracy"),
        RetryTracker(Storage(tmp_path), 0),
        dataset="imdb-25k",
        dataset_fingerprint="f00",
        pretrained={KEY: NAMES},
    )
    pretrained = {name: CONFIG.flat()[name] for name in ("pretraining", "embedding", "hidden_dim")}
    recorder.begin({"trial": 0, **pretrained})
    recorder.begin({"trial": 1, "hidden_dim": 8})
    with pytest.raises(KeyError):  # layers that were not prepared
        recorder.begin({"trial": 2, **pretrained, "hidden_dim": 9})
    tracker.end("finished")
    runs = trials_of(client, find_sweep(client, [experiment_id]))
    tags = [client.get_run(run.run_id).data.tags.get("sweep.pretraining") for run in runs]
    assert tags == [NAMES, None]
