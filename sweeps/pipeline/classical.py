"""Classical baselines: TF-IDF or naive-Bayes n-grams, with logistic regression."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from sentiment.config import TextConfig
from sentiment.data.corpus import load_corpus
from sentiment.data.datasets import Dataset
from sentiment.inference.metrics import Scores, score
from sentiment.ngrams.fit import log_count_ratio
from sentiment.ngrams.table import count_ngrams
from sweeps.tracking.tracker import SweepTracker

TFIDF = "tfidf-logistic-regression"
STRENGTHS = (1.0, 4.0, 16.0)
"""Inverse strengths of the regularization of TF-IDF that validation chooses from."""
NB_STRENGTHS = (0.1, 1.0)
"""The same of naive-Bayes n-grams, whose features are larger."""
NB_LONGEST = 3

SMALL = 1_000
"""Texts of train below which words seen once count too: they are most of a small set."""


@dataclass(frozen=True)
class FittedBaseline:
    """What a classical baseline reached.

    Attributes:
        valid: scores on validation, which chose its strength.
        test: scores on the test split.
        hits: bool (n,), which texts of the test split it gets right.
        weights: number of its weights.
    """

    valid: Scores
    test: Scores
    hits: np.ndarray
    weights: int


def record(
    tracker: SweepTracker, key: str, dataset: Dataset, seed: int, fit: Callable[[], FittedBaseline]
) -> FittedBaseline | str:
    """Fit a classical baseline and record it.

    A failure is recorded as that of a trial is, so that it can't undo the sweep that it stands
    beside.

    Args:
        tracker: writes the record.
        key: the baseline's name.
        dataset: its data.
        seed: of the sweep.
        fit: fits it.

    Returns:
        The baseline, or why it failed.
    """
    started = time.perf_counter()
    parameters = {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "seed": str(seed),
        "ngrams": "1-2" if key == TFIDF else f"1-{NB_LONGEST}",
        "min_count": str(_min_count(dataset)),
    }
    run = tracker.start_trial(key, parameters, key, role="baseline")
    try:
        # As in `sentiment.ngrams.fit`: threads would wait longer than they work.
        with threadpool_limits(1, user_api="blas"):
            fitted = fit()
    except Exception as error:  # noqa: BLE001 - recorded and reported
        run.end("failed", error="".join(traceback.format_exception(error)))
        return f"{key} failed: {error}"
    examples = len(dataset.splits["train"].texts)
    run.log_evaluation(examples, fitted.valid.metrics("valid"))
    once = {f"best/{name}": value for name, value in fitted.valid.metrics("valid").items()}
    once |= {
        "best/examples": examples,
        "parameters/total": fitted.weights,
        "seconds/total": time.perf_counter() - started,
        **fitted.test.metrics("test"),
    }
    run.end("completed", metrics=once, step=examples)
    return fitted


def fit_tfidf(dataset: Dataset, seed: int) -> FittedBaseline:
    """Fit TF-IDF of words and pairs of words; validation chooses the regularization."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, valid, test = (dataset.splits[name] for name in ("train", "valid", "test"))
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=_min_count(dataset), sublinear_tf=True, dtype=np.float32
    )
    features, held_back = vectorizer.fit_transform(train.texts), vectorizer.transform(valid.texts)
    fitted: list[tuple[Scores, LogisticRegression]] = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=200, random_state=seed)
        model.fit(features, train.labels)
        fitted.append((score(model.predict_log_proba(held_back), valid.labels), model))
    best, model = max(fitted, key=lambda each: each[0].accuracy)
    predicted = model.predict_log_proba(vectorizer.transform(test.texts))
    weights = model.coef_.size + model.intercept_.size
    return _fitted(best, predicted, test.labels, weights)


def fit_nb_logistic(dataset: Dataset, text: TextConfig, seed: int) -> FittedBaseline:
    """Fit naive-Bayes logistic regression of n-grams (Wang and Manning 2012, "Baselines and
    bigrams"): which n-grams a text holds, each scaled by its naive-Bayes log-count ratio; one class
    against the others where there are more than two; validation chooses the regularization.

    Args:
        dataset: texts, labels and splits.
        text: how the texts are tokenized.
        seed: of the sweep.
    """
    corpus = load_corpus(dataset, text)
    train, valid, test = (corpus.splits[name] for name in ("train", "valid", "test"))
    table, features = count_ngrams(train, NB_LONGEST, _min_count(dataset), len(corpus.words))
    held_back, unseen = table.features(valid), table.features(test)
    classes = len(dataset.label_names)
    fitted: list[tuple[Scores, np.ndarray]] = []
    for strength in NB_STRENGTHS:
        logits = [
            _against_others(features, train.labels == label, strength, seed, held_back, unseen)
            for label in ([1] if classes == 2 else range(classes))
        ]
        on_valid, on_test = (
            _log_shares(np.stack(each, axis=1)) for each in zip(*logits, strict=True)
        )
        fitted.append((score(on_valid, valid.labels), on_test))
    best, predicted = max(fitted, key=lambda each: each[0].accuracy)
    weights = (len(table) + 1) * (1 if classes == 2 else classes)
    return _fitted(best, predicted, test.labels, weights)


def _against_others(
    features: sparse.csr_array,
    positive: np.ndarray,
    strength: float,
    seed: int,
    *others: sparse.csr_array,
) -> list[np.ndarray]:
    """Return the logits of one class against the others, for each of some further features."""
    from sklearn.linear_model import LogisticRegression

    ratio = sparse.diags_array(log_count_ratio(features, positive))
    model = LogisticRegression(C=strength, max_iter=100, random_state=seed)
    model.fit(features @ ratio, positive)
    return [model.decision_function(each @ ratio) for each in others]


def _log_shares(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities (n, C): of two classes by one logit, else of shares of sigmoids."""
    if logits.shape[1] == 1:
        return -np.logaddexp(0, np.concatenate([logits, -logits], axis=1))
    log = -np.logaddexp(0, -logits)
    return log - np.logaddexp.reduce(log, axis=1, keepdims=True)


def _fitted(
    valid: Scores, predicted: np.ndarray, labels: np.ndarray, weights: int
) -> FittedBaseline:
    return FittedBaseline(
        valid, score(predicted, labels), predicted.argmax(axis=1) == labels, weights
    )


def _min_count(dataset: Dataset) -> int:
    return 2 if len(dataset.splits["train"].texts) >= SMALL else 1
