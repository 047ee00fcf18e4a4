"""What a sweep may take, from arithmetic."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch

from sentiment.config import Config
from sweeps.execution.resources import Workers
from sweeps.pipeline import estimate
from sweeps.pipeline.dry_run import estimate_line
from sweeps.pipeline.estimate import BATCH, Estimator, StagePlan, tfidf_seconds
from sweeps.search.cost_model import TrialCost
from sweeps.search.rungs import plan_rungs
from sweeps.space.space import SearchSpace

TEXTS = ["x" * 490] * 1000
DATASET = SimpleNamespace(splits={"train": SimpleNamespace(texts=TEXTS)})
SPACE = SearchSpace.from_mapping({"cell": "gru", "dropout": {"float": [0.0, 0.5]}})


def estimator(workers: int = 2) -> Estimator:
    return Estimator(
        TrialCost(TEXTS), plan_rungs(1, 1000), Workers(workers, 1, 0), torch.float32, speed=1e10
    )


def recipe(**settings: object) -> dict[str, object]:
    return Config.from_flat({"cell": "gru", "epochs": 1, **settings}).flat()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_speed_is_that_of_recurrent_layers_on_such_texts(dtype, monkeypatch):
    ticks = itertools.count(0, 0.25)
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(estimate, "time", clock)
    threads = torch.get_num_threads()
    cost, rungs = TrialCost(TEXTS), plan_rungs(1, 1000)
    measured = Estimator(cost, rungs, Workers(2, 1, 0), dtype)
    assert torch.get_num_threads() == threads
    # By this clock one step takes half a second.
    settings = {"cell": "lstm", "hidden_dim": 128, "bidirectional": False}
    known = Estimator(cost, rungs, Workers(2, 1, 0), dtype, speed=2 * BATCH * cost(settings))
    assert measured.trials(SPACE, 3, "fifo") == pytest.approx(known.trials(SPACE, 3, "fifo"))


def test_halving_spares_most_of_the_later_training():
    full = estimator().trials(SPACE, 8, "fifo")
    assert estimator().trials(SPACE, 8, "asha") == pytest.approx(full * 0.3125, rel=0.01)
    assert estimator(4).trials(SPACE, 8, "fifo") == pytest.approx(full / 2)
    assert estimator().trials(SPACE, 0, "asha") == 0


def test_a_baseline_costs_what_a_trial_of_its_settings_does():
    full = estimator(1).trials(SPACE, 1, "fifo")
    assert estimator(1).baselines([recipe()], DATASET) == pytest.approx(full)
    assert estimator(1).baselines([recipe(epochs=5)], DATASET) == pytest.approx(5 * full)
    steps = recipe(epochs=5, max_steps=10, batch_size=50)
    assert estimator(1).baselines([steps], DATASET) == pytest.approx(full / 2)


def test_baselines_run_side_by_side():
    one = estimator(1).baselines([recipe()], DATASET)
    long_last = [recipe(), recipe(), recipe(epochs=4)]
    assert estimator(1).baselines(long_last, DATASET) == pytest.approx(6 * one)
    # The long one starts when the first worker is free, and nothing is left for the other.
    assert estimator(2).baselines(long_last, DATASET) == pytest.approx(5 * one)
    assert estimator(2).baselines([], DATASET) == 0


def test_the_parts_are_named_where_there_are_several():
    search = StagePlan("search", seconds=600)
    assert estimate_line([search]) == "time: about 12 minutes, within a factor of two"
    baselines = StagePlan("baselines", seconds=60 + tfidf_seconds(DATASET))
    assert estimate_line([search, StagePlan("confirmation"), baselines]) == (
        "time: about 13 minutes, within a factor of two (start-up 90 seconds, "
        "search 10 minutes, baselines 61 seconds)"
    )


def test_a_language_model_costs_what_a_classifier_of_its_direction_does():
    both = recipe(
        embedding="word2vec",
        embedding_dim=100,
        bidirectional=True,
        pretraining="lm",
        pretraining_epochs=3,
    )
    one = recipe(embedding_dim=50, bidirectional=False, epochs=3)
    alone = estimator(1).baselines([one], DATASET)
    assert estimator(1).pretraining([both, both], 2_000) == pytest.approx(4 * alone)
    # A direction a core.
    assert estimator(2).pretraining([both, both], 2_000) == pytest.approx(2 * alone)
    assert estimator(2).pretraining([], 2_000) == 0
