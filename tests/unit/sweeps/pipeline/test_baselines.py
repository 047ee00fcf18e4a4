"""What a sweep is measured against."""

import pytest

from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sweeps.pipeline.baselines import TFIDF, recipes_for, record_tfidf
from sweeps.tracking.queries import find_sweep, trials_of
from sweeps.tracking.tracker import SweepTracker


def test_recipes_that_need_two_classes_are_left_out():
    two = load_dataset(DataConfig(dataset="rotten-tomatoes"))
    three = Dataset("stars", ("1", "2", "3"), two.splits, two.fingerprint)
    assert len(recipes_for(two)) == 12
    names = {recipe.name for recipe in recipes_for(three)}
    assert names == {"basic-rnn", "basic-gru", "basic-lstm", "stacked-rnn"}


def test_tfidf_is_recorded_as_a_baseline_with_test_metrics(store):
    client, experiment = store
    dataset = load_dataset(DataConfig(dataset="rotten-tomatoes"))
    tracker = SweepTracker.start(
        client,
        experiment,
        "with-tfidf",
        objective="valid/accuracy",
        parameters={"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint},
        precision="float32",
        space_yaml="{}",
    )
    line = record_tfidf(tracker, dataset, 1234)
    tracker.end("finished")
    (baseline,) = trials_of(client, find_sweep(client, [experiment]))
    assert (baseline.key, baseline.role, baseline.outcome) == (TFIDF, "baseline", "completed")
    assert baseline.metrics["best/valid/accuracy"] == pytest.approx(0.76, abs=0.03)
    assert baseline.metrics["test/accuracy"] == pytest.approx(0.76, abs=0.03)
    assert line.endswith(f"test {baseline.metrics['test/accuracy']:.4f}")
    parent = client.get_run(find_sweep(client, [experiment]).info.run_id)
    assert not any(name.startswith("sweep/") for name in parent.data.metrics)
