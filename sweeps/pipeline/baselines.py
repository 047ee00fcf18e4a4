"""What a sweep is measured against: the tutorials' recipes, and TF-IDF with logistic regression."""

from __future__ import annotations

import time
import traceback

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sentiment.data.datasets import Dataset
from sentiment.inference.metrics import Scores, score
from sentiment.recipes.recipe import Recipe, baseline_recipes
from sweeps.tracking.tracker import SweepTracker

TFIDF = "tfidf-logistic-regression"
STRENGTHS = (1.0, 4.0, 16.0)
"""Inverse strengths of the regularisation that validation chooses from."""

SMALL = 1_000


def recipes_for(dataset: Dataset) -> list[Recipe]:
    """Return the recipes that can tell the data's classes apart."""
    two = len(dataset.label_names) == 2
    return [recipe for recipe in baseline_recipes() if two or recipe.settings["loss"] != "bce"]


def record_tfidf(tracker: SweepTracker, dataset: Dataset, seed: int) -> str:
    """Fit TF-IDF with logistic regression and record it as a baseline.

    Words and pairs of words; validation chooses the strength of the regularisation. A failure is
    recorded as that of a trial is, so that it can't undo the sweep that it stands beside.

    Returns:
        A line that says what came of it.
    """
    started = time.perf_counter()
    # Words seen once say little of other texts, but of a small set they are most.
    min_count = 2 if len(dataset.splits["train"].texts) >= SMALL else 1
    parameters = {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "seed": str(seed),
        "ngrams": "1-2",
        "min_count": str(min_count),
    }
    tracker.start_trial(TFIDF, parameters, TFIDF, role="baseline")
    try:
        valid, test, weights = _fit(dataset, min_count, seed)
    except Exception as error:  # noqa: BLE001 - recorded and told
        tracker.end_trial(TFIDF, "failed", error="".join(traceback.format_exception(error)))
        return f"{TFIDF} failed: {error}"
    examples = len(dataset.splits["train"].texts)
    tracker.trial_metrics(TFIDF, examples, valid.metrics("valid"))
    once = {f"best/{name}": value for name, value in valid.metrics("valid").items()}
    once |= {
        "best/examples": examples,
        "parameters/total": weights,
        "seconds/total": time.perf_counter() - started,
        **test.metrics("test"),
    }
    tracker.end_trial(TFIDF, "completed", metrics=once, step=examples)
    return f"{TFIDF:<28} valid {valid.accuracy:.4f}  test {test.accuracy:.4f}"


def _fit(dataset: Dataset, min_count: int, seed: int) -> tuple[Scores, Scores, int]:
    """Return the scores on validation and test, and the number of weights."""
    train, valid, test = (dataset.splits[name] for name in ("train", "valid", "test"))
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=min_count, sublinear_tf=True, dtype=np.float32
    )
    features, held_back = vectorizer.fit_transform(train.texts), vectorizer.transform(valid.texts)
    fitted: list[tuple[Scores, LogisticRegression]] = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=200, random_state=seed)
        model.fit(features, train.labels)
        fitted.append((score(model.predict_log_proba(held_back), valid.labels), model))
    best, model = max(fitted, key=lambda each: each[0].accuracy)
    predicted = model.predict_log_proba(vectorizer.transform(test.texts))
    return best, score(predicted, test.labels), model.coef_.size + model.intercept_.size
