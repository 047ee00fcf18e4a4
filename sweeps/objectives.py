"""Objectives of a search: the first, by which trials are compared, and what a model may cost.

With several a search looks for the Pareto front: the models of which no other is at least as good
by all of them and better by one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast, get_args

from sentiment.config import Objective, likeliest
from sentiment.errors import InputError
from sentiment.objective import best_key, is_minimized

FIRST: tuple[str, ...] = get_args(Objective)
"""What may be the first objective, of the best checkpoint."""
LATENCY = "latency"
PARAMETERS = "parameters"
SECONDS = "seconds"
METRICS: dict[str, str] = {
    LATENCY: "latency/single_text_ms",
    PARAMETERS: "parameters/total",
    SECONDS: "seconds/total",
}
"""Metrics of a trial's run that may be further objectives; of each the least is best."""

_UNITS: dict[str, dict[str, float]] = {
    LATENCY: {"us": 1e-3, "ms": 1.0, "s": 1e3},
    PARAMETERS: {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9},
    SECONDS: {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0},
}
_EXAMPLES = {LATENCY: "5ms", PARAMETERS: "2M", SECONDS: "30s"}
_AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?P<unit>[a-z]*)", re.IGNORECASE)
_FURTHER, _LIMITS = "further_objectives", "limits"

T = TypeVar("T")


@dataclass(frozen=True)
class Limit:
    """The most that a model may cost.

    Attributes:
        objective: one of `METRICS`.
        most: the largest value allowed, in the unit of its metric.
        text: as it was given, such as `latency=5ms`.
    """

    objective: str
    most: float
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_of_model(self) -> bool:
        """Whether it judges a model; else the training of a trial of the search."""
        return self.objective != SECONDS

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `latency=5ms`, `parameters=2M` or `seconds=30s`.

        Raises:
            InputError: the name or the amount is none.
        """
        name, equals, amount = text.partition("=")
        if name in FIRST:
            raise InputError(f"--limit {text}: {name} is what is chosen by, and has no limit")
        if name not in METRICS or not equals:
            example = "write it as latency=5ms" if not equals else likeliest(name, METRICS)
            raise InputError(f"--limit {text}: {example}")
        found = _AMOUNT.fullmatch(amount)
        factor = _UNITS[name].get(found["unit"].lower()) if found else None
        most = math.nan if found is None or factor is None else float(found["number"]) * factor
        if not 0 < most < math.inf:
            units = " or ".join(unit for unit in _UNITS[name] if unit)
            raise InputError(
                f"--limit {text}: give a number above 0 with {units}, as in "
                f"{name}={_EXAMPLES[name]}"
            )
        return cls(name, most, text)

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Return by what share of the limit metrics exceed it: 0.1 is a tenth more.

        Above 0 only beyond the limit; infinite where the metric is missing.
        """
        value = metrics.get(METRICS[self.objective])
        return math.inf if value is None else self.excess_of(value)

    def excess_of(self, value: float) -> float:
        """Return the same of a value of its objective."""
        return value / self.most - 1


@dataclass(frozen=True)
class Objectives:
    """What a search goes by.

    Attributes:
        first: what trials are compared by, and the winner is chosen by.
        further: names among `METRICS`; with any the search is for a Pareto front.
        limits: of further objectives.
    """

    first: Objective
    further: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()

    @classmethod
    def parse(cls, names: Sequence[str], limits: Iterable[str] = ()) -> Objectives:
        """Read the values of `--objective` and `--limit`, in the order in which they were given.

        Raises:
            InputError: one is unknown, given twice or in another's place.
        """
        for place, name in enumerate(names):
            if name not in FIRST and name not in METRICS:
                close = likeliest(name, (*FIRST, *METRICS))
                raise InputError(f"--objective {name}: there is no such objective; {close}")
            if name in names[:place]:
                raise InputError(f"--objective {name}: it is given twice; leave one out")
            if place == 0 and name not in FIRST:
                raise InputError(
                    f"--objective {name}: the first objective is what trials are compared by, "
                    f"one of {', '.join(FIRST)}; put it before {name}"
                )
            if place and name in FIRST:
                raise InputError(
                    f"--objective {name}: after the first there are {', '.join(METRICS)}"
                )
        further = tuple(names[1:])
        read: list[Limit] = []
        for limit in map(Limit.parse, limits):
            if limit.objective not in further:
                raise InputError(
                    f"--limit {limit}: {limit.objective} is no objective of the sweep; add "
                    f"--objective {limit.objective}"
                )
            if limit.objective in {each.objective for each in read}:
                raise InputError(f"--limit {limit}: {limit.objective} has a limit already")
            read.append(limit)
        return cls(cast(Objective, names[0]), further, tuple(read))

    @classmethod
    def of_run(cls, parameters: Mapping[str, str]) -> Objectives:
        """Read them from the parameters of a sweep's run; `as_parameters` wrote the further ones.

        Raises:
            InputError: another version wrote them.
        """
        further = parameters.get(_FURTHER, "").split()
        names = [parameters["objective"], *further]
        return cls.parse(names, parameters.get(_LIMITS, "").split())

    def as_parameters(self) -> dict[str, str]:
        """Return the further ones and their limits as parameters of a sweep's run, if any."""
        listed = {_FURTHER: self.further, _LIMITS: map(str, self.limits)}
        texts = {name: " ".join(values) for name, values in listed.items()}
        return {name: text for name, text in texts.items() if text}

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the first first."""
        return (self.first, *self.further)

    def __str__(self) -> str:
        return " and ".join(filter(None, (", ".join(self.names[:-1]), self.names[-1])))

    def costs(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the further objectives that metrics of a run hold, by their names."""
        known = {name: metrics.get(METRICS[name]) for name in self.further}
        return {name: value for name, value in known.items() if value is not None}

    def point(self, metrics: Mapping[str, float]) -> tuple[float, ...] | None:
        """Return the metrics of a run as a point: its best checkpoint, and what it costs.

        Of each the greatest is best. None where one is missing.
        """
        known = {**self.costs(metrics)}
        if best_key(self.first) in metrics:
            known[self.first] = metrics[best_key(self.first)]
        if any(name not in known for name in self.names):
            return None
        return tuple(merit(name, known[name]) for name in self.names)


def is_least_best(name: str) -> bool:
    """Whether smaller values of an objective, the first or a further one, are better."""
    return name in METRICS or is_minimized(name)


def merit(name: str, value: float) -> float:
    """Return the value of an objective, negated where the least is best."""
    return -value if is_least_best(name) else value


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether a point is at least as good as another by all, and better by one: greater is best."""
    return tuple(one) != tuple(other) and all(a >= b for a, b in zip(one, other, strict=True))


def pareto_front(items: Iterable[T], point: Callable[[T], Sequence[float] | None]) -> list[T]:
    """Return the items that none dominates, in their order; those without a point are left out."""
    placed = [(item, where) for item in items if (where := point(item)) is not None]
    return [item for item, own in placed if not any(dominates(other, own) for _, other in placed)]


def is_within(metrics: Mapping[str, float], limits: Iterable[Limit]) -> bool:
    """Whether the metrics of a run keep limits; one without the metric does not."""
    return all(limit.excess(metrics) <= 0 for limit in limits)


def excess(metrics: Mapping[str, float], limits: Iterable[Limit]) -> float:
    """Return by how much the metrics of a run exceed limits together; 0 within them."""
    return sum(max(limit.excess(metrics), 0.0) for limit in limits)


def cost_text(name: str, value: float) -> str:
    """Return a further objective's value for people: `4.8 ms`, `1,234,567`, `31.0 s`."""
    if name == LATENCY:
        return f"{value:.3g} ms"
    return f"{value:,.0f}" if name == PARAMETERS else f"{value:,.1f} s"
