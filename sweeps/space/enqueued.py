"""Settings that a search tries first: known good ones, of a space file, a file or a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentiment.errors import InputError
from sweeps.space.dimensions import Dimension, Scalar, contains, is_active
from sweeps.space.hyperparameters import check_name, default_of, to_typed

ENQUEUE = "enqueue"
"""Key of a space file: a list of settings."""


def parse_enqueued(given: Any, source: str) -> tuple[dict[str, Scalar], ...]:
    """Read a list of settings, or one; `source` opens each error message.

    Raises:
        InputError: it is something else, or a value does not fit its hyperparameter.
    """
    listed = [given] if isinstance(given, Mapping) else given
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise InputError(f"{source}: give a list of settings, such as - {{cell: gru, layers: 1}}")
    found = []
    for settings in listed:
        for name in settings:
            check_name(name, source)
        found.append(
            {name: to_typed(name, value, f"{source}: {name}") for name, value in settings.items()}
        )
    return tuple(found)


def check_enqueued(
    settings: Mapping[str, Scalar],
    dimensions: Mapping[str, Dimension],
    fixed: Mapping[str, Scalar],
    source: str,
) -> dict[str, Scalar]:
    """Return what a trial takes of some settings: the searched ones, of which some may be missing.

    Raises:
        InputError: they lie outside the space.
    """
    for name, value in settings.items():
        if name in dimensions:
            if not contains(dimensions[name], value):
                raise InputError(
                    f"{source}: {name}={value} is outside the space; change it, or widen the space"
                )
        elif value != fixed.get(name, default_of(name)):
            there = fixed.get(name, default_of(name))
            raise InputError(
                f"{source}: {name}={value}, but the space has {name}={there} in all trials; leave "
                f"it out, or use --set {name}={value}"
            )
    return {name: value for name, value in settings.items() if name in dimensions}


def fitting(
    settings: Mapping[str, Scalar], dimensions: Mapping[str, Dimension]
) -> dict[str, Scalar]:
    """Return those of some settings that are searched and possible; the sampler adds the others."""
    taken: dict[str, Scalar] = {}
    for name, dimension in dimensions.items():
        known = name in settings and contains(dimension, settings[name])
        if known and is_active(dimension, {**settings, **taken}):
            taken[name] = settings[name]
    return taken
