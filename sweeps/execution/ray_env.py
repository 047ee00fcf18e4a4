"""Ray's settings in the environment; import this before Ray."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

# Ray reads these when it is imported or started. Its own result files, its copies of the
# experiment's state and its figures of use are not wanted: the record is MLflow's.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray prints a paragraph on standard output when a worker dies; the callback logs it in a line.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# A trial that fails before its first evaluation ends with a result that has no metrics.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
# In a notebook it asks for ipywidgets, and none of its widgets is shown.
logging.getLogger("ray.widgets").setLevel(logging.WARNING)


def _has_token() -> bool:
    if os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        return True
    try:
        return (Path.home() / ".ray/auth_token").is_file()
    except (RuntimeError, PermissionError):  # a container's user may have no home, or another's
        return False


# A cluster started where there is a token asks for it; whoever joins one sends none by default.
# Its compiled part reads this when it is imported, its processes when they are started: set in
# between, they would not agree.
if _has_token() and "ray" not in sys.modules:
    os.environ.setdefault("RAY_AUTH_MODE", "token")
