"""Where a value lies in its distribution, as a share from 0 to 1, and back."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


def value_at(distribution: BaseDistribution, share: float) -> Any:
    """Return the value below which the given share of a distribution lies."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices[int(share * len(choices))]
        case IntDistribution(low=low, high=high, log=True):
            # Each integer has what rounds to it.
            value = round(_between(low - 0.5, high + 0.5, share, log=True))
            return min(max(value, low), high)
        case IntDistribution(low=low, high=high, step=step):
            return low + step * int(share * ((high - low) // step + 1))
        case FloatDistribution(low=low, high=high, log=log):
            return min(max(_between(low, high, share, log=log), low), high)
    raise TypeError(f"no such distribution: {distribution}")


def position_of(distribution: BaseDistribution, value: Any) -> float:
    """Return the share of a distribution that lies below a value; `value_at` undoes it.

    Raises:
        TypeError: it is not one of numbers.
    """
    match distribution:
        case IntDistribution(low=low, high=high, log=True):
            low, high, value = math.log(low - 0.5), math.log(high + 0.5), math.log(value)
        case IntDistribution(low=low, high=high, step=step):
            low, high, value = low, high + step, value + step / 2
        case FloatDistribution(low=low, high=high, log=True):
            low, high, value = math.log(low), math.log(high), math.log(value)
        case FloatDistribution(low=low, high=high):
            pass
        case _:
            raise TypeError(f"not a range: {distribution}")
    return float((value - low) / (high - low)) if high > low else 0.0


def _between(low: float, high: float, share: float, *, log: bool) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), share, log=False))
    return low + share * (high - low)
