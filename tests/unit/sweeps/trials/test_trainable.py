"""What a worker reports of a trial, without Ray."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import tune
from toy_corpus import config_of, corpus_of

from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.protocol import EARLIER, EXAMPLES, FACTS
from sweeps.trials.trainable import TrialWorker

LATENCY = "latency/single_text_ms"
TEXTS = ("the film was good", "bad plot")


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get_gpu_ids", list)


def worker_of(folder: Path, **options: Any) -> TrialWorker:
    config = {**config_of(tokenizer="whitespace").flat(), "trial": 0}
    corpus = corpus_of()
    prepared: Any = SimpleNamespace(
        for_config=lambda config: (corpus, None),
        ngrams_for=lambda config: None,
        pretrained_for=lambda config: None,
    )
    worker = object.__new__(TrialWorker)
    worker.setup(config, prepared=prepared, storage=Storage(folder), **options)
    return worker


def results_of(worker: TrialWorker) -> list[dict[str, Any]]:
    results = [worker.step()]
    while not results[-1][tune.result.DONE]:
        results.append(worker.step())
    return results


def test_measuring_the_latency_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    plain = results_of(worker_of(tmp_path))
    timed = results_of(worker_of(tmp_path, timed_texts=TEXTS))
    assert all(LATENCY not in result[FACTS] for result in plain)
    assert all(0 < result[FACTS][LATENCY] < 1000 for result in timed)

    def trained(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        evaluations = (each for result in results for each in (*result[EARLIER], result))
        names = (EXAMPLES, "train/loss", "valid/loss", "best")
        return [{name: each[name] for name in names} for each in evaluations]

    assert trained(timed) == trained(plain)


def test_a_trial_that_resumes_keeps_its_latency(tmp_path: Path) -> None:
    worker = worker_of(tmp_path, timed_texts=TEXTS)
    first = worker.step()
    place = tmp_path / "checkpoint"
    place.mkdir()
    worker.save_checkpoint(str(place))
    again = worker_of(tmp_path, timed_texts=TEXTS)
    again.load_checkpoint(str(place))
    repeated = again.step()
    assert repeated[FACTS][LATENCY] == first[FACTS][LATENCY]
