"""The MLflow experiment that runs are recorded in, unless a flag names another."""

from __future__ import annotations

import os
import shlex

EXPERIMENT = "sentiment"
"""The built-in default."""
EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
"""MLflow's own environment variable, which names another default."""


def default_experiment() -> str:
    """Return the experiment of a command without --experiment."""
    return os.environ.get(EXPERIMENT_VARIABLE) or EXPERIMENT


def experiment_flag(experiment: str) -> str:
    """Return what a further command must be given to find an experiment: nothing, or a flag.

    The command may be typed where the environment differs, so an experiment that the variable
    names gets its flag too.
    """
    if experiment == EXPERIMENT == default_experiment():
        return ""
    return f" --experiment {shlex.quote(experiment)}"
