"""Retries: which failed trials are tried again, and from which checkpoint."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sentiment.config import Config
from sentiment.training.checkpoint import adopt_checkpoint, is_whole, read_notes
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.protocol import ADOPTED, RESULTS

MOST_MOVES = 10
"""Nodes that a trial may lose before that counts as its own failure: it may be what ends them."""


class RetryTracker:
    """Counts each trial's failures, and knows the checkpoint from which it resumes.

    Ray's own retries are not used: they pass over a worker that dies between two trials, and
    start afresh after a kill of everything. Here a failure and an interruption are the same: the
    search suggests the trial once more, with its newest whole checkpoint.

    Two kinds of failure are not the trial's own, and don't count: its node went away, or there
    was not memory enough for as many trials as run at once.

    Attributes:
        retries: how often a trial is tried again.
        storage: folder of Ray's own files, with a folder for every start of a trial.
        can_reduce: whether fewer trials may run at once, so that the memory would suffice.
        memory_error: traceback for which fewer trials are to run at once; None while the memory
            suffices.
    """

    def __init__(self, storage: Storage, retries: int = 0) -> None:
        """Start with no failures.

        Args:
            storage: folder of Ray's own files, with a folder for every start of a trial.
            retries: how often a trial is tried again.
        """
        self.retries = retries
        self.storage = storage
        self.can_reduce = False
        self.memory_error: str | None = None
        self._failures: Counter[int] = Counter()
        self._moves: Counter[int] = Counter()
        self._pending: set[int] = set()
        self._errors: dict[int, Callable[[], str]] = {}

    def watch(self, number: int, error: Callable[[], str]) -> None:
        """Take note of a trial that starts.

        Args:
            number: the trial's.
            error: gives the text of what it failed with, once it has failed.
        """
        self._errors[number] = error

    def fail(self, number: int) -> bool:
        """Count a failure of a trial, and return whether it will be retried."""
        text = self._errors[number]() if number in self._errors else ""
        if self.can_reduce and is_out_of_memory(text):
            self.memory_error = text
            again = True
        elif is_lost_node(text) and self._moves[number] < MOST_MOVES:
            self._moves[number] += 1
            again = True
        else:
            self._failures[number] += 1
            again = self._failures[number] <= self.retries
        if again:
            self._pending.add(number)
        return again

    def allow_concurrency_reduction(self, allowed: bool) -> None:
        """Set whether memory that does not suffice calls for fewer trials at once.

        Called at each start of the trials, with fewer at once than before or for the first time;
        not allowed, such an error counts as the trial's own.
        """
        self.memory_error = None
        self.can_reduce = allowed

    def is_pending_retry(self, number: int) -> bool:
        """Whether a trial has failed and will be retried."""
        return number in self._pending

    def failures(self, number: int) -> int:
        """Return how often a trial has failed by itself."""
        return self._failures[number]

    def start(self, number: int) -> str | None:
        """Take note that a trial starts again, and return the checkpoint from which it does.

        It is named by its place within the storage.
        """
        self._pending.discard(number)
        return self.newest(number)

    def newest(self, number: int) -> str | None:
        """Return the place of the newest whole checkpoint of a trial, over all its starts."""
        steps: dict[str, int] = {}
        for start in self._starts(number):
            for name in (self.storage / start).names():
                if name.startswith("checkpoint_"):
                    with (self.storage / start / name).on_disk() as folder:
                        if is_whole(folder):
                            steps[f"{start}/{name}"] = read_notes(folder)["step"]
        return max(steps, key=lambda place: steps[place], default=None)

    def take_over(self, number: int, donor: int, config: Config) -> dict[str, float] | None:
        """Let a trial continue from another's newest checkpoint in place of its own.

        Interrupted and called again, it does the same.

        Args:
            number: of the trial that continues.
            donor: of the other one, which does not train meanwhile.
            config: settings with which it continues.

        Returns:
            What the best model of that checkpoint reached, by metric; None where the other has no
            whole checkpoint, and nothing changes.
        """
        place = self.newest(donor)
        if place is None:
            return None
        earlier = self._starts(number)
        start = f"{folder_prefix(number)}from-{place.replace('/', '-')}"
        with (self.storage / place).on_disk() as own, tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "checkpoint"
            notes = read_notes(own)
            notes = {**notes, ADOPTED: len(notes[RESULTS])}
            adopt_checkpoint(own, copy, config, notes)
            (self.storage / start / "checkpoint_000000").put(copy)
        for each in earlier:
            if each != start:
                (self.storage / each).remove()
        return dict(notes[RESULTS][-1]["best"])

    def keep_newest(self, number: int) -> None:
        """Delete the starts of a trial without its newest checkpoint."""
        newest = self.newest(number)
        for start in self._starts(number):
            if newest is not None and not newest.startswith(f"{start}/"):
                (self.storage / start).remove()

    def delete_checkpoints(self, number: int) -> None:
        """Delete what is left of all starts of a trial that has ended."""
        for start in self._starts(number):
            (self.storage / start).remove()

    def _starts(self, number: int) -> list[str]:
        return [each for each in self.storage.names() if each.startswith(folder_prefix(number))]


# torch's on a GPU, and that of Ray's monitor, which ends workers before the machine does. An
# allocation that the CPU refuses is larger than the machine, whatever else runs there.
_OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|CUDA out of memory|low on memory")
# Before Ray has noticed that a node is gone, its workers are unavailable.
_LOST_NODE = re.compile(
    r"its node has died|node was (?:terminated|removed)|actor \w+ is unavailable"
)


def is_out_of_memory(error: str) -> bool:
    """Whether a traceback is of memory that did not suffice for all that ran at once."""
    return _OUT_OF_MEMORY.search(error) is not None


def is_lost_node(error: str) -> bool:
    """Whether a worker's error is that its node has gone."""
    return _LOST_NODE.search(error) is not None


def folder_prefix(number: int) -> str:
    """Return how the names of the folders of a trial's starts begin."""
    return f"{number:05d}-"
