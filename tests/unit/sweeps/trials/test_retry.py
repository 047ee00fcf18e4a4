"""What happens to trials that fail, hang, or fail all alike."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.training.checkpoint import save_checkpoint
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer
from sweeps.trials import retry as module
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import FailFastMonitor, RetryTracker, SweepError, Watchdog


def test_a_trial_is_tried_again_as_often_as_asked(tmp_path):
    attempts = RetryTracker(Storage(tmp_path), retries=2)
    assert [attempts.fail(7), attempts.awaits(7)] == [True, True]
    assert attempts.start(7) is None
    assert not attempts.awaits(7)
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
    ("error", "crowded"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on", True),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory: 40 TB", False),
        ("MemoryError: no room", False),
    ],
)
def test_only_what_fewer_at_once_would_help_is_crowding(tmp_path, error, crowded):
    attempts = RetryTracker(Storage(tmp_path))
    attempts.watch(0, lambda: error)
    attempts.relieve(fewer=True)
    assert attempts.fail(0) == crowded
    assert attempts.crowded == (error if crowded else None)
    attempts.relieve(fewer=False)
    assert not attempts.fail(0)
    assert attempts.crowded is None


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
    attempts.forget(3)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_worker_hangs_after_twenty_times_the_longest_evaluation(clock):
    patience = Watchdog()
    patience.start("first")
    clock[0] += module.FIRST_PATIENCE
    assert patience.exhausted() == []
    clock[0] += 1
    assert patience.exhausted() == ["first"]
    patience.start("first")
    patience.start("second")
    clock[0] += 100
    patience.report("second")
    assert patience.limit == 2000
    patience.report("first")
    clock[0] += 2001
    assert patience.exhausted() == ["first", "second"]
    patience.end("second")
    assert patience.exhausted() == ["first"]


def test_it_never_takes_less_than_ten_minutes_unless_told(clock):
    patience = Watchdog()
    patience.start("quick")
    clock[0] += 0.5
    patience.report("quick")
    assert patience.limit == 600
    assert Watchdog(30).limit == 30


ERRORS = st.one_of(st.none(), st.sampled_from(["RuntimeError: a", "MemoryError: b"]))


@given(st.lists(ERRORS, max_size=30))
def test_a_sweep_ends_when_more_than_half_of_the_first_ten_fail_alike(ends):
    first = FailFastMonitor()
    worst = math.inf
    for kind in ("RuntimeError: a", "MemoryError: b"):
        places = [place for place, error in enumerate(ends[:10]) if error == kind]
        worst = min(worst, places[5] if len(places) > 5 else math.inf)
    for place, error in enumerate(ends):
        if place == worst:
            with pytest.raises(SweepError, match=f"6 of the first {place + 1} trials failed the"):
                first.end(error)
            return
        first.end(error)


def test_the_same_failure_may_name_other_numbers():
    first = FailFastMonitor()
    with pytest.raises(SweepError) as told:
        for step in range(10):
            first.end(f"TrainingError: the loss is not finite at step {step} (1,{step}00 examples)")
    assert len(str(told.value).splitlines()) == 1


def test_there_is_no_storage_yet(tmp_path: Path):
    assert RetryTracker(Storage(tmp_path / "missing")).newest(0) is None
