"""Counts and durations in messages, written the same way everywhere."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: `1 trial`, `2 trials`, `25,000 texts`.

    Args:
        count: how many.
        noun: what they are, in the singular.
        plural: the plural, where it isn't the singular with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a duration: seconds below two minutes, minutes below two hours, else hours.

    One decimal below ten of a unit, none from there on.
    """
    for limit, size, unit in ((120, 1, "second"), (7200, 60, "minute")):
        if round(seconds) < limit:
            return _quantity(seconds / size, unit)
    return _quantity(seconds / 3600, "hour")


def _quantity(value: float, unit: str) -> str:
    text = f"{round(value, 1):g}" if value < 9.95 else f"{value:,.0f}"
    return f"{text} {unit if text == '1' else f'{unit}s'}"
