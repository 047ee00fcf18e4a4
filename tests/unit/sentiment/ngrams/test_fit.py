"""The training of the n-gram branch: its ratios by hand, its optimum, what it learns."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from toy_corpus import config_of, corpus_of

from sentiment.ngrams import fit
from sentiment.ngrams.fit import (
    FittedNgrams,
    Regularization,
    fit_ngrams,
    load_ngrams,
    log_count_ratio,
    ngram_key,
)
from sentiment.ngrams.model import root_counts
from sentiment.ngrams.table import count_ngrams


def accuracy(fitted, corpus):
    logits = fitted.valid_logits
    predicted = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
    return (predicted == corpus.splits["valid"].labels).mean()


@pytest.mark.parametrize(
    ("classes", "settings", "outputs"),
    [
        (2, {}, 1),
        (2, {"loss": "cross_entropy"}, 2),
        (3, {}, 3),
        (2, {"ngram_weighting": "none"}, 1),
    ],
)
def test_words_that_tell_the_class_are_found(classes, settings, outputs):
    corpus = corpus_of(classes)
    fitted = fit_ngrams(corpus, config_of(ngrams=2, **settings))
    assert fitted.model.weights.shape == (len(fitted.model.table), outputs)
    assert fitted.regularization.strength in fit.STRENGTHS
    assert accuracy(fitted, corpus) > 0.95


def test_two_outputs_say_what_one_says():
    corpus = corpus_of()
    one = fit_ngrams(corpus, config_of(ngrams=2), Regularization(30.0, 1.0)).valid_logits[:, 0]
    two = fit_ngrams(
        corpus, config_of(ngrams=2, loss="cross_entropy"), Regularization(30.0, 1.0)
    ).valid_logits
    assert two[:, 1] - two[:, 0] == pytest.approx(one, abs=1e-5)


def test_ratios_by_hand():
    held = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], dtype=float)
    ratio = log_count_ratio(sparse.csr_array(held), np.array([True, False, False]))
    # One added to each: the class has 2, 1, 2 of 5; the others 2, 3, 2 of 7.
    assert ratio == pytest.approx(np.log([(2 / 5) / (2 / 7), (1 / 5) / (3 / 7), (2 / 5) / (2 / 7)]))


def test_texts_of_a_group_and_class_count_as_the_root_of_their_number():
    held = sparse.csr_array(np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=float))
    positive = np.array([True, True, True, False])
    ratio = log_count_ratio(held, positive, np.array([7, 7, 5, 7]))
    # Of the class, group 7 has the first twice and each group the second once.
    first, second = 1 + np.sqrt(2), 1 + 1 + 1
    assert ratio == pytest.approx(np.log(np.array([first, second]) / (first + second) / (2 / 4)))
    alone = log_count_ratio(held, positive, np.arange(4))
    assert alone == pytest.approx(log_count_ratio(held, positive))


def test_what_stands_in_many_texts_of_one_group_weighs_less(tmp_path, monkeypatch):
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    corpus, config = corpus_of(), config_of(ngrams=1)
    train = corpus.splits["train"]

    def weights(groups):
        splits = {**corpus.splits, "train": replace(train, groups=groups)}
        held = Regularization(10.0, 1.0)
        return load_ngrams(replace(corpus, splits=splits), config, regularization=held).model

    # "fine" tells of a good film, but in the second case only of one.
    holds_fine = np.array(
        [5 in train.tokens[a:b] for a, b in zip(train.offsets, train.offsets[1:], strict=False)]
    )
    apart = np.arange(len(train))
    together = np.where(holds_fine, 0, apart)
    by_groups = [weights(groups).weights[:, 0] for groups in (None, apart, together)]
    good, bad, fine = 2, 3, 5
    assert by_groups[0] == pytest.approx(by_groups[1])
    assert by_groups[0][fine] > 0.95 * by_groups[0][good]
    assert 0 < by_groups[2][fine] < 0.9 * by_groups[2][good]
    assert by_groups[2][bad] < 0


def test_without_ratios_it_is_logistic_regression(monkeypatch):
    monkeypatch.setattr(fit, "_ITERATIONS", 2_000)
    corpus = corpus_of()
    fitted = fit_ngrams(
        corpus, config_of(ngrams=1, ngram_weighting="none"), Regularization(10.0, 0.0)
    )
    train = corpus.splits["train"]
    _, features = count_ngrams(train, 1, 1, 8)
    model = LogisticRegression(C=10.0, tol=1e-9, max_iter=5_000)
    # scikit-learn regularizes the sum of the losses, so its C is the same strength.
    model.fit(sparse.diags_array(1 / root_counts(features)) @ features, train.labels)
    assert fitted.model.weights[:, 0] == pytest.approx(model.coef_[0], abs=0.02)


def test_weak_regularization_fits_train_better():
    corpus = corpus_of()
    train = corpus.splits["train"]

    def loss(strength):
        model = fit_ngrams(corpus, config_of(ngrams=2), Regularization(strength, 1.0)).model
        margins = np.where(train.labels == 1, 1, -1) * model.logits(train)[:, 0]
        return np.logaddexp(0, -margins).mean()

    assert loss(1000.0) < loss(10.0) < np.log(2)


def test_the_cache_gives_what_was_fitted(tmp_path, monkeypatch):
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    corpus, config = corpus_of(), config_of(ngrams=2)
    said = []
    first = load_ngrams(corpus, config, said.append)
    second = load_ngrams(corpus, config, said.append)
    assert said == ["counting and weighing n-grams of up to 2 words"]
    assert isinstance(second, FittedNgrams)
    assert first.regularization == second.regularization
    assert np.array_equal(first.valid_logits, second.valid_logits)
    valid = corpus.splits["valid"]
    assert np.array_equal(second.model.logits(valid), second.valid_logits)
    other = replace(corpus, dataset_fingerprint="1" * 64)
    load_ngrams(other, config, said.append)
    assert len(said) == 2


def test_only_what_changes_the_branch_changes_its_key():
    key = ngram_key(config_of(ngrams=2))
    assert ngram_key(config_of()) is None
    assert ngram_key(config_of(ngrams=2, hidden_dim=4, max_length=7, seed=9)) == key
    others = [
        {"ngrams": 3},
        {"ngram_min_count": 4},
        {"ngram_weighting": "none"},
        {"vocabulary_size": 5},
        {"lowercase": False},
        {"loss": "cross_entropy"},
    ]
    keys = {ngram_key(config_of(**{"ngrams": 2, **other})) for other in others}
    assert len(keys | {key}) == len(others) + 1
