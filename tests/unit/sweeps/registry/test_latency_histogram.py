"""A histogram of durations: what it counts, its median, and its form as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from sweeps.registry.latency_histogram import BOUNDS, LatencyHistogram


def of(*seconds: float) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for each in seconds:
        histogram.observe(each)
    return histogram


def test_durations_fall_into_their_intervals() -> None:
    histogram = of(0.0, 0.001, 0.0011, 60.0)
    counted = {index: n for index, n in enumerate(histogram.counts) if n}
    assert counted == {0: 1, BOUNDS.index(0.001): 1, BOUNDS.index(0.0015): 1, len(BOUNDS): 1}
    assert histogram.count == 4
    assert histogram.total == pytest.approx(60.0021)


@pytest.mark.parametrize(
    ("seconds", "median"),
    [
        ([0.0025] * 4, 0.0025),  # halfway between the ends, 2 ms and 3 ms
        ([0.0025, 0.0025, 0.04, 0.04], 0.003),
        ([0.00015], 0.000125),
        ([100.0], BOUNDS[-1]),
    ],
)
def test_median(seconds: list[float], median: float) -> None:
    assert of(*seconds).median() == pytest.approx(median)


def test_median_of_none() -> None:
    assert math.isnan(LatencyHistogram().median())


def test_sum_and_json() -> None:
    both = of(0.0025, 9.0) + of(0.0025)
    assert json.loads(json.dumps(both.plain())) == {
        "sum": 9.005,
        "counts": {"0.003": 2, "inf": 1},
    }
    assert LatencyHistogram.of_plain(both.plain()).counts == both.counts


@pytest.mark.parametrize(
    "plain",
    [
        {"counts": {}},
        {"sum": -1.0, "counts": {}},
        {"sum": math.inf, "counts": {}},
        {"sum": "1", "counts": {}},
        {"sum": 1.0, "counts": {"0.0033": 1}},
        {"sum": 1.0, "counts": {"0.003": -1}},
        {"sum": 1.0, "counts": {"0.003": True}},
    ],
)
def test_what_is_no_histogram(plain: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        LatencyHistogram.of_plain(plain)
