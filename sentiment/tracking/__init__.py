"""What one run writes to MLflow: parameters, metrics, data, provenance, the logged model."""

import logging
import os

# MLflow reads these when it is imported: no figures of use leave the machine, and neither bars
# of artifact copies nor addresses of runs stand between the lines of a command.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

# What MLflow would print of a busy or read-only database, with a traceback, is one line of ours.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
