"""Trials that are tried again, and the checkpoints from which they resume."""

from pathlib import Path

import pytest
from toy_corpus import config_of, corpus_of

from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.training.checkpoint import load_checkpoint, save_checkpoint
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer
from sweeps.trials import retry as module
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.protocol import ADOPTED, RESULTS
from sweeps.trials.retry import RetryTracker


def test_a_trial_is_tried_again_as_often_as_asked(tmp_path):
    attempts = RetryTracker(Storage(tmp_path), retries=2)
    assert [attempts.fail(7), attempts.is_pending_retry(7)] == [True, True]
    assert attempts.start(7) is None
    assert not attempts.is_pending_retry(7)
    assert [attempts.fail(7), attempts.fail(7)] == [True, False]
    assert attempts.failures(7) == 3
    assert attempts.fail(8)
    assert not RetryTracker(Storage(tmp_path)).fail(0)


def test_a_lost_node_is_not_the_trials_failure_until_it_loses_many(tmp_path):
    attempts = RetryTracker(Storage(tmp_path), retries=0)
    attempts.watch(3, lambda: "The actor died because its node has died. Node Id: 0f")
    assert [attempts.fail(3) for _ in range(module.MOST_MOVES)] == [True] * module.MOST_MOVES
    assert attempts.failures(3) == 0
    assert not attempts.fail(3)
    attempts.watch(4, lambda: "The actor 21a is unavailable: The actor is temporarily unavailable")
    assert attempts.fail(4)
    attempts.watch(5, lambda: "ValueError: its node")
    assert not attempts.fail(5)


@pytest.mark.parametrize(
    ("error", "out_of_memory"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on", True),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory: 40 TB", False),
        ("MemoryError: no room", False),
    ],
)
def test_only_what_fewer_at_once_would_help_calls_for_fewer(tmp_path, error, out_of_memory):
    attempts = RetryTracker(Storage(tmp_path))
    attempts.watch(0, lambda: error)
    attempts.allow_concurrency_reduction(True)
    assert attempts.fail(0) == out_of_memory
    assert attempts.memory_error == (error if out_of_memory else None)
    attempts.allow_concurrency_reduction(False)
    assert not attempts.fail(0)
    assert attempts.memory_error is None


def test_a_trial_continues_from_anothers_checkpoint(tmp_path):
    settings = {"cell": "gru", "hidden_dim": 4, "embedding_dim": 4, "epochs": 2, "seed": 1}
    donor = Trainer(config_of(**settings), corpus_of())
    next(donor.evaluations())
    one, two = ({"best": {"valid/accuracy": value}} for value in (0.5, 0.6))
    starts = {"00000-aa": [one], "00000-bb": [one, two], "00001-cc": [one]}
    for name, results in starts.items():
        place = tmp_path / name / "checkpoint_000000"
        place.mkdir(parents=True)
        save_checkpoint(donor, place, {RESULTS: results, ADOPTED: 0})
        donor.step += 1 if name == "00000-aa" else 0
    attempts = RetryTracker(Storage(tmp_path))
    changed = config_of(**{**settings, "learning_rate": 0.001, "seed": 2})
    for _ in range(2):  # interrupted and called again
        assert attempts.take_over(1, 0, changed) == two["best"]
        assert attempts.newest(1) == ("00001-from-00000-bb-checkpoint_000000/checkpoint_000000")
    assert Storage(tmp_path).names() == [
        "00000-aa", "00000-bb", "00001-from-00000-bb-checkpoint_000000"
    ]  # fmt: skip
    trainer = Trainer(changed, corpus_of())
    notes = load_checkpoint(trainer, tmp_path / attempts.newest(1))
    assert (notes[RESULTS], notes[ADOPTED]) == ([one, two], 2)
    assert trainer.step == donor.step
    attempts.keep_newest(0)
    assert "00000-aa" not in Storage(tmp_path).names()
    assert attempts.newest(0) == "00000-bb/checkpoint_000000"
    assert attempts.take_over(1, 7, changed) is None
    assert attempts.newest(1) is not None


def test_it_goes_on_from_the_newest_whole_checkpoint_of_all_its_starts(tmp_path):
    config = Config.from_flat(
        {"cell": "rnn", "embedding": "random", "embedding_dim": 4, "hidden_dim": 4}
        | {"epochs": 0.1, "evaluations_per_epoch": 30}
    )
    prepared = prepare(DataConfig(dataset="rotten-tomatoes"), [config])
    trainer = Trainer(config, *prepared.for_config(config))
    folders = []
    for evaluation, name in zip(
        trainer.evaluations(),
        ("00003-aa/checkpoint_000000", "00003-bb/checkpoint_000000", "00003-bb/checkpoint_000001"),
        strict=False,
    ):
        folders.append(tmp_path / name)
        folders[-1].mkdir(parents=True)
        save_checkpoint(trainer, folders[-1], {"examples": evaluation.examples})
    attempts = RetryTracker(Storage(tmp_path), retries=1)
    assert attempts.newest(30) is None
    assert attempts.newest(3) == "00003-bb/checkpoint_000001"
    # Its copying was cut off.
    (folders[2] / "training.safetensors").write_bytes(b"")
    assert attempts.newest(3) == "00003-bb/checkpoint_000000"
    (folders[1] / "manifest.json").unlink()
    assert attempts.start(3) == "00003-aa/checkpoint_000000"
    attempts.delete_checkpoints(3)
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_storage_yet(tmp_path: Path):
    assert RetryTracker(Storage(tmp_path / "missing")).newest(0) is None
