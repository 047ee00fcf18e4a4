"""Errors that end a sweep, other than wrong input."""

from __future__ import annotations


class SweepError(RuntimeError):
    """A sweep can't continue: its trials can't be run, or most fail in the same way."""


class InsufficientMemoryError(SweepError):
    """The memory does not suffice for as many trials as run at once."""
