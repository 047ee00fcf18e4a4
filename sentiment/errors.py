"""The two ways in which work ends badly, what each means for the caller, and how to quote one."""

from __future__ import annotations


class InputError(ValueError):
    """The user's input is wrong: the message says what, where and what to do.

    Commands print the message on standard error and exit with status 2.
    """


class TrainingError(RuntimeError):
    """Training can't continue, for instance because the loss is not finite."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
