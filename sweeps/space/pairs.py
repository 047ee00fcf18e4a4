"""Pairwise check of a space: each two settings that may meet in a trial make a configuration.

The settings' own checks look at two fields at a time (a momentum and its optimizer), so pairs are
enough. Of a range and of a choice of numbers the two ends represent all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from sentiment.config import Config
from sentiment.errors import InputError
from sweeps.space.dimensions import Choice, Dimension, Scalar, is_active

Dimensions = Mapping[str, Dimension]
"""Dimensions by name, parents first."""


def check_pairs(dimensions: Dimensions, fixed: Mapping[str, Scalar], source: str) -> None:
    """Build a configuration of each two settings that may meet, so that no trial fails on it.

    Raises:
        InputError: two settings exclude one another.
    """
    for settings in _pairwise(dimensions):
        try:
            Config.from_flat({**fixed, **settings})
        except InputError as error:
            raise InputError(
                f"{source}: a trial would be refused: {error}; make one depend on the other "
                "with `when`, or leave it out"
            ) from None


def _pairwise(dimensions: Dimensions) -> Iterator[dict[str, Scalar]]:
    yield _completed(dimensions, {})
    ends = {name: _ends(dimension) for name, dimension in dimensions.items()}
    for name, values in ends.items():
        for value in values:
            yield _completed(dimensions, {name: value})
    for one, other in combinations(ends, 2):
        for first in ends[one]:
            for second in ends[other]:
                yield _completed(dimensions, {one: first, other: second})


def _completed(dimensions: Dimensions, wanted: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the settings of a trial that has the wanted values, if they can meet in one."""
    wanted = dict(wanted)
    for name, dimension in reversed(list(dimensions.items())):
        if name in wanted:
            for condition in dimension.when:
                wanted.setdefault(condition.parent, condition.values[0])
    taken: dict[str, Scalar] = {}
    for name, dimension in dimensions.items():
        if is_active(dimension, taken):
            taken[name] = wanted.get(name, _ends(dimension)[0])
    return taken


def _ends(dimension: Dimension) -> tuple[Scalar, ...]:
    """Return the values that represent all of a dimension."""
    if not isinstance(dimension, Choice):
        return dimension.low, dimension.high
    numbers = [
        value
        for value in dimension.values
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    others = [value for value in dimension.values if value not in numbers]
    return (*others, min(numbers), max(numbers)) if numbers else tuple(others)
