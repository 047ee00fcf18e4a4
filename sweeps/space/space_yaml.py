"""Writer of space files: dimensions and fixed values -> YAML that reads as an equal space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from sentiment.io.yaml_numbers import NumberDumper
from sweeps.space.dimensions import Choice, Dimension, FloatRange, IntRange, Scalar


def to_mapping(dimensions: Mapping[str, Dimension], fixed: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return a space as the contents of a space file without `base`."""
    return {name: _entry(each) for name, each in dimensions.items()} | dict(fixed)


def dump(mapping: Mapping[str, Any]) -> str:
    """Return the contents of a space file as YAML."""
    return yaml.dump(
        dict(mapping),
        Dumper=_SpaceDumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=100,
    )


def _entry(dimension: Dimension) -> dict[str, Any]:
    """Return a dimension as its entry in a space file."""
    match dimension:
        case Choice(values):
            entry: dict[str, Any] = {"choice": list(values)}
        case IntRange(low, high, log, step):
            entry = {"int": [low, high]} | ({"log": True} if log else {})
            entry |= {"step": step} if step != 1 else {}
        case FloatRange(low, high, log):
            entry = {"float": [low, high]} | ({"log": True} if log else {})
    if dimension.when:
        entry["when"] = {each.parent: list(each.values) for each in dimension.when}
    return entry


class _SpaceDumper(NumberDumper):
    """Dumper that writes a list out each time it occurs, without anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
