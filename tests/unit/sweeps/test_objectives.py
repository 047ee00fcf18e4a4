"""Several objectives: how they are read, what limits allow, and which points are on a front."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.errors import InputError
from sweeps.objectives import (
    Limit,
    Objectives,
    cost_text,
    dominates,
    excess,
    is_within,
    pareto_front,
)

TWO = ["valid/accuracy", "latency", "parameters"]


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("latency=5ms", 5.0),
        ("latency=0.5s", 500.0),
        ("latency=800us", 0.8),
        ("parameters=2M", 2e6),
        ("parameters=1.5e3k", 1.5e6),
        ("parameters=2000000", 2e6),
        ("seconds=30s", 30.0),
        ("seconds=2m", 120.0),
        ("seconds=90", 90.0),
    ],
)
def test_a_limit_has_the_unit_of_its_metric(text: str, most: float) -> None:
    limit = Limit.parse(text)
    assert limit.most == pytest.approx(most)
    assert str(limit) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency=5", "give a number above 0 with us or ms or s, as in latency=5ms"),
        ("latency=5min", "as in latency=5ms"),
        ("latency=0ms", "give a number above 0"),
        ("latency=-5ms", "as in latency=5ms"),
        ("latency=", "as in latency=5ms"),
        ("parameters=2ms", "as in parameters=2M"),
        ("seconds=soon", "as in seconds=30s"),
        ("latency", "write it as latency=5ms"),
        ("latncy=5ms", "did you mean latency"),
        ("valid/accuracy=0.9", "valid/accuracy is what is chosen by, and has no limit"),
    ],
)
def test_a_wrong_limit_is_reported_in_a_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--limit {text}: .*{message}") as raised:
        Limit.parse(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("names", "limits", "message"),
    [
        (["accuracy"], [], "did you mean valid/accuracy"),
        (["latency"], [], "the first objective is what trials are compared by"),
        (["valid/f1", "valid/loss"], [], "after the first there are latency"),
        (["valid/f1", "latency", "latency"], [], "--objective latency: it is given twice"),
        (["valid/f1"], ["seconds=3s"], "seconds is no objective of the sweep; add --objective"),
        (TWO, ["latency=5ms", "latency=6ms"], "latency has a limit already"),
    ],
)
def test_objectives_that_do_not_go_together_are_refused(
    names: list[str], limits: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Objectives.parse(names, limits)


def test_a_run_keeps_them_as_parameters() -> None:
    objectives = Objectives.parse(TWO, ["latency=5ms", "parameters=2M"])
    parameters = {"objective": objectives.first, **objectives.as_parameters()}
    assert parameters == {
        "objective": "valid/accuracy",
        "further_objectives": "latency parameters",
        "limits": "latency=5ms parameters=2M",
    }
    assert Objectives.of_run(parameters) == objectives
    assert str(objectives) == "valid/accuracy, latency and parameters"


def test_one_objective_has_no_further_parameters() -> None:
    assert Objectives("valid/loss").as_parameters() == {}
    assert Objectives.of_run({"objective": "valid/loss"}) == Objectives("valid/loss")


def test_limits_are_kept_up_to_their_value() -> None:
    limits = Objectives.parse(TWO, ["latency=5ms", "parameters=1k"]).limits
    at, beyond = ({"latency/single_text_ms": 5.0, "parameters/total": n} for n in (1000, 1500))
    assert is_within(at, limits) and excess(at, limits) == 0
    assert not is_within(beyond, limits)
    assert excess(beyond, limits) == pytest.approx(0.5)
    assert not is_within({"parameters/total": 10}, limits)
    assert excess({"parameters/total": 10}, limits) == math.inf


def test_of_each_objective_the_best_is_the_greatest_of_a_point() -> None:
    metrics = {"best/valid/loss": 0.4, "latency/single_text_ms": 3.0, "seconds/total": 9.0}
    objectives = Objectives("valid/loss", ("latency", "seconds"))
    assert objectives.point(metrics) == (-0.4, -3.0, -9.0)
    assert Objectives("valid/loss", ("parameters",)).point(metrics) is None
    assert Objectives("valid/accuracy").point(metrics) is None


def test_costs_have_their_unit() -> None:
    texts = [cost_text("latency", 4.812), cost_text("parameters", 12e5), cost_text("seconds", 31)]
    assert texts == ["4.81 ms", "1,200,000", "31.0 s"]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_the_front_is_what_none_dominates(points: list[tuple[int, int, int]]) -> None:
    front = pareto_front(points, lambda point: point)
    assert bool(front) == bool(points)
    for point in points:
        beaten = any(dominates(other, point) for other in points)
        assert (point in front) != beaten
    for one in front:
        assert not any(dominates(one, other) for other in front)


def test_equal_points_do_not_dominate_one_another() -> None:
    assert not dominates((1, 2), (1, 2))
    assert dominates((1, 3), (1, 2))
    assert not dominates((2, 1), (1, 2))
    assert pareto_front(["a", "b"], lambda _: (1.0,)) == ["a", "b"]
    assert pareto_front(["a", "b"], lambda name: (1.0,) if name == "b" else None) == ["b"]
