"""Classical baselines: their fits on real reviews, their record, and the comparison in words."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from sentiment.config import TextConfig
from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.data.splits import Split
from sweeps.analysis.classical_comparison import NB_LOGISTIC, ClassicalComparison
from sweeps.analysis.significance import Paired
from sweeps.pipeline import classical
from sweeps.pipeline.classical import TFIDF, fit_nb_logistic, fit_tfidf, record
from sweeps.tracking.queries import find_sweep, trials_of
from sweeps.tracking.tracker import SweepTracker


@pytest.fixture(scope="module")
def reviews():
    return load_dataset(DataConfig(dataset="rotten-tomatoes"))


def tracker_of(store, dataset):
    client, experiment = store
    return SweepTracker.start(
        client,
        experiment,
        "classical",
        objective="valid/accuracy",
        parameters={"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint},
        precision="float32",
        space_yaml="{}",
    )


@pytest.mark.parametrize(
    ("key", "fit"),
    [
        (TFIDF, lambda data: fit_tfidf(data, 1234)),
        (NB_LOGISTIC, lambda data: fit_nb_logistic(data, TextConfig(), 1234)),
    ],
)
def test_it_is_recorded_as_a_baseline_with_test_metrics(store, reviews, key, fit):
    client, experiment = store
    tracker = tracker_of(store, reviews)
    fitted = record(tracker, key, reviews, 1234, lambda: fit(reviews))
    tracker.end("finished")
    (baseline,) = trials_of(client, find_sweep(client, [experiment]))
    assert (baseline.key, baseline.role, baseline.outcome) == (key, "baseline", "completed")
    assert baseline.metrics["best/valid/accuracy"] == pytest.approx(0.76, abs=0.03)
    assert baseline.metrics["test/accuracy"] == pytest.approx(0.76, abs=0.03)
    assert fitted.hits.mean() == pytest.approx(baseline.metrics["test/accuracy"])
    parent = client.get_run(find_sweep(client, [experiment]).info.run_id)
    assert not any(name.startswith("sweep/") for name in parent.data.metrics)


def test_a_failure_is_recorded_and_ends_nothing(store, reviews):
    client, experiment = store
    tracker = tracker_of(store, reviews)

    def fail():
        raise MemoryError("no room")

    assert record(tracker, NB_LOGISTIC, reviews, 1, fail) == "nb-logistic failed: no room"
    tracker.end("finished")
    (baseline,) = trials_of(client, find_sweep(client, [experiment]))
    assert baseline.outcome == "failed"


def toy(classes, count=240):
    """Texts of which a pair of words tells the class, in three splits."""
    random = np.random.default_rng(classes)
    telling = ("not good", "good film", "so so")[:classes]
    filler = ["the", "a", "plot", "scene", "actor", "it", "was", "and"]
    splits = {}
    for name, size in (("train", count), ("valid", 90), ("test", 90)):
        labels = np.arange(size) % classes
        texts = [
            " ".join([*random.choice(filler, 5), telling[label], *random.choice(filler, 3)])
            for label in labels
        ]
        splits[name] = Split(texts, labels.astype(np.int64))
    return Dataset("toy", ("a", "b", "c")[:classes], splits, f"{classes}" * 64)


@pytest.mark.parametrize("classes", [2, 3])
def test_pairs_of_words_tell_the_classes(classes, tmp_path, monkeypatch):
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    fitted = fit_nb_logistic(toy(classes), TextConfig(), 1)
    assert fitted.test.accuracy == 1.0
    assert fitted.test.confusion.shape == (classes, classes)
    assert fitted.weights % (1 if classes == 2 else 3) == 0


def test_it_is_what_scikit_learn_makes_of_the_same_features(tmp_path, monkeypatch):
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    monkeypatch.setattr(classical, "NB_STRENGTHS", (1.0,))
    data = toy(2)
    train, test = data.splits["train"], data.splits["test"]
    counter = CountVectorizer(
        ngram_range=(1, 3), binary=True, min_df=1, token_pattern=r"\S+", dtype=np.float64
    )
    features = counter.fit_transform(train.texts)
    of_class = 1 + np.asarray(features[train.labels == 1].sum(axis=0)).ravel()
    of_others = 1 + np.asarray(features[train.labels == 0].sum(axis=0)).ravel()
    ratio = np.log(of_class / of_class.sum()) - np.log(of_others / of_others.sum())
    model = LogisticRegression(C=1.0, max_iter=100).fit(features.multiply(ratio), train.labels)
    expected = model.predict_log_proba(counter.transform(test.texts).multiply(ratio))
    fitted = fit_nb_logistic(data, TextConfig(tokenizer="whitespace"), 1)
    rows = np.arange(len(test.labels))
    assert fitted.test.loss == pytest.approx(-expected[rows, test.labels].mean(), abs=1e-3)
    assert fitted.weights == features.shape[1] + 1


def test_the_comparison_says_plainly_which_is_better():
    better = ClassicalComparison.of(Paired(both=880, only_first=50, only_second=20, neither=50))
    assert better.sentence() == (
        "Classical baseline, nb-logistic: test accuracy 0.9000; the registered model is better by "
        "3.00 points (McNemar's p < 0.001)."
    )
    worse = ClassicalComparison.of(Paired(both=880, only_first=20, only_second=24, neither=76))
    assert worse.sentence() == (
        "Classical baseline, nb-logistic: test accuracy 0.9040; the registered model is NOT "
        "better: 0.40 points less (McNemar's p = 0.652)."
    )
    same = ClassicalComparison.of(Paired(both=9, only_first=1, only_second=1, neither=9))
    assert same.sentence().endswith("the registered model is NOT better: the same accuracy.")
    assert ClassicalComparison.from_metrics(worse.metrics()) == worse
    assert ClassicalComparison.from_metrics({}) is None
