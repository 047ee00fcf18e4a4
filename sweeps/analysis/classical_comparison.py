"""The registered model against the classical baseline, on the same texts of the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sweeps.analysis.significance import Paired, p_value_text

NB_LOGISTIC = "nb-logistic"
"""Key of the baseline: naive-Bayes n-grams with logistic regression."""

_ACCURACY, _DIFFERENCE, _P_VALUE = (
    "baseline/test_accuracy",
    "baseline/difference",
    "baseline/p_value",
)


@dataclass(frozen=True)
class ClassicalComparison:
    """What a minute of classical learning reaches, and what the registered model adds.

    Attributes:
        accuracy: of the baseline on the test split.
        difference: the registered model's accuracy less the baseline's.
        p_value: of McNemar's exact test that both err alike.
    """

    accuracy: float
    difference: float
    p_value: float

    @classmethod
    def of(cls, paired: Paired) -> Self:
        """Compare by the hits of the registered model, the first, and of the baseline."""
        right = paired.both + paired.only_second
        return cls(right / paired.count, paired.difference, paired.p_value())

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float]) -> Self | None:
        """Read what `metrics` gave from a sweep's run; None if it has none."""
        if _P_VALUE not in metrics:
            return None
        return cls(metrics[_ACCURACY], metrics[_DIFFERENCE], metrics[_P_VALUE])

    def metrics(self) -> dict[str, float]:
        """Return what the sweep's run records."""
        return {_ACCURACY: self.accuracy, _DIFFERENCE: self.difference, _P_VALUE: self.p_value}

    def sentence(self) -> str:
        """Return whether the registered model is better, by how much, and how sure that is."""
        points = f"{abs(self.difference) * 100:.2f} points"
        sure = f"McNemar's {p_value_text(self.p_value, named=True)}"
        if self.difference > 0:
            what = f"the registered model is better by {points} ({sure})"
        elif self.difference < 0:
            what = f"the registered model is NOT better: {points} less ({sure})"
        else:
            what = "the registered model is NOT better: the same accuracy"
        return f"Classical baseline, {NB_LOGISTIC}: test accuracy {self.accuracy:.4f}; {what}."
