"""What the user believes to be good: values or a range of a hyperparameter, and how sure that is.

learning_rate: {range: [1e-3, 5e-3], confidence: 0.9}
cell: {choice: [gru, lstm]}
dropout: {value: 0.3, confidence: 0.5}
layers: 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentiment.config import unknown_name
from sentiment.errors import InputError
from sweeps.space.dimensions import Choice, Dimension, Scalar, contains
from sweeps.space.hyperparameters import check_name, to_typed

PRIOR = "prior"
"""Key of a space file: beliefs by hyperparameter."""
CONFIDENCE = 0.75
"""How sure a belief is that does not say so."""
_KINDS = ("value", "choice", "range")


@dataclass(frozen=True)
class Belief:
    """What is believed of one hyperparameter.

    Attributes:
        values: good ones, or the two ends of a good range.
        is_range: whether they are ends.
        confidence: probability that the best value is among them, from 0 to 1.
    """

    values: tuple[Scalar, ...]
    is_range: bool = False
    confidence: float = CONFIDENCE

    def to_mapping(self) -> dict[str, Any]:
        """Return it as an entry of a file."""
        kind = "range" if self.is_range else "choice"
        return {kind: list(self.values), "confidence": self.confidence}


def parse_prior(given: Any, source: str) -> dict[str, Belief]:
    """Read beliefs; `source` opens each error message.

    Raises:
        InputError: it is something else, or a value does not fit its hyperparameter.
    """
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"{source}: write a line such as `cell: gru` for each belief")
    return {str(name): _parse_belief(str(name), entry, source) for name, entry in given.items()}


def _parse_belief(name: str, entry: Any, source: str) -> Belief:
    check_name(name, source)
    where = f"{source}: {name}"
    if not isinstance(entry, Mapping):
        return Belief((to_typed(name, entry, where),))
    for key in entry:
        if key not in (*_KINDS, "confidence"):
            known = unknown_name("key", str(key), (*_KINDS, "confidence"))
            raise InputError(f"{where}: {known}")
    kinds = [kind for kind in _KINDS if kind in entry]
    if len(kinds) != 1:
        raise InputError(f"{where}: write one of value, choice and range, not {len(kinds)} of them")
    kind, given = kinds[0], entry[kinds[0]]
    listed = [given] if kind == "value" else given
    if not isinstance(listed, list | tuple) or not listed or (kind == "range" and len(listed) != 2):
        form = "[low, high]" if kind == "range" else "a list of values"
        raise InputError(f"{where}: {kind} is {form}, not {given!r}")
    values = tuple(to_typed(name, value, where) for value in listed)
    if kind == "range" and not _ascends(values):
        raise InputError(f"{where}: a range is two numbers, the lower first, not {given!r}")
    confidence = entry.get("confidence", CONFIDENCE)
    number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if not number or not 0 <= confidence <= 1:
        raise InputError(f"{where}: confidence is a number from 0 to 1, not {confidence!r}")
    return Belief(values, kind == "range", float(confidence))


def _ascends(values: tuple[Scalar, ...]) -> bool:
    low, high = values
    return isinstance(low, int | float) and isinstance(high, int | float) and low <= high


def check_prior(
    beliefs: Mapping[str, Belief], dimensions: Mapping[str, Dimension], source: str
) -> dict[str, Belief]:
    """Check that beliefs are of what is searched.

    Raises:
        InputError: one is of something else, or outside the space.
    """
    for name, belief in beliefs.items():
        if name not in dimensions:
            raise InputError(
                f"{source}: {name} is not searched: leave it out, or give the space a choice or "
                "range of it"
            )
        dimension = dimensions[name]
        if belief.is_range and isinstance(dimension, Choice):
            raise InputError(f"{source}: {name} is a choice in the space: write choice: […]")
        for value in belief.values:
            inside = contains(dimension, value) or (
                belief.is_range
                and not isinstance(dimension, Choice)
                and isinstance(value, int | float)
                and dimension.low <= value <= dimension.high
            )
            if not inside:
                raise InputError(
                    f"{source}: {name}={value} is outside the space; change it, or widen the space"
                )
    return dict(beliefs)


def fitting_prior(
    beliefs: Mapping[str, Belief], dimensions: Mapping[str, Dimension]
) -> dict[str, Belief]:
    """Return those beliefs that still are of what is searched, as after a `--set`."""
    fits: dict[str, Belief] = {}
    for name, belief in beliefs.items():
        try:
            fits |= check_prior({name: belief}, dimensions, PRIOR)
        except InputError:
            continue
    return fits
