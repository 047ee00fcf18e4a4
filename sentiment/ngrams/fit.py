"""Training of the n-gram branch: a convex problem, solved once and shared by all trials.

Each n-gram has its naive-Bayes log-count ratio r: the log of its share among the n-grams of a
class over that among all others, one added to each count (Wang and Manning 2012, "Baselines and
bigrams"). Where texts are in groups, such as those on one film, the texts of a group and class that
hold it count as the square root of their number: a name that stands in many reviews of one film
says little of other films. Its feature is |r| where a text holds it, over the square root of the
text's number of n-grams (Li et al. 2016, arXiv:1512.08183). The weight of a feature is pulled
towards the sign of r, or a share of it, in place of zero. With the whole sign the branch is naive
Bayes without any training, which is too sure of itself on texts of new films or of many classes:
validation chooses.

Shapes: n texts, G n-grams, K outputs: 1 for two classes under one logit, else one a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import load_file, save_file
from scipy import sparse
from scipy.special import expit, log_expit
from threadpoolctl import threadpool_limits

from sentiment.config import Config, fingerprint
from sentiment.data.corpus import Corpus, text_key
from sentiment.data.vocabulary import build_vocabulary
from sentiment.io.cache import cached
from sentiment.ngrams.blend import Blend, log_probabilities
from sentiment.ngrams.model import NgramModel, root_counts
from sentiment.ngrams.table import count_ngrams

STRENGTHS = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Inverse strengths of the regularization that validation chooses from."""
PRIORS: tuple[float, ...] = (1.0, 0.5)
PRIORS_OF_MORE: tuple[float, ...] = (0.5, 0.0)
"""Shares of naive Bayes that weights are pulled to: with two classes, and with more."""

SMALL = 10_000
"""Texts of train below which n-grams of a single text count too, where none is set."""

# Part of the fingerprint: raise it when the files or their meaning change.
_FORMAT = 3
_ITERATIONS = 60
_SETTINGS = ("vocabulary_size", "min_count", "ngrams", "ngram_min_count", "ngram_weighting")


class Regularization(NamedTuple):
    """How the weights are held back.

    Attributes:
        strength: inverse strength.
        prior: share of naive Bayes that they are pulled to.
    """

    strength: float
    prior: float


@dataclass(frozen=True)
class FittedNgrams:
    """An n-gram branch of one data set.

    Attributes:
        model: the weights, trained on train.
        regularization: what validation chose.
        valid_logits: float32 (n, K) of the validation split; None where there is none.
        blend: how the branch is blended with the RNN where there is no validation split.
    """

    model: NgramModel
    regularization: Regularization
    valid_logits: np.ndarray | None = None
    blend: Blend | None = None


def ngram_key(config: Config) -> str | None:
    """Return the fingerprint of the settings that the branch depends on; None without a branch."""
    if not config.model.ngrams:
        return None
    settings = {name: value for name, value in config.flat().items() if name in _SETTINGS}
    return fingerprint([text_key(config.text), config.model.loss == "cross_entropy", settings])


def outputs(config: Config, classes: int) -> int:
    """Return K, the number of logits of a model."""
    return 1 if classes == 2 and config.model.is_binary(classes) else classes


def load_ngrams(
    corpus: Corpus,
    config: Config,
    progress: Callable[[str], None] | None = None,
    regularization: Regularization | None = None,
) -> FittedNgrams:
    """Return the branch of a data set, from the cache or counted and trained now.

    Args:
        corpus: the encoded splits; train is read, and valid if it is there.
        config: with `ngrams` above 0.
        progress: receives a line when work begins.
        regularization: as in `fit_ngrams`.
    """
    trained_on = [len(corpus.splits["train"]), "valid" in corpus.splits]
    groups = corpus.splits["train"].groups
    named = [] if groups is None else [groups.tolist()]
    key = fingerprint(
        [_FORMAT, corpus.dataset_fingerprint, trained_on, ngram_key(config), regularization, *named]
    )

    def build(folder: Path) -> None:
        if progress:
            progress(f"counting and weighing n-grams of up to {config.model.ngrams} words")
        fitted = fit_ngrams(corpus, config, regularization)
        save_file(fitted.model.tensors(), folder / "ngrams.safetensors")
        np.save(folder / "regularization.npy", np.array(fitted.regularization))
        if fitted.valid_logits is not None:
            np.save(folder / "valid_logits.npy", fitted.valid_logits)

    folder = cached("ngrams", key, build)
    classes = len(corpus.label_names)
    model = NgramModel.from_tensors(
        load_file(folder / "ngrams.safetensors"),
        config.model.ngrams,
        _known(corpus, config),
        outputs(config, classes),
    )
    chosen = Regularization(*np.load(folder / "regularization.npy", allow_pickle=False).tolist())
    logits = folder / "valid_logits.npy"
    if not logits.exists():
        return FittedNgrams(model, chosen)
    return FittedNgrams(model, chosen, np.load(logits, allow_pickle=False))


# L-BFGS makes thousands of small products, in which the threads of a BLAS wait longer than they
# work.
@threadpool_limits.wrap(limits=1, user_api="blas")
def fit_ngrams(
    corpus: Corpus, config: Config, regularization: Regularization | None = None
) -> FittedNgrams:
    """Count the n-grams of train and train their weights.

    Args:
        corpus: the encoded splits; train is read, and valid if it is there.
        config: with `ngrams` above 0.
        regularization: None: of `STRENGTHS` and `PRIORS` what has the least cross-entropy on
            validation.
    """
    train = corpus.splits["train"]
    settings = config.model
    least = settings.ngram_min_count or (1 if len(train) < SMALL else 2)
    table, features = count_ngrams(train, settings.ngrams, least, _known(corpus, config))
    classes = len(corpus.label_names)
    targets = [1] if classes == 2 else range(classes)
    problems = [
        _Problem.of(
            features,
            train.labels == label,
            settings.ngram_weighting == "naive_bayes",
            train.groups,
        )
        for label in targets
    ]

    def solve(each: Regularization) -> NgramModel:
        columns = [problem.solve(each) for problem in problems]
        weights = np.stack([weight for weight, _ in columns], axis=1)
        bias = np.array([bias for _, bias in columns])
        if classes == 2 and outputs(config, classes) == 2:
            weights, bias = weights * [[-0.5, 0.5]], np.concatenate([-bias, bias]) / 2
        return NgramModel(table, weights.astype(np.float32), bias.astype(np.float32))

    valid = corpus.splits.get("valid")
    if valid is None:
        if regularization is None:
            raise ValueError("without a validation split the regularization must be given")
        return FittedNgrams(solve(regularization), regularization)
    held_back = table.features(valid)
    best: tuple[float, FittedNgrams] | None = None
    priors = PRIORS if classes == 2 else PRIORS_OF_MORE
    if settings.ngram_weighting == "none":
        priors = (0.0,)  # there is no naive Bayes to pull to
    every = [Regularization(strength, prior) for prior in priors for strength in STRENGTHS]
    for each in every if regularization is None else (regularization,):
        model = solve(each)
        logits = model.logits_of(held_back)
        loss = -log_probabilities(logits)[np.arange(len(valid)), valid.labels].mean()
        if best is None or loss < best[0]:
            best = loss, FittedNgrams(model, each, logits)
    assert best is not None
    return best[1]


def _known(corpus: Corpus, config: Config) -> int:
    text = config.text
    return build_vocabulary(corpus.words, corpus.counts, text.vocabulary_size, text.min_count).size


def log_count_ratio(
    features: sparse.csr_array, positive: np.ndarray, groups: np.ndarray | None = None
) -> np.ndarray:
    """Return the naive-Bayes log-count ratio of each n-gram, float64 (G,).

    Args:
        features: (n, G), see `NgramTable.features`.
        positive: bool (n,), which texts are of the class.
        groups: int64 (n,), see `EncodedSplit`; None where each text counts as one.
    """
    of_class = 1 + _held(features, positive, groups)
    of_others = 1 + _held(features, ~positive, groups)
    return np.log(of_class / of_class.sum()) - np.log(of_others / of_others.sum())


def _held(features: sparse.csr_array, chosen: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return how many of the chosen texts hold each n-gram, float64 (G,); roots by group."""
    if groups is None:
        return features.T @ chosen.astype(np.float64)
    texts = np.flatnonzero(chosen)
    different, group = np.unique(groups[texts], return_inverse=True)
    shape = len(different), features.shape[0]
    members = sparse.csr_array((np.ones(len(texts)), (group, texts)), shape=shape)
    of_groups = members @ features
    roots = np.sqrt(of_groups.data)
    return np.bincount(of_groups.indices, weights=roots, minlength=features.shape[1])


@dataclass
class _Problem:
    """One class against the others.

    Minimizes the mean log-loss plus |v|² / (2 · strength · n) over v (G,) and a bias, where the
    logit of a text is bias + Σ scale · (prior · start + v) / √m over its m n-grams.
    """

    features: sparse.csr_array
    signs: np.ndarray
    scale: np.ndarray
    start: np.ndarray
    solution: np.ndarray
    prior: float = 1.0

    @classmethod
    def of(
        cls,
        features: sparse.csr_array,
        positive: np.ndarray,
        naive_bayes: bool,
        groups: np.ndarray | None,
    ) -> _Problem:
        signs = np.where(positive, 1.0, -1.0)
        if naive_bayes:
            ratio = log_count_ratio(features, positive, groups)
            scale, start = np.abs(ratio), np.sign(ratio)
        else:
            scale, start = np.ones(features.shape[1]), np.zeros(features.shape[1])
        return cls(features, signs, scale, start, np.zeros(features.shape[1] + 1))

    def solve(self, held: Regularization) -> tuple[np.ndarray, float]:
        """Return weights (G,) and bias; begins at the solution found before of the same prior."""
        rows, penalty = len(self.signs), 1 / (held.strength * len(self.signs))
        start = held.prior * self.start
        if held.prior != self.prior:
            self.prior, self.solution = held.prior, np.zeros_like(self.solution)
        length = root_counts(self.features)

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            change, bias = point[:-1], point[-1]
            logits = self.features @ (self.scale * (start + change)) / length + bias
            margins = self.signs * logits
            slope = -self.signs * expit(-margins) / rows
            gradient = self.scale * (self.features.T @ (slope / length)) + penalty * change
            value = -log_expit(margins).mean() + penalty / 2 * (change @ change)
            return float(value), np.append(gradient, slope.sum())

        from scipy.optimize import minimize

        found = minimize(
            loss,
            self.solution,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _ITERATIONS, "maxcor": 10},
        )
        self.solution = found.x
        return self.scale * (start + found.x[:-1]), float(found.x[-1])
