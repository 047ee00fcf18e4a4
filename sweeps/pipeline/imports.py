"""Imports that a sweep needs once its trials have ended: made while these run."""

from __future__ import annotations

import importlib
import threading
from contextlib import suppress

LATER = (
    "scipy.optimize",
    "scipy.stats",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sweeps.reporting.publish",
)
"""Over a second in all, which functions that need them import for themselves."""


def import_ahead() -> threading.Thread:
    """Import them on a thread of its own, which ends with the process."""
    thread = threading.Thread(target=_import, name="imports", daemon=True)
    thread.start()
    return thread


def _import() -> None:
    # The function that needs a module raises the error of its import.
    with suppress(Exception):
        for name in LATER:
            importlib.import_module(name)
