"""The two ways in which work ends badly, and what each means for the caller."""

from __future__ import annotations


class InputError(ValueError):
    """The user's input is wrong: the message says what, where and what to do.

    Commands print the message on standard error and exit with status 2.
    """


class TrainingError(RuntimeError):
    """Training can't continue, for instance because the loss is not finite."""
