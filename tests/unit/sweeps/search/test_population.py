"""Who takes over whose weights, and with what settings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.errors import InputError
from sweeps.config import SweepSettings
from sweeps.search.population import EXPLORED, PBT, Exploit, check_population, exploits
from sweeps.space.space import SearchSpace

SPACE = SearchSpace.load(PBT)
SETTINGS = {n: {"learning_rate": 2e-3, "dropout": 0.1 * n, "weight_decay": 1e-6} for n in range(8)}


def decide(values: dict[int, float], **changes: Any) -> dict[int, Exploit]:
    options: dict[str, Any] = {"maximize": True, "seed": 1, "turn": 1, **changes}
    return exploits(values, SETTINGS, SPACE.distributions(), **options)


def test_the_space_that_ships_searches_what_a_population_may() -> None:
    assert set(SPACE.dimensions) <= set(EXPLORED)
    check_population(SweepSettings(trials=4, scheduler=PBT), SPACE)


@pytest.mark.parametrize(
    ("changes", "space", "message"),
    [
        ({"trials": 3}, SPACE, "--trials 3 are no population: give at least 4"),
        ({"until_flat": True}, SPACE, "--until-flat don't go together"),
        ({"further_objectives": ("latency",)}, SPACE, "a further --objective don't go together"),
        (
            {},
            SearchSpace.load("cpu"),
            "so cell, layers, .* can't be searched: fix each by --set cell=…, or leave out --space",
        ),
        ({}, SPACE.fix(dict.fromkeys(SPACE.dimensions, 0.0001)), "has nothing to explore"),
        (
            {},
            SearchSpace.from_mapping({"dropout": {"choice": [0.1, 0.3]}}),
            "write dropout as a range without a condition",
        ),
    ],
)
def test_what_makes_no_population_is_refused(
    changes: dict[str, Any], space: SearchSpace, message: str
) -> None:
    settings = SweepSettings(**{"trials": 8, "scheduler": PBT, **changes})
    with pytest.raises(InputError, match=message):
        check_population(settings, space)


@given(
    values=st.dictionaries(st.integers(0, 7), st.floats(0, 1, width=16), min_size=1),
    maximize=st.booleans(),
    turn=st.integers(1, 7),
)
def test_the_weakest_quarter_takes_over_from_the_best(
    values: dict[int, float], maximize: bool, turn: int
) -> None:
    found = decide(values, maximize=maximize, turn=turn)
    assert found == decide(values, maximize=maximize, turn=turn)
    assert len(found) <= -(-len(values) // 4)
    sign = 1 if maximize else -1
    for number, exploit in found.items():
        assert sign * values[exploit.donor] > sign * values[number]
        assert exploit.donor not in found
        kept = [values[each] for each in values if each not in found]
        assert all(sign * values[number] <= sign * each for each in kept)
        for name, distribution in SPACE.distributions().items():
            assert distribution.low <= exploit.settings[name] <= distribution.high  # type: ignore[attr-defined]


def test_settings_are_explored_near_those_of_the_donor() -> None:
    values = {number: number / 10 for number in range(8)}
    ratios = set()
    for seed in range(40):
        found = decide(values, seed=seed)
        assert set(found) == {0, 1}
        for exploit in found.values():
            assert exploit.donor in (6, 7)
            assert set(exploit.settings) == set(SPACE.dimensions)
            rate = exploit.settings["learning_rate"] / SETTINGS[exploit.donor]["learning_rate"]
            ratios.add(round(rate, 6))
    assert {0.8, 1.25} < ratios
    # About a quarter are drawn anew.
    assert 10 <= len(ratios) - 2 <= 32


def test_equals_and_a_population_of_one_take_over_nothing() -> None:
    assert decide(dict.fromkeys(range(8), 0.5)) == {}
    assert decide({3: 0.5}) == {}
    assert len(decide({3: 0.5, 4: 0.6})) == 1
