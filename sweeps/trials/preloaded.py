"""What Ray's idle workers import before there is a trial for them; they say when that is done."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import sweeps.trials.trainable  # noqa: F401 - takes a worker seconds

READY = "SWEEPS_WORKERS_READY"
"""Environment variable: the folder in which each worker makes an empty file."""

if os.environ.get(READY):
    # A worker that can't say so is as good; nobody waits for it long.
    with suppress(OSError):
        Path(os.environ[READY], str(os.getpid())).touch()
