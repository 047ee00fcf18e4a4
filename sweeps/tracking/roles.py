"""What a run is to its sweep, the tag `sweep.role`."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["trial", "finalist", "refit", "ensemble", "confirmation", "baseline", "pretraining"]
"""A trial of the search is known by its number, every other run by a name."""

PRETRAINING_TAG = "sweep.pretraining"
"""Of a language model's run its key, of a trial that starts from such their keys."""

ROLES: tuple[Role, ...] = get_args(Role)
"""The order in which runs of different roles are listed."""
