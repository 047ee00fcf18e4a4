"""A sampler that is steered by what the user believes to be good, and forgets it where it is wrong.

In the first third of a sweep every other trial takes the hyperparameters of which something is
believed from there, and the rest from the sampler, whose model learns from them like from all
others. Like the decaying prior of piBO (Hvarfner et al., 2022, arXiv:2204.11051) it costs a bounded
number of trials; like PriorBand (Mallik et al., 2023, arXiv:2306.12370) it is weighed by what its
trials reach: where the best of them is worse than half of the others, no further trial takes it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.search.positions import position_of, value_at
from sweeps.search.trial_attributes import FIXED, TRIAL_NUMBER, curve, evaluations_of
from sweeps.space.prior import Belief

FROM_PRIOR = "from_prior"
"""System attribute of a trial that takes what is believed."""
LEAST = 3
"""Trials of each sort with a value before beliefs are judged."""
SPREAD = 0.1
"""Standard deviation around a single value of a range, as a share of the range."""


def guided_trials(trials: int) -> int:
    """Return in how many of a sweep's first trials beliefs count."""
    return -(-trials // 3)


class PriorSampler(BaseSampler):
    """Puts beliefs before another sampler."""

    def __init__(
        self, inner: BaseSampler, beliefs: Mapping[str, Belief], seed: int, guided: int
    ) -> None:
        """Make the sampler.

        Args:
            inner: asked for everything that beliefs don't decide.
            beliefs: by hyperparameter.
            seed: of what is drawn; the same trial draws the same at any start.
            guided: first trials of the search in which beliefs count.
        """
        self._inner = inner
        self._beliefs = dict(beliefs)
        self._seed = seed
        self._guided = guided

    def reseed_rng(self) -> None:
        """Reseed the other sampler; beliefs are drawn by the trial's number."""
        self._inner.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what is drawn together: nothing in a trial that takes what is believed."""
        number = _number(study, trial)
        if number < self._guided and number % 2 == 0 and not is_refuted(study):
            study._storage.set_trial_system_attr(trial._trial_id, FROM_PRIOR, number)
            return {}
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Let the other sampler draw what it draws together."""
        return self._inner.sample_relative(study, trial, search_space) if search_space else {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a value from what is believed, or the other sampler's."""
        number = study._storage.get_trial_system_attrs(trial._trial_id).get(FROM_PRIOR)
        belief = self._beliefs.get(param_name)
        if number is None or belief is None:
            return self._inner.sample_independent(study, trial, param_name, param_distribution)
        place = list(self._beliefs).index(param_name)
        random = np.random.default_rng((self._seed, number, place))
        return draw(belief, param_distribution, random)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Tell the other sampler."""
        self._inner.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the other sampler."""
        self._inner.after_trial(study, trial, state, values)


def draw(belief: Belief, distribution: BaseDistribution, random: np.random.Generator) -> Any:
    """Return a value: with the belief's confidence a good one, else any."""
    sure, share = random.random(2)
    if sure >= belief.confidence:
        return value_at(distribution, share)
    if isinstance(distribution, CategoricalDistribution):
        return belief.values[int(share * len(belief.values))]
    if belief.is_range:
        low, high = (position_of(distribution, value) for value in belief.values)
        return value_at(distribution, low + share * (high - low))
    chosen = belief.values[int(share * len(belief.values))]
    place = position_of(distribution, chosen) + SPREAD * random.standard_normal()
    return value_at(distribution, min(max(place, 0.0), np.nextafter(1.0, 0.0)))


def is_refuted(study: Study) -> bool:
    """Whether the best trial from beliefs is worse than half of the others, at the same step."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    first = study.metric_names[0] if study.metric_names else ""
    curves = [
        (FROM_PRIOR in each.system_attrs, curve(evaluations_of(each, first), first))
        for each in trials
    ]
    known = [(believed, reached) for believed, reached in curves if reached]
    if not known:
        return False
    step = min(max(reached) for _, reached in known)
    sign = -1 if study.directions[0] == StudyDirection.MINIMIZE else 1
    values: dict[bool, list[float]] = {True: [], False: []}
    for believed, reached in known:
        last = max((each for each in reached if each <= step), default=None)
        if last is not None:
            values[believed].append(sign * reached[last])
    if min(map(len, values.values())) < LEAST:
        return False
    return max(values[True]) < statistics.median(values[False])


def _number(study: Study, trial: FrozenTrial) -> int:
    """Return the trial's number among those of the search that were not enqueued."""
    before = study.get_trials(deepcopy=False)[: trial.number]
    own = [each for each in before if TRIAL_NUMBER in each.user_attrs]
    return sum(FIXED not in each.system_attrs for each in own)
