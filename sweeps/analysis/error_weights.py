"""The weights of words in a model's most confident errors, as far as they are quickly computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sentiment.inference.ensemble import TextModel, weighted_members
from sentiment.inference.explain import explain
from sentiment.inference.prediction import TokenWeight

WORK = 1e10
"""Multiplications of forward passes that weights may cost: about a second on one core."""

_INTERVALS = 2
_PASSES = 4 * _INTERVALS
# A token's element-wise operations cost as much as so many weights.
_PER_TOKEN = 40_000


def error_weights(bundle: TextModel, texts: Sequence[str]) -> list[tuple[TokenWeight, ...]]:
    """Return the weights of the words of the first texts; of those beyond `WORK` none.

    The integrals are coarse, with a fixed number of nodes: what is shaded by them needs no
    decimals.
    """
    longest = bundle.config.text.max_length or math.inf
    recurrent = [each.model.parameter_counts()["recurrent"] for _, each in weighted_members(bundle)]
    cost = _PASSES * sum(count + _PER_TOKEN for count in recurrent)
    work, first = 0.0, 0
    for text in texts:
        work += cost * min(len(bundle.tokenize(text)), longest)
        if work > WORK:
            break
        first += 1
    found = explain(bundle, texts[:first], tolerance=math.inf, intervals=_INTERVALS)
    return [each.tokens for each in found]
