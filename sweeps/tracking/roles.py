"""What a run is to its sweep, the tag `sweep.role`."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["trial", "finalist", "refit", "ensemble", "confirmation", "baseline"]
"""A trial of the search is known by its number, every other run by a name."""

ROLES: tuple[Role, ...] = get_args(Role)
"""The order in which runs of different roles are listed."""
