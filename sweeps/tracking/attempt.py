"""Attempt: what makes the requests of a delivery, each until the store answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Attempt(Protocol):
    """Makes a request until it gets an answer, and returns that."""

    def __call__(self, request: Callable[[bool], T], again: bool = False) -> T:
        """Make a request.

        Args:
            request: called with whether an earlier try may have gone through.
            again: whether one may have before the first call.
        """
