"""A surrogate of training: learning curve and times of any settings, from recorded ones.

Gaussian processes over the settings give the mean curve, on the logit scale at the recorded
evaluations, and the logarithms of the times. What a seed adds to the curve is what two recorded
trainings of one configuration differ by, of like settings and level, over the whole curve.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from benchmarks.recorded_curves import Recorded, Training
from sentiment.errors import InputError
from sweeps.search.positions import position_of
from sweeps.space.space import SearchSpace

INACTIVE = -0.25
"""Where a hyperparameter lies that its condition leaves out; values lie from 0 to 1."""
LIKE = 15
"""Pairs of trainings, the nearest by settings and level, of which one gives a trial its noise."""
FAILED = 0.5
"""Logits at the end by which one of two seeds is behind that has failed: what it lacks takes away
from a trial, and adds to none."""
LEVEL_WIDTH = 0.1
"""Logits at the end that count as far apart as settings a width of the kernel apart."""
FOLDS = 10
CLIMB_STEPS = 40
LEAST = 20
"""Configurations that a surrogate needs."""


@dataclass(frozen=True)
class Expected:
    """What the training of some settings is expected to give and to take.

    Attributes:
        inputs: the settings, encoded.
        examples: at which evaluations were recorded, from the first on.
        logits: of the mean accuracy at these.
        example_seconds: of training on one example.
        evaluation_seconds: of one evaluation.
        start_seconds: before the first example.
    """

    inputs: np.ndarray
    examples: np.ndarray
    logits: np.ndarray
    example_seconds: float
    evaluation_seconds: float
    start_seconds: float

    def accuracy(self, examples: float, noise: np.ndarray | float = 0.0) -> float:
        """Return the accuracy after so many examples, between evaluations by a straight line."""
        return float(np.interp(examples, self.examples, sigmoid(self.logits + noise)))


@dataclass(frozen=True)
class Quality:
    """How well configurations are predicted from the others, in ten parts of all.

    Attributes:
        configurations: how many.
        spearman: rank correlation of accuracy at the end of the budget.
        spearman_top: the same among the better half.
        error: mean absolute error of that accuracy.
        seed_error: what one seed's accuracy there differs from the mean of seeds by, on average.
        seconds_r2: share of the variance of the logarithm of the seconds that is explained.
    """

    configurations: int
    spearman: float
    spearman_top: float
    error: float
    seed_error: float
    seconds_r2: float


class Surrogate:
    """Learning curves and times of the settings of one space."""

    def __init__(
        self,
        recorded: Recorded,
        trainings: Sequence[Training],
        noise: Sequence[Training] = (),
        noisy: bool = True,
    ) -> None:
        """Fit it.

        Args:
            recorded: what the trainings share.
            trainings: those that did not reach the full budget are left out.
            noise: trainings on other data, whose seeds differ in place of these where they are of
                one seed each.
            noisy: whether seeds differ at all.

        Raises:
            InputError: there are too few trainings, or they are of another space.
        """
        self.recorded = recorded
        self.space = SearchSpace.load(recorded.space)
        whole = _whole(trainings)
        runs = _by_settings(whole)
        if len(runs) < LEAST:
            raise InputError(f"{recorded.dataset}: {len(runs)} recorded configurations are too few")
        for first, *_ in runs:
            if self.space.locate(first.settings) is None:
                raise InputError(
                    f"{recorded.dataset}: configuration {first.number} is not of the space "
                    f"{recorded.space} as it is now: record others by benchmarks.search_curves"
                )
        self.examples = np.array([at for at, _, _ in runs[0][0].curve], dtype=float)
        self._distributions = self.space.distributions()
        self._inputs = np.array([self.encode(each[0].settings) for each in runs])
        self._logits = np.array([_level(each) for each in runs])
        self._times = np.array(
            [np.mean([_log_times(one) for one in each], axis=0) for each in runs]
        )
        self._start = float(np.median([one.start_seconds for one in whole]))
        self._curve_model = _fitted(self._inputs, self._logits)
        self._time_model = _fitted(self._inputs, self._times)
        pairs = [each for each in runs if len(each) > 1]
        if len(pairs) < LIKE:
            pairs = [each for each in _by_settings(_whole(noise)) if len(each) > 1]
        if not noisy:
            pairs = []
        differences = [_logits(a) - _logits(b) for a, b, *_ in pairs]
        self._pairs = np.array(differences).reshape(-1, len(self.examples))
        self._levels = np.array([_level(each)[-1] for each in pairs])
        self._pair_inputs = np.array([self.encode(each[0].settings) for each in pairs])

    def encode(self, settings: Mapping[str, Any]) -> list[float]:
        """Return settings as numbers from 0 to 1: a column each, one for every choice of names."""
        row: list[float] = []
        for name, distribution in self._distributions.items():
            value = settings.get(name)
            if not isinstance(distribution, CategoricalDistribution):
                row.append(INACTIVE if value is None else position_of(distribution, value))
                continue
            choices = distribution.choices
            if not all(type(each) in (int, float) for each in choices):
                row += [float(value == each) for each in choices]
            else:
                row.append(INACTIVE if value is None else choices.index(value) / (len(choices) - 1))
        return row

    def expect(self, settings: Mapping[str, Any]) -> Expected:
        """Return what a training is expected to give and to take."""
        row = np.array([self.encode(settings)])
        example, evaluation = np.exp(_predict(self._time_model, row)[0])
        logits = _predict(self._curve_model, row)[0]
        times = (float(example), float(evaluation), self._start)
        return Expected(row[0], self.examples, logits, *times)

    def best_accuracies(self, settings: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the best value of each mean curve."""
        rows = np.array([self.encode(each) for each in settings])
        return sigmoid(_predict(self._curve_model, rows)).max(axis=1)

    def noise(self, expected: Expected, random: np.random.Generator) -> np.ndarray:
        """Draw what a seed adds to the logits of a curve."""
        if not len(self._pairs):
            return np.zeros(len(self.examples))
        # Some settings are unsteady where others of the same level are not.
        widths = self._curve_model.kernel_.k1.k2.length_scale
        apart = (((self._pair_inputs - expected.inputs) / widths) ** 2).sum(axis=1)
        apart += ((self._levels - expected.logits[-1]) / LEVEL_WIDTH) ** 2
        near = np.argsort(apart, kind="stable")[:LIKE]
        difference, sign = self._pairs[random.choice(near)], random.choice([-1.0, 1.0])
        if abs(difference[-1]) > FAILED:
            return np.zeros_like(difference) if sign > 0 else -difference * np.sign(difference[-1])
        # The difference of two seeds varies twice as much as one of them.
        return difference * sign / np.sqrt(2)

    def quality(self) -> Quality:
        """Predict each configuration from those of the other nine parts."""
        logits, times = np.zeros_like(self._logits), np.zeros_like(self._times)
        for rest, part in KFold(FOLDS, shuffle=True, random_state=0).split(self._inputs):
            known = self._inputs[rest]
            logits[part] = _predict(_fitted(known, self._logits[rest]), self._inputs[part])
            times[part] = _predict(_fitted(known, self._times[rest]), self._inputs[part])
        seen, said = sigmoid(self._logits[:, -1]), sigmoid(logits[:, -1])
        top = seen >= np.median(seen)
        moved = sigmoid(self._levels + self._pairs[:, -1] / np.sqrt(2)) - sigmoid(self._levels)
        seconds = self._times[:, 0]
        return Quality(
            configurations=len(seen),
            spearman=float(spearmanr(seen, said)[0]),
            spearman_top=float(spearmanr(seen[top], said[top])[0]),
            error=float(np.abs(seen - said).mean()),
            seed_error=float(np.abs(moved).mean()) if len(moved) else 0.0,
            seconds_r2=float(1 - ((seconds - times[:, 0]) ** 2).mean() / seconds.var()),
        )


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits."""
    return 1 / (1 + np.exp(-logits))


def _whole(trainings: Sequence[Training]) -> list[Training]:
    """Return the trainings with as many evaluations as the longest has."""
    most = max((len(each.curve) for each in trainings), default=0)
    return [each for each in trainings if len(each.curve) == most > 0]


def _by_settings(trainings: Sequence[Training]) -> list[list[Training]]:
    runs: dict[int, list[Training]] = defaultdict(list)
    for each in sorted(trainings, key=lambda one: (one.number, one.seed)):
        runs[each.number].append(each)
    return list(runs.values())


def _level(runs: Sequence[Training]) -> np.ndarray:
    """Return the mean of a configuration's curves, without seeds that have failed."""
    logits = np.array([_logits(one) for one in runs])
    steady: np.ndarray = logits[logits[:, -1] >= logits[:, -1].max() - FAILED].mean(axis=0)
    return steady


def _logits(training: Training) -> np.ndarray:
    values = np.array([value for _, value, _ in training.curve]).clip(0.001, 0.999)
    logits: np.ndarray = np.log(values / (1 - values))
    return logits


def _log_times(training: Training) -> np.ndarray:
    """Return the logarithms of the seconds a training example and an evaluation."""
    examples, _, seconds = training.curve[-1]
    evaluation = max(training.evaluation_seconds, 1e-3)
    # The recorded times of both include noise, so that little may be left for the training.
    trained = max(seconds - len(training.curve) * evaluation, 0.1 * seconds)
    return np.log([trained / examples, evaluation])


def _fitted(inputs: np.ndarray, outputs: np.ndarray) -> GaussianProcessRegressor:
    widths = np.ones(inputs.shape[1])
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(widths, (1e-1, 1e2), nu=2.5)
    model = GaussianProcessRegressor(
        kernel + WhiteKernel(0.1, (1e-4, 1.0)), normalize_y=True, optimizer=_climb
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        # A hyperparameter without any effect has a width at its bound.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(inputs, outputs)


def _climb(loss: Any, start: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the kernel's logarithms after so many steps that more change next to nothing."""
    found = minimize(loss, start, jac=True, bounds=bounds, options={"maxiter": CLIMB_STEPS})
    return found.x, float(found.fun)


def _predict(model: GaussianProcessRegressor, inputs: np.ndarray) -> np.ndarray:
    """Return (rows, outputs) means, without the checks that take most of `predict`'s time."""
    normed = model.kernel_.k1(inputs, model.X_train_) @ model.alpha_
    means: np.ndarray = normed * model._y_train_std + model._y_train_mean
    return means
