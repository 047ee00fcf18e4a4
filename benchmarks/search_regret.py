"""How good searches are at any time: regret, time to targets, ratios with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.replay import Replayed
from benchmarks.surrogate import Surrogate
from sweeps.search.positions import value_at
from sweeps.space.enqueued import fitting

CHANCE = 0.5
"""What a search is worth before its first evaluation: the accuracy of a coin."""
SHARES = (0.25, 0.5, 1.0)
"""The targets: what the base has after these shares of its time, the last one after all trials."""
RESAMPLES = 2_000
TIMES = 3_000
DRAWN, CLIMBED, STEPS = 20_000, 30, 40


@dataclass(frozen=True)
class Interval:
    """A mean over the seeds, with the bounds of its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What the sweeps of one arm came to.

    Attributes:
        minutes: until the last trial ended, on average.
        completed: trials that reached the full budget, on average.
        value: what the winner is worth: its accuracy on the mean of seeds.
        regret: what the best settings are worth more than the winner.
        regret_then: the regret at the time at which the arm in question had ended.
        ratios: for each of `SHARES` the time until this arm is worth as much as the base is at
            that share of its time, over that time; infinite where it never is.
        ours: the time until the arm in question is worth as much as this one in the end, over the
            time of this one.
    """

    minutes: float
    completed: float
    value: float
    regret: Interval
    regret_then: Interval
    ratios: tuple[Interval, ...]
    ours: Interval


class Clock:
    """Times at which arms are compared, and what their sweeps are worth then."""

    def __init__(self, sweeps: Mapping[str, Sequence[Replayed]]) -> None:
        """Place the times evenly on a logarithmic scale over all sweeps.

        Args:
            sweeps: by arm, the same seeds in each.
        """
        every = [each for arm in sweeps.values() for each in arm]
        first = min(each.incumbents[0][0] for each in every)
        self.seconds = np.geomspace(first, max(each.seconds for each in every), TIMES)
        self.values = {
            name: np.array([self._worth(each) for each in arm]) for name, arm in sweeps.items()
        }

    def _worth(self, replayed: Replayed) -> np.ndarray:
        since, values = zip(*replayed.incumbents, strict=True)
        known = np.array([CHANCE, *values])
        return known[np.searchsorted(since, self.seconds, side="right")]

    def index(self, seconds: float | np.ndarray) -> np.ndarray:
        """Return the place of the last time that is not later, at least the first."""
        # Means of equal times differ in their last digits.
        place = np.searchsorted(self.seconds, np.multiply(seconds, 1 + 1e-9), side="right") - 1
        return np.maximum(place, 0)

    def reach(self, means: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the seconds at which curves of (rows, times) first reach a target each."""
        there = means >= targets[:, None] - 1e-9
        return np.where(there.any(axis=1), self.seconds[there.argmax(axis=1)], math.inf)


def measure(
    sweeps: Mapping[str, Sequence[Replayed]], base: str, ours: str, best: float
) -> dict[str, Measured]:
    """Measure all arms.

    Means are over seeds; the intervals resample these, the same ones in both arms of a ratio.

    Args:
        sweeps: by arm, the same seeds in each.
        base: the arm that the ratios are to.
        ours: the arm at whose end regrets are compared.
        best: what the best settings are worth.
    """
    clock = Clock(sweeps)
    seeds = len(sweeps[base])
    random = np.random.default_rng(0)
    drawn = random.integers(seeds, size=(RESAMPLES, seeds))
    # The first row is the seeds as they are.
    counts = [np.bincount(row, minlength=seeds) for row in [np.arange(seeds), *drawn]]
    weights = np.array(counts) / seeds
    curves = {name: weights @ values for name, values in clock.values.items()}
    ends = {name: weights @ [each.seconds for each in arm] for name, arm in sweeps.items()}
    rows = np.arange(len(weights))
    spans = [share * ends[base] for share in SHARES]
    targets = [curves[base][rows, clock.index(span)] for span in spans]
    # Sweeps that take longer than the mean have ended, too.
    targets[-1] = curves[base][:, -1]
    then = clock.index(ends[ours])
    return {
        name: Measured(
            minutes=float(ends[name][0] / 60),
            completed=_completed(arm),
            value=float(curves[name][0, -1]),
            regret=_interval(best - curves[name][:, -1]),
            regret_then=_interval(best - curves[name][rows, then]),
            ratios=tuple(
                _interval(clock.reach(curves[name], target) / span)
                for target, span in zip(targets, spans, strict=True)
            ),
            ours=_interval(clock.reach(curves[ours], curves[name][:, -1]) / ends[name]),
        )
        for name, arm in sweeps.items()
    }


def best_value(surrogate: Surrogate) -> float:
    """Return what the best settings are worth: the best of many draws, improved in small steps."""
    dimensions = surrogate.space.dimensions
    distributions = surrogate.space.distributions()
    random = np.random.default_rng(0)

    def worth(points: np.ndarray) -> np.ndarray:
        settings = (
            {
                name: value_at(distribution, share)
                for (name, distribution), share in zip(distributions.items(), point, strict=True)
            }
            for point in points
        )
        return surrogate.best_accuracies([fitting(each, dimensions) for each in settings])

    points = random.random((DRAWN, len(distributions)))
    values = worth(points)
    order = np.argsort(-values)[:CLIMBED]
    points, values = points[order], values[order]
    for _ in range(STEPS):
        moved = points.copy()
        changed = random.random(points.shape) < 2 / points.shape[1]
        fresh = np.where(
            random.random(points.shape) < 0.5,
            random.random(points.shape),
            points + 0.1 * random.standard_normal(points.shape),
        )
        moved[changed] = fresh.clip(0, np.nextafter(1, 0))[changed]
        better = (found := worth(moved)) > values
        points[better], values[better] = moved[better], found[better]
    return float(values.max())


def _completed(arm: Sequence[Replayed]) -> float:
    counts = [sum(trial.outcome == "completed" for trial in each.trials) for each in arm]
    return float(np.mean(counts))


def _interval(resampled: np.ndarray) -> Interval:
    """Return an interval of values of which the first is that of the seeds as they are."""
    low, high = np.quantile(resampled[1:], [0.025, 0.975], method="nearest")
    return Interval(float(resampled[0]), float(low), float(high))
