"""Optuna's samplers, as they fit a space and a sweep that a scheduler cuts short."""

from __future__ import annotations

import warnings

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from sentiment.config import unknown_name
from sentiment.errors import InputError
from sweeps.config import SAMPLERS
from sweeps.search.tpe import Cost, CostAwareTPESampler
from sweeps.space.space import SearchSpace

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
