"""What Ray's idle workers do before there is a trial for them; they say when that is done.

They import what it needs, and compile the recurrent layers or check them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch

import sweeps.trials.trainable  # noqa: F401 - takes a worker seconds
from sentiment.nn.devices import configure_threads, pick_precision
from sentiment.nn.rnn_choice import compiled
from sweeps.trials.protocol import WORKERS_READY

configure_threads(1)
compiled(pick_precision("auto", torch.device("cpu")))
if os.environ.get(WORKERS_READY):
    # A worker that can't say so is as good; nobody waits for it long.
    with suppress(OSError):
        Path(os.environ[WORKERS_READY], str(os.getpid())).touch()
