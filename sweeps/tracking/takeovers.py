"""What a trial of a population has taken over from others, as a tag of its run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

TAKEOVERS_TAG = "sweep.takeovers"
"""JSON: a list of objects with the fields of `Takeover`."""


class Takeover(NamedTuple):
    """Weights and settings that a trial has taken over, and changed a little.

    Attributes:
        donor: number of the trial from which they are.
        examples: training examples that the trial had seen.
        settings: hyperparameters with which it continued.
        at: milliseconds since the epoch.
    """

    donor: int
    examples: int
    settings: dict[str, float]
    at: int


def takeovers_tag(takeovers: Iterable[Mapping[str, Any]]) -> str:
    """Return the tag's value; further keys of the takeovers are left out."""
    return json.dumps([{name: each[name] for name in Takeover._fields} for each in takeovers])


def read_takeovers(tags: Mapping[str, str]) -> tuple[Takeover, ...]:
    """Return what the tags of a run say, in the order in which it happened."""
    return tuple(Takeover(**each) for each in json.loads(tags.get(TAKEOVERS_TAG, "[]")))
