"""Memory that does not suffice for as many trials as run at once."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
import ray.cloudpickle
import torch
from rich.console import Console

from sentiment.data.datasets import DataConfig
from sweeps.config import SweepSettings
from sweeps.execution import tuner
from sweeps.pipeline import sweep
from sweeps.pipeline.checks import check
from sweeps.pipeline.executor import Executor
from sweeps.tracking.queries import trials_of
from sweeps.trials.trainable import TrialWorker

SPACE = """
cell: rnn
embedding: random
embedding_dim: 4
hidden_dim: 4
learning_rate: {float: [1e-3, 1e-2]}
"""


class Crowded(TrialWorker):
    """Finds no room on its GPU once, after the first evaluation of the second trial."""

    def _evaluate(self):
        mark = Path(os.environ["CROWDED"])
        if self._settings["trial"] == 1 and self._results and not mark.exists():
            mark.touch()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super()._evaluate()


@pytest.fixture
def crowded(monkeypatch, tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(tuner, "TrialWorker", Crowded)
    monkeypatch.setenv("CROWDED", str(tmp_path / "mark"))
    monkeypatch.chdir(tmp_path)
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_fewer_trials_run_at_once_and_all_resume(crowded, store, store_uri, tmp_path, monkeypatch):
    client, _ = store
    (tmp_path / "space.yaml").write_text(SPACE)
    said = io.StringIO()
    settings = SweepSettings(
        trials=4,
        data=DataConfig(dataset="rotten-tomatoes"),
        space="space.yaml",
        max_epochs=0.2,
        scheduler="fifo",
        retries=0,
        baseline=False,
        concurrency=2,
        name="crowded",
        tracking_uri=store_uri,
    )
    executors = []

    class ObservedExecutor(Executor):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            executors.append(self)

    monkeypatch.setattr(sweep, "Executor", ObservedExecutor)
    result = sweep.run(check(settings, Console(file=said, width=200), quiet=True))
    (executor,) = executors
    assert executor.workers.count == 1
    assert "CUDA out of memory. Tried to allocate 20.00 GiB): from now on 1 at once" in (
        said.getvalue()
    )
    trials = trials_of(client, client.get_run(result.run_id))
    assert [trial.key for trial in trials] == [0, 1, 2, 3]
    assert {trial.outcome for trial in trials} == {"completed"}
    for trial in trials:
        steps = [metric.step for metric in client.get_metric_history(trial.run_id, "epoch")]
        assert len(steps) == 5
        assert steps == sorted(set(steps))
