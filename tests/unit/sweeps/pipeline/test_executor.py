"""Which runs a stage trains, and how many at once after the memory ran out."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher
from rich.console import Console

from sentiment.config import Config
from sweeps.config import SweepSettings
from sweeps.errors import InsufficientMemoryError
from sweeps.execution.resources import Node, Workers
from sweeps.pipeline import executor
from sweeps.pipeline.executor import Executor
from sweeps.search.rungs import plan_rungs
from sweeps.trials.checkpoint_storage import Storage

CONFIGS = {name: Config.from_flat({"seed": seed}) for seed, name in enumerate("abcd")}


class Runs:
    """Stands in for Ray: notes which configurations are handed out, and to how many workers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.seen: list[tuple[dict[int, int], int]] = []

    def __call__(self, search: Searcher, *_: Any, **options: Any) -> None:
        handed: dict[int, int] = {}
        while isinstance(config := search.suggest(f"trial-{len(handed)}"), dict):
            handed[config["trial"]] = config["seed"]
        self.seen.append((handed, options["workers"].count))
        # Of those the first comes to its end.
        first = list(CONFIGS)[min(handed)]
        options["callback"].trials[first] = SimpleNamespace(outcome="completed")
        if len(self.seen) <= self.failures:
            raise InsufficientMemoryError("out of memory")


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, notes: list[str]) -> Any:
    def start(failures: int) -> tuple[Executor, Runs]:
        runs = Runs(failures)
        monkeypatch.setattr(executor, "run_trials", runs)
        monkeypatch.setattr(executor, "without_texts", lambda prepared: prepared)
        monkeypatch.setattr(executor, "TrackingCallback", lambda _, progress, *__, **___: progress)
        context = SimpleNamespace(
            settings=SweepSettings(trials=1),
            workers=Workers(4, 1, 0),
            nodes=[Node(4)],
            rungs=plan_rungs(1, 100),
            dataset=SimpleNamespace(name="tiny", fingerprint="f00"),
            console=Console(file=io.StringIO()),
            quiet=True,
            joins_cluster=False,
            timed_texts=(),
            notify=notes.append,
        )
        prepared = SimpleNamespace(pretrained={})
        return Executor(context, None, prepared, Storage(tmp_path)), runs

    return start


def test_a_run_keeps_its_number_where_others_ended_before(make: Any) -> None:
    executor, runs = make(failures=0)
    progress = executor.run_configs(
        CONFIGS, "replicates", "confirmation", "valid/loss", ended={"a", "c"}
    )
    assert runs.seen == [({1: 1, 3: 3}, 4)]
    assert list(progress.trials) == ["b"]


def test_half_as_many_run_after_the_memory_ran_out(make: Any, notes: list[str]) -> None:
    executor, runs = make(failures=2)
    executor.run_configs(CONFIGS, "baseline", "baseline", "valid/loss")
    # What had ended is not run again.
    assert [(list(handed), workers) for handed, workers in runs.seen] == [
        ([0, 1, 2, 3], 4),
        ([1, 2, 3], 2),
        ([2, 3], 1),
    ]
    assert executor.workers.count == 1
    assert [note.partition(":")[0] for note in notes] == [
        "the memory does not suffice (out of memory)"
    ] * 2


def test_a_single_trial_that_does_not_fit_ends_the_sweep(make: Any) -> None:
    executor, runs = make(failures=3)
    with pytest.raises(InsufficientMemoryError):
        executor.run_configs(CONFIGS, "baseline", "baseline", "valid/loss")
    assert len(runs.seen) == 3
