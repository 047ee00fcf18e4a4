"""Conditions (`when`): parsing, validation against their parents, order, and simplification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sentiment.config import SECTION_OF, unknown_name
from sentiment.errors import InputError
from sweeps.space.dimensions import Choice, Condition, Dimension, Scalar
from sweeps.space.hyperparameters import default_of, to_typed


def parse_conditions(given: Any, where: str) -> tuple[Condition, ...]:
    """Parse the value of `when`; `validate_conditions` checks it once all parents are known.

    Raises:
        InputError: it is not a mapping.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: when is {{other: value}}, not {given!r}")
    return tuple(
        Condition(parent, tuple(values) if isinstance(values, list | tuple) else (values,))
        for parent, values in given.items()
    )


def validate_conditions(name: str, dimensions: Mapping[str, Dimension], where: str) -> Dimension:
    """Return a dimension with its conditions checked against their parents.

    Raises:
        InputError: a parent is not a searched choice, or lacks a value that is named.
    """
    dimension = dimensions[name]
    checked = []
    for condition in dimension.when:
        parent = dimensions.get(condition.parent)
        if parent is None and condition.parent not in SECTION_OF:
            choices = [other for other, each in dimensions.items() if isinstance(each, Choice)]
            hint = unknown_name("hyperparameter", str(condition.parent), choices)
            raise InputError(f"{where}: when: {hint}")
        if not isinstance(parent, Choice):
            what = "not searched" if parent is None else "a range"
            raise InputError(
                f"{where}: when: {condition.parent} is {what}: "
                "a condition looks at a searched choice"
            )
        if not condition.values:
            raise InputError(f"{where}: when: {condition.parent} is given no value: name one")
        values = tuple(
            to_typed(condition.parent, value, f"{where}: when: {condition.parent}")
            for value in condition.values
        )
        for value in values:
            if value not in parent.values:
                raise InputError(
                    f"{where}: when: {value!r} is none of the choices of {condition.parent}: "
                    f"{', '.join(map(repr, parent.values))}"
                )
        checked.append(Condition(condition.parent, values))
    return replace(dimension, when=tuple(checked))


def parents_first(dimensions: Mapping[str, Dimension], source: str) -> dict[str, Dimension]:
    """Order dimensions so that each comes after those its conditions look at.

    Raises:
        InputError: the conditions are circular.
    """
    ordered: dict[str, Dimension] = {}
    waiting = dict(dimensions)
    while waiting:
        ready = [
            name
            for name, dimension in waiting.items()
            if not any(condition.parent in waiting for condition in dimension.when)
        ]
        if not ready:
            raise InputError(
                f"{source}: the conditions of {', '.join(sorted(waiting))} go in a circle: "
                "drop one `when`"
            )
        # One at a time, so that a space keeps the order of its file as far as it can.
        ordered[ready[0]] = waiting.pop(ready[0])
    return ordered


def simplify(
    dimensions: Mapping[str, Dimension], fixed: Mapping[str, Scalar], source: str
) -> tuple[dict[str, Dimension], set[str]]:
    """Drop conditions that are decided, and dimensions that are never active.

    A condition on a choice stays, even if it holds for all its values: the choice may yet be fixed.

    Args:
        dimensions: parents first.
        fixed: values that decide conditions; a name in neither has its default.
        source: opens the error messages.

    Returns:
        The dimensions left, and the names of those never active.

    Raises:
        InputError: a condition looks at what has become a range.
    """
    kept: dict[str, Dimension] = {}
    never: set[str] = set()
    for name, dimension in dimensions.items():
        open_conditions = []
        for condition in dimension.when:
            parent = kept.get(condition.parent)
            if parent is None:
                value = fixed.get(condition.parent, default_of(condition.parent))
                if condition.parent in never or value not in condition.values:
                    never.add(name)
                continue
            if not isinstance(parent, Choice):
                raise InputError(
                    f"{source}: {name} of the base depends on {condition.parent}, which is now a "
                    f"range: write {name} anew, or `{name}: null`"
                )
            values = tuple(value for value in condition.values if value in parent.values)
            if values:
                open_conditions.append(Condition(condition.parent, values))
            else:
                never.add(name)
        if name not in never:
            kept[name] = replace(dimension, when=tuple(open_conditions))
    return kept, never
