"""Population based training: who takes over whose weights after a turn, and with what settings.

All trials of a search are one population (Jaderberg et al., 2017, arXiv:1711.09846). After each
turn, the same number of training examples for all, the weakest quarter continue from the weights of
the best quarter, and explore settings near those of the trial that they copy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from sentiment.errors import InputError
from sweeps.config import SweepSettings
from sweeps.search.positions import value_at
from sweeps.space.dimensions import FloatRange
from sweeps.space.space import SearchSpace

PBT = "pbt"
"""The scheduler's name, and that of the space that ships for it."""
EXPLORED = (
    "learning_rate",
    "weight_decay",
    "dropout",
    "embedding_dropout",
    "layer_dropout",
    "head_dropout",
)
"""Hyperparameters that may change while a model is trained: no weights depend on them."""
LEAST_TRIALS = 4
QUANTILE = 0.25
"""Share of the population that copies, and that is copied."""
FACTORS = (0.8, 1.25)
RESAMPLED = 0.25
"""A hyperparameter is multiplied by one of the factors, or drawn anew with this probability."""


@dataclass(frozen=True)
class Exploit:
    """A trial that continues from another's weights.

    Attributes:
        donor: number of the trial whose weights and settings it takes over.
        settings: what it explores, of `EXPLORED`.
    """

    donor: int
    settings: dict[str, float]


def check_population(settings: SweepSettings, space: SearchSpace) -> None:
    """Check that the trials of a sweep can be a population.

    Raises:
        InputError: they can't; the message says what to change.
    """
    if settings.trials < LEAST_TRIALS:
        raise InputError(
            f"--scheduler {PBT}: --trials {settings.trials} are no population: give at least "
            f"{LEAST_TRIALS}"
        )
    for flag, given in (
        ("a further --objective", settings.further_objectives),
        ("--until-flat", settings.until_flat),
    ):
        if given:
            raise InputError(
                f"--scheduler {PBT} and {flag} don't go together: leave one of them out"
            )
    others = [name for name in space.dimensions if name not in EXPLORED]
    if others:
        raise InputError(
            f"--scheduler {PBT} copies weights from trial to trial, so {', '.join(others)} can't "
            f"be searched: fix each by --set {others[0]}=…, or leave out --space"
        )
    for name, dimension in space.dimensions.items():
        if not isinstance(dimension, FloatRange) or dimension.when:
            raise InputError(
                f"--scheduler {PBT} multiplies what it explores: write {name} as a range without a "
                f"condition, such as {name}: {{float: [1e-4, 1e-1], log: true}}"
            )
    if not space.dimensions:
        raise InputError(
            f"--scheduler {PBT} has nothing to explore: search {', '.join(EXPLORED[:3])} or "
            "another dropout"
        )


def exploits(
    values: Mapping[int, float],
    settings: Mapping[int, Mapping[str, Any]],
    distributions: Mapping[str, BaseDistribution],
    *,
    maximize: bool,
    seed: int,
    turn: int,
) -> dict[int, Exploit]:
    """Decide who takes over whose weights; the same for the same arguments.

    Args:
        values: the objective at the end of the turn, by the trial's number.
        settings: of each trial, as it was trained in this turn.
        distributions: of the hyperparameters that are explored.
        maximize: whether more is better.
        seed: of the search.
        turn: which turn has ended, from 1 on.

    Returns:
        By the number of the trial that copies.
    """
    sign = 1 if maximize else -1
    ranked = sorted(values, key=lambda number: (sign * values[number], -number))
    count = min(math.ceil(QUANTILE * len(ranked)), len(ranked) // 2)
    weakest, best = ranked[:count], ranked[len(ranked) - count :]
    found = {}
    for number in weakest:
        # A generator of its own, so that a decision that is made again is the same.
        random = np.random.default_rng([seed, turn, number])
        donor = best[random.integers(count)]
        if values[donor] != values[number]:
            found[number] = Exploit(donor, _explore(settings[donor], distributions, random))
    return found


def _explore(
    settings: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    random: np.random.Generator,
) -> dict[str, float]:
    explored = {}
    for name, distribution in distributions.items():
        low, high = value_at(distribution, 0.0), value_at(distribution, 1.0)
        drawn, factor = value_at(distribution, random.random()), random.choice(FACTORS)
        again = random.random() < RESAMPLED
        explored[name] = float(drawn if again else min(max(settings[name] * factor, low), high))
    return explored
