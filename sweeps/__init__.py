"""Sweeps over the settings of `sentiment`: search, schedule, record, promote."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.api import Sweep, load, run

__all__ = ["Sweep", "load", "run"]


def __getattr__(name: str) -> Any:
    """Import the API at its first use: Ray, MLflow and torch take seconds."""
    if name in __all__:
        with warnings.catch_warnings():
            # MLflow's progress bars ask for ipywidgets in a notebook, and none is shown.
            warnings.filterwarnings("ignore", "IProgress not found")
            from sweeps import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
