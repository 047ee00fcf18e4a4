"""Counts of a shadow: tags that servers write beside each other, and what promote shows of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from winners import Registry

from sweeps.registry.latency_histogram import LatencyHistogram
from sweeps.registry.shadow_counts import (
    MAX_TAGS,
    TAG,
    ShadowCounts,
    new_tag,
    read_shadow_counts,
    shadow_lines,
    write_shadow_counts,
)


def counts(day: int = 21, champion: str = "sentiment/1", **changed: Any) -> ShadowCounts:
    """Return the counts of one day."""
    champion_seconds, shadow_seconds = LatencyHistogram(), LatencyHistogram()
    for _ in range(2):
        champion_seconds.observe(0.0025)
        shadow_seconds.observe(0.025)
    given: dict[str, Any] = {
        "since": f"2026-11-{day:02d}T08:00:00+00:00",
        "until": f"2026-11-{day:02d}T20:00:00+00:00",
        "requests": 2,
        "texts": 2060,
        "agreed": 2023,
        "difference": 41.2,
        "champion_seconds": champion_seconds,
        "shadow_seconds": shadow_seconds,
    }
    return ShadowCounts(champion, **(given | changed))


def test_the_tags_of_several_servers_are_added_up() -> None:
    tags = {
        "dataset": "x",
        f"{TAG}b": counts(22, errors=1).to_json(),
        f"{TAG}a": counts(21, dropped=40).to_json(),
        f"{TAG}c": counts(23, "sentiment/0").to_json(),
    }
    latest, both = read_shadow_counts(tags).counts
    assert latest == counts(23, "sentiment/0")
    assert (both.since, both.until) == ("2026-11-21T08:00:00+00:00", "2026-11-22T20:00:00+00:00")
    assert (both.requests, both.texts, both.agreed) == (4, 4120, 4046)
    assert both.difference == pytest.approx(82.4)
    assert (both.errors, both.dropped) == (1, 40)
    assert (both.champion_seconds.count, both.shadow_seconds.count) == (4, 4)
    assert shadow_lines(tags)[1] == (
        "shadow: agreed with sentiment/1 on 98.2% of 4,120 texts served since 2026-11-21 08:00 "
        "UTC, mean difference of the probability 0.0200, median latency 25 ms (champion 2.5 ms); "
        "1 error; 40 texts dropped"
    )


def test_what_was_no_shadow_has_no_line() -> None:
    assert shadow_lines({"dataset": "x"}) == []


def test_all_but_one_is_not_all() -> None:
    assert "99.9% of 10,000 texts" in counts(texts=10_000, agreed=9_999).sentence()
    assert "100.0% of 10,000 texts" in counts(texts=10_000, agreed=10_000).sentence()


def test_a_shadow_that_never_answered() -> None:
    lost = ShadowCounts("sentiment/1", "x", "y", errors=2)
    assert lost.sentence() == "no text compared with sentiment/1 yet; 2 errors"


@pytest.mark.parametrize(
    "changed",
    [
        "torn",
        [],
        {"champion": 1},
        {"champion": "\x1b[2J"},
        {"texts": -1},
        {"texts": "many"},
        {"agreed": 5000},
        {"difference": float("nan")},
        {"shadow_seconds": []},
        {"shadow_seconds": {"sum": 1, "counts": []}},
    ],
)
def test_a_tag_that_holds_something_else_is_passed_over(changed: Any) -> None:
    value = json.dumps(
        json.loads(counts().to_json()) | changed if isinstance(changed, dict) else changed
    )
    tags = {f"{TAG}a": value, f"{TAG}b": counts().to_json()}
    record = read_shadow_counts(tags)
    assert (record.counts, record.unreadable) == ([counts()], [f"{TAG}a"])
    assert shadow_lines(tags)[1] == f"note: passed over what is no counts: {TAG}a"


def test_only_the_latest_tags_stay(registry: Registry) -> None:
    registry.win(registry.better, "one")
    client = registry.client

    def tags() -> dict[str, str]:
        found: dict[str, str] = client.get_model_version("sentiment", "1").tags
        return {key: value for key, value in found.items() if key.startswith(TAG)}

    names = [f"{TAG}{number:08x}" for number in range(MAX_TAGS)]
    for day, name in enumerate(names):
        client.set_model_version_tag("sentiment", "1", name, counts(day).to_json())
    # A tag that is there already grows in place.
    write_shadow_counts(client, "sentiment", "1", names[0], counts(40))
    assert sorted(tags()) == names
    own = new_tag()
    write_shadow_counts(client, "sentiment", "1", own, counts(41))
    assert sorted(tags()) == sorted([*names[:1], *names[2:], own])
    assert ShadowCounts.from_json(tags()[own]) == counts(41)
