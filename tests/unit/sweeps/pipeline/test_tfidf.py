"""TF-IDF with logistic regression as a baseline."""

import pytest

from sentiment.data.datasets import DataConfig, load_dataset
from sweeps.pipeline.tfidf import TFIDF, record_tfidf
from sweeps.tracking.queries import find_sweep, trials_of
from sweeps.tracking.tracker import SweepTracker


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
