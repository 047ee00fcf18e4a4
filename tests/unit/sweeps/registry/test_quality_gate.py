from __future__ import annotations

from winners import Registry

from sentiment.inference.bundle import Bundle
from sweeps.registry.quality_gate import Requirements, judge


def test_gain_that_may_be_chance(registry: Registry) -> None:
    split = registry.reviews[1].splits["test"]
    better = Bundle.load(registry.better).log_probabilities(split.texts)
    verdict = judge(better, better, split.labels, recorded={})
    assert verdict.refusals == ()
    assert verdict.gain == 0
    significant = Requirements(significant=True)
    verdict = judge(better, better, split.labels, recorded={}, requirements=significant)
    assert verdict.refusals == ("its gain of +0.0000 may be chance (p = 1.000)",)
