"""What a process's environment may lack in a container: a home folder, or one to write to."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def complete_environment() -> None:
    """Make the packages that look for a home folder get along without one.

    The cache of this project is not among them: it is worth keeping, so `sentiment.io.cache` asks
    for `SENTIMENT_CACHE` where it has no place. To be called before MLflow and matplotlib are
    imported.
    """
    try:
        home = Path.home()
    except RuntimeError:
        # A user without an entry: MLflow can't be imported then. Container runtimes do the same.
        home = Path("/")
        os.environ["HOME"] = str(home)
    if not (home.is_dir() and os.access(home, os.W_OK | os.X_OK)):
        # It takes a temporary folder for its settings, and prints a paragraph of warnings.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
