"""TPE as a sweep uses it: an evenly spread start, then gains weighed by what trials cost."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
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
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


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
        self._internal = _InternalValues(self._distributions)
        self._ranked: list[tuple[tuple[float, ...], int, int]] = []  # rank, number and id, sorted
        self._has_rank: set[int] = set()
        # What the groups of dimensions of one suggestion share, by that trial's number.
        self._divided: tuple[int, list[FrozenTrial], list[FrozenTrial]] | None = None

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value of a Latin hypercube for the first trials, then Optuna's own."""
        ended = study.get_trials(deepcopy=False, states=_ENDED)
        if len(ended) >= STARTUP_TRIALS:
            return super().sample_independent(study, trial, param_name, param_distribution)
        # What was enqueued takes no row of a design.
        before = study.get_trials(deepcopy=False)[: trial.number]
        drawn = trial.number - sum(FIXED in each.system_attrs for each in before)
        block, row = divmod(drawn, STARTUP_TRIALS)
        design = _latin_hypercube(len(self._names), self._start_seed, block)
        share = float(design[row, self._names.index(param_name)])
        return value_at(param_distribution, share)

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values of a group of dimensions, as Optuna does; an ended trial is ranked once.

        After some hundreds of trials ranking them anew for each group took a third of a suggestion.
        """
        if len(study.directions) > 1:
            return super()._sample(study, trial, search_space)
        if self._divided is None or self._divided[0] != trial.number:
            self._divided = (trial.number, *self._divide(study, trial))
        _, good, rest = self._divided
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
        trials = study.get_trials(deepcopy=False)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        for each in trials:
            if each.state in _ENDED and each._trial_id not in self._has_rank:
                self._has_rank.add(each._trial_id)
                insort(self._ranked, (_rank(each, sign), each.number, each._trial_id))
        count = default_gamma(len(self._ranked))
        best = {trial_id for _, _, trial_id in self._ranked[:count]}
        others = [
            each
            for each in trials
            if each.state in _ENDED
            or (each.state == TrialState.RUNNING and each.number != trial.number)
        ]
        good = [each for each in others if each._trial_id in best]
        return good, [each for each in others if each._trial_id not in best]

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, np.ndarray]:
        """Return (trials,) values of each dimension, as Optuna does; an ended trial is read once.

        After some hundreds of trials this took a third of a suggestion.
        """
        columns = self._internal.of(
            trials, lambda each: self._get_params(each, study), search_space
        )
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


class _InternalValues:
    """The values of all dimensions of trials, as Optuna's models take them."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = distributions
        self._column = {name: column for column, name in enumerate(distributions)}
        self._values = np.empty((0, len(distributions)))  # NaN: a trial has no such dimension
        self._row: dict[int, int] = {}
        self._ended: set[int] = set()

    def of(
        self,
        trials: Sequence[FrozenTrial],
        params: Callable[[FrozenTrial], Mapping[str, Any]],
        names: Collection[str],
    ) -> np.ndarray:
        """Return (dimensions, trials) values of the trials that have all the dimensions.

        Args:
            trials: ended or running.
            params: returns those of a trial.
            names: of the dimensions.
        """
        for trial in trials:
            if trial._trial_id not in self._ended:
                self._read(trial, params(trial))
        rows = self._values[[self._row[trial._trial_id] for trial in trials]]
        values = rows[:, [self._column[name] for name in names]]
        return values[~np.isnan(values).any(axis=1)].T

    def _read(self, trial: FrozenTrial, params: Mapping[str, Any]) -> None:
        row = self._row.setdefault(trial._trial_id, len(self._row))
        if row == len(self._values):
            more = np.empty((max(64, row), len(self._column)))
            self._values = np.concatenate([self._values, more])
        self._values[row] = [
            distribution.to_internal_repr(params[name]) if name in params else math.nan
            for name, distribution in self._distributions.items()
        ]
        if trial.state.is_finished():
            self._ended.add(trial._trial_id)


class _OnceRead(_GroupDecomposedSearchSpace):
    """The groups of dimensions that trials have in common, each trial read once.

    Optuna's own goes through all dimensions of all trials at each suggestion.
    """

    def __init__(self) -> None:
        super().__init__(include_pruned=True)
        self._read: set[int] = set()

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        for trial in study._get_trials(deepcopy=False, states=_ENDED, use_cache=use_cache):
            if trial._trial_id not in self._read:
                self._read.add(trial._trial_id)
                self._search_space.add_distributions(trial.distributions)
        return self._search_space


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
