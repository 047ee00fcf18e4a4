"""What one run writes to MLflow: parameters, metrics, data, provenance, the logged model."""

import os

# MLflow reads these when it is imported: no figures of use leave the machine, and neither bars
# of artifact copies nor addresses of runs stand between the lines of a command.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
