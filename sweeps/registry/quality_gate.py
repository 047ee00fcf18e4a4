"""The quality gate: may a candidate become the champion?

Both are scored in float32 on the same texts: the test split of the candidate's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sentiment.inference.metrics import Scores, score
from sweeps.analysis.significance import mcnemar, p_value_text

TOLERANCE = 1e-3
"""By how much a metric may differ from the recorded one: other kernels round otherwise, and
flip a review or two near the threshold."""
SIGNIFICANCE = 0.05
"""The p value below which a gain counts as significant."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Requirements:
    """What a candidate must reach on the test split.

    Attributes:
        min_accuracy: least accuracy, a share from 0 to 1; None for no floor.
        min_gain: least accuracy that it must have above the champion's.
        significant: refuse a gain that may well be chance.
    """

    min_accuracy: float | None = None
    min_gain: float = 0.0
    significant: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        candidate: its scores on the test split.
        champion: the same of the present champion; None if there is none.
        p_value: of McNemar's exact test that both err alike; None without a champion.
        refusals: why the candidate is refused; empty if it passes.
    """

    candidate: Scores
    champion: Scores | None
    p_value: float | None
    refusals: tuple[str, ...]

    @property
    def gain(self) -> float | None:
        """The candidate's accuracy less the champion's."""
        return None if self.champion is None else self.candidate.accuracy - self.champion.accuracy

    def figures(self) -> dict[str, float]:
        """Return the metrics that a promotion records."""
        figures = self.candidate.metrics("test")
        if self.champion is not None and self.p_value is not None:
            champion = self.champion.metrics("test")
            figures |= {f"champion/{name}": value for name, value in champion.items()}
            figures["p_value"] = self.p_value
        return figures


def judge(
    candidate: np.ndarray,
    champion: np.ndarray | None,
    labels: np.ndarray,
    *,
    recorded: Mapping[str, float],
    requirements: Requirements = Requirements(),
) -> Verdict:
    """Score the predictions of a candidate and the champion on the same texts, and compare.

    Args:
        candidate: log probabilities (n, C) of the model that would become champion.
        champion: the same of the present one, for the same labels; None if there is none.
        labels: (n,) of the texts.
        recorded: the candidate's recorded metrics, such as `test/accuracy`.
        requirements: what the candidate must reach.
    """
    scores = score(candidate, labels)
    refusals = [
        f"{name} is {value:.4f} here, but {recorded[name]:.4f} was recorded"
        for name, value in scores.metrics("test").items()
        if name in recorded and not abs(value - recorded[name]) <= TOLERANCE
    ]
    floor = requirements.min_accuracy
    # Accuracies are shares of a count: one of just the floor must not fail by rounding.
    if floor is not None and not scores.accuracy >= floor - _ROUNDING:
        refusals.append(f"its accuracy is {scores.accuracy:.4f}, less than {floor:.4f}")
    if champion is None:
        return Verdict(scores, None, None, tuple(refusals))
    verdict = Verdict(
        scores,
        score(champion, labels),
        mcnemar(candidate.argmax(1) == labels, champion.argmax(1) == labels),
        (),
    )
    gain, p_value = verdict.gain, verdict.p_value
    assert gain is not None and p_value is not None
    min_gain = requirements.min_gain
    if not gain >= min_gain - _ROUNDING:
        refusals.append(
            f"its gain over the champion is {gain:+.4f}, less than {min_gain:+.4f} (--min-gain)"
        )
    if requirements.significant and not (gain > 0 and p_value < SIGNIFICANCE):
        refusals.append(
            f"its gain of {gain:+.4f} may be chance ({p_value_text(p_value, named=True)})"
        )
    return Verdict(scores, verdict.champion, p_value, tuple(refusals))
