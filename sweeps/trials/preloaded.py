"""What Ray's idle workers import before there is a trial for them; they say when that is done."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import sweeps.trials.trainable  # noqa: F401 - takes a worker seconds
from sweeps.trials.protocol import WORKERS_READY

if os.environ.get(WORKERS_READY):
    # A worker that can't say so is as good; nobody waits for it long.
    with suppress(OSError):
        Path(os.environ[WORKERS_READY], str(os.getpid())).touch()
