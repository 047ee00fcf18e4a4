"""A histogram of durations that can be added to others and kept as JSON."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BOUNDS = tuple(
    float(f"{digit}e{exponent}") for exponent in range(-4, 1) for digit in (1, 1.5, 2, 3, 5, 7)
)
"""Upper ends of the intervals, in seconds: six a decade from 0.1 ms to 7 s, and the rest."""


@dataclass
class LatencyHistogram:
    """How many durations fell into each interval, and their sum.

    Attributes:
        counts: of each interval of `BOUNDS`, then of what is longer.
        total: seconds of all together.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(self.counts)

    def observe(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def median(self) -> float:
        """Return the median in seconds, interpolated within its interval; NaN of none.

        Of what is longer than the last bound, that bound is returned.
        """
        rank, below = self.count / 2, 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                if index == len(BOUNDS):
                    return BOUNDS[-1]
                start = BOUNDS[index - 1] if index else 0.0
                return start + (BOUNDS[index] - start) * (rank - below) / count
            below += count
        return math.nan

    def __add__(self, other: LatencyHistogram) -> LatencyHistogram:
        """Return the histogram of both."""
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return LatencyHistogram(counts, self.total + other.total)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON: the sum, and the counts that are not zero by the interval's end."""
        ends = [*map(repr, BOUNDS), "inf"]
        counts = {end: count for end, count in zip(ends, self.counts, strict=True) if count}
        return {"sum": round(self.total, 6), "counts": counts}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> LatencyHistogram:
        """Read what `plain` returned.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        histogram = cls(total=amount(plain["sum"]))
        for end, count in plain["counts"].items():
            index = len(BOUNDS) if end == "inf" else BOUNDS.index(float(end))
            histogram.counts[index] = whole(count)
        return histogram


def whole(value: Any) -> int:
    """Return a count.

    Raises:
        ValueError: it is no integer from 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"no count: {str(value)[:40]!r}")
    return value


def amount(value: Any) -> float:
    """Return a sum of numbers from 0.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"no sum: {str(value)[:40]!r}")
    return float(value)
