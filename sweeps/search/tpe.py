"""TPE as a sweep uses it: an evenly spread start, then gains weighed by what trials cost."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import default_gamma
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.search.positions import value_at
from sweeps.search.trial_attributes import FIXED
from sweeps.space.space import SearchSpace

Cost = Callable[[Mapping[str, Any]], float]
"""What a trial costs by its settings, in any unit; it has defaults for settings that it misses."""

# Ended trials before the model of the objective is trusted: about one a dimension.
STARTUP_TRIALS = 12


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
        self._group_decomposed_search_space = _OnceRead()
        # Of ended trials, by their ids.
        self._internal: dict[int, dict[str, float]] = {}
        self._ranks: dict[int, tuple[float, ...]] = {}
        # What the groups of dimensions of one suggestion share.
        self._divided: tuple[list[FrozenTrial], list[FrozenTrial]] | None = None

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

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values of all dimensions that ended trials tell of, as Optuna does."""
        self._divided = None
        return super().sample_relative(study, trial, search_space)

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values of a group of dimensions, as Optuna does; an ended trial is ranked once.

        After some hundreds of trials ranking them anew for each group took a third of a suggestion.
        """
        if len(study.directions) > 1:
            return super()._sample(study, trial, search_space)
        good, rest = self._divided = self._divided or self._divide(study, trial)
        density = self._build_parzen_estimator(study, search_space, good, handle_below=True)
        background = self._build_parzen_estimator(study, search_space, rest, handle_below=False)
        candidates = density.sample(self._rng.rng, self._n_ei_candidates)
        gains = self._compute_acquisition_func(candidates, density, background)
        chosen = self._compare(candidates, gains)
        return {
            name: distribution.to_external_repr(chosen[name])
            for name, distribution in search_space.items()
        }

    def _divide(
        self, study: Study, trial: FrozenTrial
    ) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return the best of the other trials, and those that are left, with the running ones."""
        ended: list[FrozenTrial] = []
        running: list[FrozenTrial] = []
        for each in study.get_trials(deepcopy=False):
            if each.state in (TrialState.COMPLETE, TrialState.PRUNED):
                ended.append(each)
            elif each.state == TrialState.RUNNING and each.number != trial.number:
                running.append(each)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        for each in ended:
            if each._trial_id not in self._ranks:
                self._ranks[each._trial_id] = _rank(each, sign)
        ended.sort(key=lambda each: self._ranks[each._trial_id])
        count = default_gamma(len(ended))
        good, rest = ended[:count], ended[count:] + running
        by_number = attrgetter("number")
        return sorted(good, key=by_number), sorted(rest, key=by_number)

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, np.ndarray]:
        """Return (trials,) values of each dimension, as Optuna does; an ended trial is read once.

        After some hundreds of trials this took a third of a suggestion.
        """
        rows = []
        for trial in trials:
            row = self._internal.get(trial._trial_id)
            if row is None:
                params = self._get_params(trial, study)
                row = {
                    name: self._distributions[name].to_internal_repr(value)
                    for name, value in params.items()
                    if name in self._distributions
                }
                if trial.state.is_finished():
                    self._internal[trial._trial_id] = row
            if search_space.keys() <= row.keys():
                rows.append([row[name] for name in search_space])
        columns = np.array(rows, dtype=float).reshape(-1, len(search_space)).T
        return dict(zip(search_space, columns, strict=True))

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


class _OnceRead(_GroupDecomposedSearchSpace):
    """The groups of dimensions that trials have in common, each combination read once.

    Optuna's own goes through all dimensions of all trials at each suggestion.
    """

    def __init__(self) -> None:
        super().__init__(include_pruned=True)
        self._combinations: set[frozenset[str]] = set()

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        for trial in study._get_trials(deepcopy=False, states=states, use_cache=use_cache):
            names = frozenset(trial.distributions)
            if names not in self._combinations:
                self._combinations.add(names)
                self._search_space.add_distributions(trial.distributions)
        return copy.deepcopy(self._search_space)


def _rank(trial: FrozenTrial, sign: float) -> tuple[float, ...]:
    """Return what orders ended trials, the best first.

    Completed ones go by their value, then the pruned ones: who got further is before, and then
    whose last value is better. Behind all are those that exceed a limit, by what they do so.

    Args:
        trial: completed or pruned.
        sign: of values, so that less is better.
    """
    excess = sum(max(0.0, value) for value in trial.constraints.values())
    if excess > 0:
        return (2.0, excess)
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return (0.0, sign * trial.value)
    if not trial.intermediate_values:
        return (1.0, 1.0, 0.0)
    step = max(trial.intermediate_values)
    value = sign * trial.intermediate_values[step]
    return (1.0, -step, math.inf if math.isnan(value) else value)


@cache
def _latin_hypercube(dimensions: int, seed: int, block: int) -> np.ndarray:
    """Return (trials, dimensions) numbers from 0 to 1, the columns hardly correlated."""
    from scipy.stats import qmc  # takes a second to import, which a page of help need not wait for

    seeds = np.random.SeedSequence((seed, block))
    hypercube = qmc.LatinHypercube(
        dimensions, rng=np.random.default_rng(seeds), optimization="random-cd"
    )
    return hypercube.random(STARTUP_TRIALS)
