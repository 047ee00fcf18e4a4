"""Optuna's samplers, as they fit a space and a sweep that a scheduler cuts short."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sentiment.config import unknown_name
from sentiment.errors import InputError
from sweeps.config import SAMPLERS
from sweeps.search.trial_attributes import FIXED
from sweeps.space.space import SearchSpace

Cost = Callable[[Mapping[str, Any]], float]
"""What a trial costs by its settings, in any unit; it has defaults for settings that it misses."""

# Ended trials before the model of the objective is trusted: about one a dimension.
STARTUP_TRIALS = 12
# A Gaussian process counts completed trials alone, of which a scheduler leaves few.
_GP_STARTUP_TRIALS = 6
# NSGA-II counts completed trials alone too; Optuna's 50 would be all of a sweep.
_POPULATION = 12


def make_sampler(
    name: str, space: SearchSpace, seed: int, drawn: int = 0, cost: Cost | None = None
) -> BaseSampler:
    """Build one of Optuna's samplers for a space.

    What a sampler suggests must follow from its seed and the study's trials alone: a resumed sweep
    and the preview of one make it anew.

    Args:
        name: one of `SAMPLERS`.
        space: what will be searched.
        seed: of the sampler's random numbers, from 0.
        drawn: trials that an interrupted start drew before. They shift the random numbers, or
            else the sampler would draw them once more.
        cost: what tpe weighs against a gain; None: all settings cost the same.

    Raises:
        InputError: there is no such sampler, or it can't search this space.
    """
    if name not in SAMPLERS:
        raise InputError(f"--sampler {name}: {unknown_name('sampler', name, SAMPLERS)}")
    shifted = int(np.random.SeedSequence((seed, drawn)).generate_state(1)[0]) if drawn else seed
    joint = _jointly_searched(name, space)
    if name == "nsga2" and space.prior:
        raise InputError(
            "--sampler nsga2: it takes no trial that a prior steers into its population; leave the "
            "prior out, or use --sampler tpe"
        )
    if name == "cmaes" and len(joint) < 2:
        raise InputError(
            "--sampler cmaes: it needs two or more ranges without `when`, and the space has "
            f"{len(joint)}; use --sampler tpe, or turn choices of numbers into ranges"
        )
    if name == "gp" and not joint:
        raise InputError("--sampler gp: the space has nothing to search; use --sampler random")
    with warnings.catch_warnings():
        # Optuna calls group and consider_pruned_trials experimental; we pin its major version.
        warnings.simplefilter("ignore", ExperimentalWarning)
        match name:
            case "tpe":
                return CostAwareTPESampler(space, seed, shifted, cost)
            case "gp":
                return _JointGP(joint, shifted)
            case "cmaes":
                return _JointCmaEs(joint, shifted)
            case "random":
                return RandomSampler(seed=shifted)
            case "nsga2":
                return NSGAIISampler(population_size=_POPULATION, seed=shifted)
    raise NotImplementedError(f"SAMPLERS has {name}, and make_sampler no case of it")


class CostAwareTPESampler(TPESampler):
    """TPE whose start is spread evenly, and which weighs a trial's cost against its gain.

    Each dozen of the start is a Latin hypercube (McKay, Beckman and Conover, 1979): every choice
    is taken as often as the others and every twelfth of a range once. In a dozen drawn by chance
    alone the one good choice may stand beside settings under which nothing learns, each time; a
    model that has seen so does not come back to it.

    Of its candidates TPE takes the one with the largest ratio of densities l(x) / g(x), here with
    the largest l(x) / g(x) / cost(x). By the first alone a search goes for the largest models,
    which take six times the time for a tenth of a point. To divide what is expected of a trial by
    what it costs is of Snoek, Larochelle and Adams (2012, section 3.2).
    """

    def __init__(self, space: SearchSpace, start_seed: int, seed: int, cost: Cost | None) -> None:
        """Make the sampler.

        Args:
            space: what will be searched.
            start_seed: of the first trials, the same before and after an interruption.
            seed: of all else that is random.
            cost: of a trial's settings.
        """
        super().__init__(
            seed=seed,
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            group=True,  # conditional dimensions are modelled too
            constant_liar=True,  # parallel trials keep away from one another
        )
        self._names = tuple(space.dimensions)
        self._start_seed = start_seed
        self._fixed = space.fixed
        self._distributions = space.distributions()
        self._cost = cost

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value of a Latin hypercube for the first trials, then Optuna's own."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if len(ended) >= STARTUP_TRIALS:
            return super().sample_independent(study, trial, param_name, param_distribution)
        # What was enqueued takes no row of a design.
        before = study.get_trials(deepcopy=False)[: trial.number]
        drawn = trial.number - sum(FIXED in each.system_attrs for each in before)
        block, row = divmod(drawn, STARTUP_TRIALS)
        design = _latin_hypercube(len(self._names), self._start_seed, block)
        share = float(design[row, self._names.index(param_name)])
        return value_at(param_distribution, share)

    def _compute_acquisition_func(
        self,
        samples: dict[str, np.ndarray],
        mpe_below: _ParzenEstimator,
        mpe_above: _ParzenEstimator,
    ) -> np.ndarray:
        gain = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        if self._cost is None:
            return gain
        candidates = (
            {
                name: self._distributions[name].to_external_repr(value)
                for name, value in zip(samples, values, strict=True)
            }
            for values in zip(*samples.values(), strict=True)
        )
        costs = [self._cost({**self._fixed, **candidate}) for candidate in candidates]
        return gain - np.log(costs)


@cache
def _latin_hypercube(dimensions: int, seed: int, block: int) -> np.ndarray:
    """Return (trials, dimensions) numbers from 0 to 1, the columns hardly correlated."""
    from scipy.stats import qmc  # takes a second to import, which a page of help need not wait for

    seeds = np.random.SeedSequence((seed, block))
    hypercube = qmc.LatinHypercube(
        dimensions, rng=np.random.default_rng(seeds), optimization="random-cd"
    )
    return hypercube.random(STARTUP_TRIALS)


def value_at(distribution: BaseDistribution, share: float) -> Any:
    """Return the value below which the given share of a distribution lies."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices[int(share * len(choices))]
        case IntDistribution(low=low, high=high, log=True):
            # Each integer has what rounds to it.
            value = round(_between(low - 0.5, high + 0.5, share, log=True))
            return min(max(value, low), high)
        case IntDistribution(low=low, high=high, step=step):
            return low + step * int(share * ((high - low) // step + 1))
        case FloatDistribution(low=low, high=high, log=log):
            return min(max(_between(low, high, share, log=log), low), high)
    raise TypeError(f"no such distribution: {distribution}")


def position_of(distribution: BaseDistribution, value: Any) -> float:
    """Return the share of a distribution that lies below a value; `value_at` undoes it.

    Raises:
        TypeError: it is not one of numbers.
    """
    match distribution:
        case IntDistribution(low=low, high=high, log=True):
            low, high, value = math.log(low - 0.5), math.log(high + 0.5), math.log(value)
        case IntDistribution(low=low, high=high, step=step):
            low, high, value = low, high + step, value + step / 2
        case FloatDistribution(low=low, high=high, log=True):
            low, high, value = math.log(low), math.log(high), math.log(value)
        case FloatDistribution(low=low, high=high):
            pass
        case _:
            raise TypeError(f"not a range: {distribution}")
    return float((value - low) / (high - low)) if high > low else 0.0


def _between(low: float, high: float, share: float, *, log: bool) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), share, log=False))
    return low + share * (high - low)


class _FixedSearchSpace(BaseSampler):
    """The dimensions that a sampler models, the same for all trials.

    Optuna takes what the completed trials so far have in common, which after the first few may
    hold a conditional dimension by accident, and at whose change CMA-ES fails or gives up.
    """

    _joint: dict[str, BaseDistribution]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._joint


class _JointGP(_FixedSearchSpace, GPSampler):
    """A Gaussian process over the dimensions that all trials have."""

    def __init__(self, joint: dict[str, BaseDistribution], seed: int) -> None:
        super().__init__(
            seed=seed, n_startup_trials=_GP_STARTUP_TRIALS, warn_independent_sampling=False
        )
        self._joint = joint


class _JointCmaEs(_FixedSearchSpace, CmaEsSampler):
    """CMA-ES over the ranges that all trials have."""

    def __init__(self, joint: dict[str, BaseDistribution], seed: int) -> None:
        # Under a scheduler few trials complete, too few for a generation.
        super().__init__(seed=seed, consider_pruned_trials=True, warn_independent_sampling=False)
        self._joint = joint


def sampler_note(name: str, space: SearchSpace) -> str | None:
    """Return a note on what a sampler can't do with a space; None if there is nothing."""
    if name == "nsga2":
        return (
            f"nsga2 learns from trials that reach the full budget alone, in generations of "
            f"{_POPULATION}"
        )
    if name not in ("gp", "cmaes"):
        return None
    joint = _jointly_searched(name, space)
    rest = [each for each in space.dimensions if each not in joint]
    notes = [f"draws {', '.join(rest)} at random"] if rest else []
    if name == "gp":
        notes.append("learns from trials that reach the full budget alone")
    return f"{name} {' and '.join(notes)}" if notes else None


def _jointly_searched(name: str, space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return what gp models (all that is unconditional) or cmaes (the ranges among that)."""
    return {
        each: distribution
        for each, distribution in space.distributions().items()
        if not space.dimensions[each].when
        and not distribution.single()
        and (name == "gp" or not isinstance(distribution, CategoricalDistribution))
    }
