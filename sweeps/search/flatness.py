"""Whether a search is flat: as many trials again would gain less than the noise of validation.

What more trials gain is taken from those that there are, by what the best of all is better than the
best of a half of them. That half is the first, since a sampler learns; and any, on average over all
halves, since one lucky trial among the first says little of those to come (the expected validation
performance of Dodge et al., 2019, "Show your work", arXiv:1909.03004, without replacement). The
greater of the two counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sentiment.config import Objective
from sentiment.objective import merit
from sentiment.wording import counted
from sweeps.search.tpe import STARTUP_TRIALS

LEAST_TRIALS = 3 * STARTUP_TRIALS
"""Trials before a search may be flat: those of the start, and twice as many by what they taught."""
SHARE_OF_ERROR = 0.25
"""Of the standard error of an accuracy: models are compared on the same texts, which tells smaller
differences apart than an accuracy alone.

Chosen with `LEAST_TRIALS` on four recorded searches (docs/decisions/0034-flat-searches.md).
"""
SHARE_OF_LOSS = 0.01
"""Of the best loss, whose standard error is not known."""

GAIN, NOISE = "sweep/flat_gain", "sweep/flat_noise"
"""Metrics of the run of a sweep that was flat; their step is the trials that had ended."""


@dataclass(frozen=True)
class Flatness:
    """What half of a search's trials have gained, and what counts as a gain.

    Attributes:
        objective: what is compared.
        trials: that have a value.
        gain: of the best of all over the best of half of them.
        noise: the least that counts.
    """

    objective: Objective
    trials: int
    gain: float
    noise: float

    @property
    def is_flat(self) -> bool:
        """Whether as many trials again are not expected to gain anything that counts."""
        return self.trials >= LEAST_TRIALS and self.gain < self.noise

    def sentence(self, asked: int) -> str:
        """Return what ended the search, for people.

        Args:
            asked: trials that the search was to have at most.
        """
        return (
            f"The search was flat after {self.trials} of {counted(asked, 'trial')}: the second "
            f"half of them gained {self.gain:.4f} {self.objective}, less than the "
            f"{self.noise:.4f} that validation can tell."
        )


@dataclass(frozen=True)
class FlatnessRule:
    """Judges a search by its trials' best values.

    Attributes:
        objective: what they are of.
        texts: of the validation split.
    """

    objective: Objective
    texts: int

    def judge(self, values: Sequence[float]) -> Flatness:
        """Return how flat a search is whose trials had these best values, in their order."""
        merits = [merit(self.objective, value) for value in values]
        half, best = len(merits) // 2, max(merits, default=0.0)
        if half < 1:
            return Flatness(self.objective, len(merits), math.inf, 0.0)
        gain = best - min(max(merits[:half]), expected_best(sorted(merits), half))
        return Flatness(self.objective, len(merits), gain, self._noise(abs(best)))

    def _noise(self, best: float) -> float:
        if self.objective == "valid/loss":
            return SHARE_OF_LOSS * best
        return SHARE_OF_ERROR * math.sqrt(best * (1 - best) / self.texts)


def expected_best(values: Sequence[float], count: int) -> float:
    """Return the mean of the greatest of `count` of the values over all choices of them.

    Args:
        values: ascending.
        count: from 1 to as many as there are.
    """
    total = math.comb(len(values), count)
    return sum(
        value * (math.comb(place, count - 1) / total)
        for place, value in enumerate(values)
        if place >= count - 1
    )
