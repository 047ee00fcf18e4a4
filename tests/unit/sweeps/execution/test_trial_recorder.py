"""The record of a trial that has taken over another's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toy_corpus import config_of, corpus_of
from tracked_sweeps import Store, start

from sentiment.training.checkpoint import save_checkpoint
from sentiment.training.trainer import Trainer
from sweeps.console.progress import Progress
from sweeps.execution.trial_recorder import TrialRecorder
from sweeps.tracking.queries import trial_record
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.protocol import ADOPTED, RESULTS
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import CHECKPOINT, TAKEOVERS


def test_a_trial_that_fails_right_after_it_took_over_has_what_it_took_over(
    store: Store, tmp_path: Path
) -> None:
    donor = Trainer(config_of(hidden_dim=4, embedding_dim=4), corpus_of())
    next(donor.evaluations())
    best = {**donor.best_metrics, "examples": donor.best_examples}
    place = tmp_path / "ray" / "00000-aa" / "checkpoint_000000"
    place.mkdir(parents=True)
    save_checkpoint(donor, place, {RESULTS: [{"best": best}], ADOPTED: 0})
    attempts = RetryTracker(Storage(tmp_path / "ray"))
    tracker = start(store)
    recorder = TrialRecorder(
        tracker,
        Progress(2, 1, "valid/accuracy"),
        attempts,
        dataset="toy",
        dataset_fingerprint="0" * 64,
    )
    first: dict[str, Any] = {**config_of(hidden_dim=4, embedding_dim=4).flat(), "trial": 1}
    state = recorder.begin(first)
    state.checkpoint = "00001-bb/checkpoint_000000"  # of its first turn, which goes
    changed = config_of(hidden_dim=4, embedding_dim=4, learning_rate=0.01)
    assert attempts.take_over(1, 0, changed) == best
    taken = {"donor": 0, "examples": 300, "settings": {"learning_rate": 0.01}, "best": best}
    config = {
        **changed.flat(),
        "trial": 1,
        CHECKPOINT: attempts.newest(1),
        TAKEOVERS: {"first": {"learning_rate": 0.02}, TAKEOVERS: [{**taken, "at": 1_000}]},
    }
    assert recorder.begin(config) is state
    assert state.best == best
    # What its turns reach afterwards stays when it begins, or ends, once more.
    state.best = {**best, "valid/accuracy": 1.0}
    assert recorder.begin(config).best["valid/accuracy"] == 1.0
    recorder.end(state, "failed", "it can't be trained")
    tracker.end("finished")
    record = trial_record(store[0].get_run(tracker.run_of(1)))
    assert (record.outcome, record.model_id is not None) == ("failed", True)
    assert record.metrics["best/valid/accuracy"] == 1.0
    assert record.parameters["learning_rate"] == 0.01
    assert [each.donor for each in record.takeovers] == [0]
