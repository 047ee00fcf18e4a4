"""Two models on the same texts: is one better, and by how much?

Both answers come from the table of who is right where: only texts on which exactly one of the two
is right tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Paired:
    """How often two models were right on the same texts.

    Attributes:
        both: texts that both get right.
        only_first: texts that the first alone gets right.
        only_second: texts that the second alone gets right.
        neither: texts that both get wrong.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray) -> Self:
        """Count two models' hits, booleans (n,).

        Raises:
            ValueError: they are not of the same texts, or there are none.
        """
        if first.shape != second.shape or not first.size:
            raise ValueError(f"hits of shapes {first.shape} and {second.shape} make no pairs")
        return cls(
            both=int((first & second).sum()),
            only_first=int((first & ~second).sum()),
            only_second=int((~first & second).sum()),
            neither=int((~first & ~second).sum()),
        )

    @property
    def count(self) -> int:
        """Texts in all."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """The first model's accuracy less the second's."""
        return (self.only_first - self.only_second) / self.count

    def p_value(self) -> float:
        """Return the p value of McNemar's exact test that both err alike.

        If they do, either is as likely to be the one that is right where only one is (McNemar
        1947, Psychometrika 12, 153-157).
        """
        from scipy.stats import binomtest  # trials need not wait for it: `sweeps.pipeline.imports`

        differing = self.only_first + self.only_second
        return float(binomtest(self.only_first, differing).pvalue) if differing else 1.0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of `difference`.

        Method 10 of Newcombe (1998, Statistics in Medicine 17, 2635-2650): the Wilson intervals
        of both accuracies, put together by squares, with a term for their correlation.
        """
        first, second = self.both + self.only_first, self.both + self.only_second
        count, correlation = self.count, self._correlation()
        low, high = wilson(first, count, confidence)
        below, above = first / count - low, high - first / count
        low, high = wilson(second, count, confidence)
        below_2, above_2 = second / count - low, high - second / count

        def spread(one: float, other: float) -> float:
            return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

        return (
            self.difference - spread(below, above_2),
            self.difference + spread(above, below_2),
        )

    def _correlation(self) -> float:
        """Return the correlation of the hits, towards 0 by the paper's correction."""
        product = math.prod(
            (
                self.both + self.only_first,
                self.only_second + self.neither,
                self.both + self.only_second,
                self.only_first + self.neither,
            )
        )
        if product == 0:
            return 0.0
        covariance = float(self.both * self.neither - self.only_first * self.only_second)
        if covariance > 0:
            covariance = max(covariance - self.count / 2, 0.0)
        return covariance / math.sqrt(product)


def wilson(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share, `hits` of `count` (Wilson 1927, JASA 22, 209-212).

    Raises:
        ValueError: there is nothing to count.
    """
    from scipy.stats import binomtest

    result = binomtest(hits, count)
    low, high = result.proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p value of McNemar's exact test on two models' hits, booleans (n,)."""
    return Paired.of(first, second).p_value()


def p_value_text(p_value: float, *, named: bool = False) -> str:
    """Write a p value to three decimals, as tables do: `0.012`; below 0.001 as `< 0.001`.

    Args:
        p_value: from 0 to 1.
        named: with what it is: `p = 0.012`, `p < 0.001`.
    """
    small = p_value < 0.001
    text = "0.001" if small else f"{p_value:.3f}"
    if named:
        return f"p {'<' if small else '='} {text}"
    return f"< {text}" if small else text


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number, in the same order.

    Holm's step-down method (1979, Scandinavian Journal of Statistics 6, 65-70): calling those
    below 5% significant is wrong about any of them in at most 5% of cases.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted
