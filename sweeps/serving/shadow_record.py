"""Keeping a shadow's counts: tags of its version, and from time to time a line in the log.

A thread of its own writes them, so a store that is slow or away costs the server nothing. What
could not be written is part of the next try, since each tag holds all that this server has counted.
"""

from __future__ import annotations

import sys
import threading
import time

from mlflow import MlflowClient

from sweeps.registry.shadow_counts import ShadowCounts, new_tag, write_shadow_counts
from sweeps.serving.served_model import registered_version
from sweeps.serving.shadow import Pair, Shadow

WRITE_INTERVAL = 60.0
"""Seconds between two writes into the registry."""
LOG_INTERVAL = 600.0
"""Seconds between two lines."""

_LAST_BATCH_SECONDS = 2.0
_LAST_WRITE_SECONDS = 5.0


class ShadowRecorder:
    """Writes the counts of a shadow until it is closed."""

    def __init__(self, shadow: Shadow, client: MlflowClient | None) -> None:
        """Take what counts.

        Args:
            shadow: whose counts are kept.
            client: client of the store of its versions; None if it has none.
        """
        self._shadow = shadow
        self._client = client
        self._thread = threading.Thread(target=self._run, name="shadow-record", daemon=True)
        self._ended = threading.Event()
        self._tags: dict[Pair, str] = {}
        self._written: dict[Pair, ShadowCounts] = {}
        self._logged: dict[Pair, ShadowCounts] = {}
        self._problem = ""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the comparison and write what is left, within seconds."""
        self._shadow.close(_LAST_BATCH_SECONDS)
        self._ended.set()
        self._thread.join(_LAST_WRITE_SECONDS)
        if self._thread.is_alive():
            self._warn(f"no answer of the store within {_LAST_WRITE_SECONDS:g} seconds")

    def _run(self) -> None:
        log_at = time.monotonic() + LOG_INTERVAL
        while not self._ended.wait(WRITE_INTERVAL):
            self.write()
            if time.monotonic() >= log_at:
                self.log()
                log_at = time.monotonic() + LOG_INTERVAL
        self.write()
        self.log()

    def log(self) -> None:
        """Print a line for each pair that has new counts."""
        for pair, counts in self._shadow.counts().items():
            if counts.until and counts != self._logged.get(pair):
                self._logged[pair] = counts
                print(f"shadow {pair.shadow}: {counts.sentence()}", flush=True)

    def write(self) -> None:
        """Write the new counts of each pair of registered versions; report what fails, once."""
        for pair, counts in self._shadow.counts().items():
            version = registered_version(pair.shadow)
            known = version is not None and registered_version(pair.champion) is not None
            if self._client is None or version is None or not known:
                continue
            if not counts.until or counts == self._written.get(pair):
                continue
            try:
                # The tag's name comes first: a write that fails halfway is repeated, not doubled.
                tag = self._tags.setdefault(pair, new_tag())
                write_shadow_counts(self._client, *version, tag, counts)
            except Exception as error:  # noqa: BLE001 - reported; the server goes on
                self._warn(f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}")
                return
            self._written[pair] = counts
            self._problem = ""

    def _warn(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            print(
                f"warning: the counts of the shadow can't be kept ({problem}); /metrics has them",
                file=sys.stderr,
                flush=True,
            )
