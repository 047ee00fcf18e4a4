"""Trials that don't get through at once: tried again, ended when they hang, given up together."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Hashable

from sentiment.training.checkpoint import is_whole, read_notes
from sweeps.trials.checkpoint_storage import Storage

LEAST_PATIENCE = 600.0
FIRST_PATIENCE = 3600.0
"""Seconds that a worker may take while no trial has been evaluated yet."""
PATIENCE = 20
"""Times the longest evaluation so far: trials of one space differ in cost by that much."""
MOST_MOVES = 10
"""Nodes that a trial may lose before that counts as its own failure: it may be what ends them."""
FIRST_TRIALS = 10
MOST_ALIKE = FIRST_TRIALS // 2


class RetryTracker:
    """How often each trial has failed, and from where it goes on.

    Ray's own retries are not used: they pass over a worker that dies between two trials, and
    start afresh after a kill of everything. Here a failure and an interruption are the same: the
    search suggests the trial once more, with its newest whole checkpoint.

    Two kinds of failure are not the trial's own, and don't count: its node went away, or there
    was not memory enough for as many trials as run at once.

    Attributes:
        retries: how often a trial is tried again.
        storage: folder of Ray's own files, with a folder for every start of a trial.
        fewer: whether fewer trials at once are possible, so that the memory would suffice.
        crowded: why fewer trials are to run at once; None while the memory suffices.
    """

    def __init__(self, storage: Storage, retries: int = 0) -> None:
        """Start with no failures.

        Args:
            storage: folder of Ray's own files, with a folder for every start of a trial.
            retries: how often a trial is tried again.
        """
        self.retries = retries
        self.storage = storage
        self.fewer = False
        self.crowded: str | None = None
        self._failures: Counter[int] = Counter()
        self._moves: Counter[int] = Counter()
        self._awaiting: set[int] = set()
        self._errors: dict[int, Callable[[], str]] = {}

    def watch(self, number: int, error: Callable[[], str]) -> None:
        """Take note of a trial that starts.

        Args:
            number: the trial's.
            error: gives the text of what it failed with, once it has failed.
        """
        self._errors[number] = error

    def fail(self, number: int) -> bool:
        """Count a failure of a trial, and tell whether it is to be tried again."""
        text = self._errors[number]() if number in self._errors else ""
        if self.fewer and is_out_of_memory(text):
            self.crowded = text
            again = True
        elif is_lost_node(text) and self._moves[number] < MOST_MOVES:
            self._moves[number] += 1
            again = True
        else:
            self._failures[number] += 1
            again = self._failures[number] <= self.retries
        if again:
            self._awaiting.add(number)
        return again

    def relieve(self, fewer: bool) -> None:
        """Take note that fewer trials run at once now, and whether there could be still fewer."""
        self.crowded = None
        self.fewer = fewer

    def awaits(self, number: int) -> bool:
        """Whether a trial has failed and is to be tried again."""
        return number in self._awaiting

    def failures(self, number: int) -> int:
        """Return how often a trial has failed by itself."""
        return self._failures[number]

    def start(self, number: int) -> str | None:
        """Take note that a trial starts again, and return the checkpoint from which it does.

        It is named by its place within the storage.
        """
        self._awaiting.discard(number)
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

    def forget(self, number: int) -> None:
        """Remove what is left of all starts of a trial that has ended."""
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
    """Whether a traceback tells of memory that did not suffice for all that ran at once."""
    return _OUT_OF_MEMORY.search(error) is not None


def is_lost_node(error: str) -> bool:
    """Whether a worker's error tells that its node has gone."""
    return _LOST_NODE.search(error) is not None


def folder_prefix(number: int) -> str:
    """Return how the names of the folders of a trial's starts begin."""
    return f"{number:05d}-"


class Watchdog:
    """Tells which workers have reported nothing for so long that they must hang."""

    def __init__(self, limit: float | None = None) -> None:
        """Set the seconds; None: 20 times the longest evaluation, at least ten minutes."""
        self._fixed = limit
        self._longest: float | None = None
        self._heard: dict[Hashable, float] = {}

    @property
    def limit(self) -> float:
        """Seconds after which a worker hangs."""
        if self._fixed is not None:
            return self._fixed
        if self._longest is None:
            return FIRST_PATIENCE
        return max(LEAST_PATIENCE, PATIENCE * self._longest)

    def start(self, worker: Hashable) -> None:
        """Begin to wait for a worker."""
        self._heard[worker] = time.monotonic()

    def report(self, worker: Hashable) -> None:
        """Take note of an evaluation."""
        now = time.monotonic()
        if worker in self._heard:
            self._longest = max(self._longest or 0.0, now - self._heard[worker])
        self._heard[worker] = now

    def end(self, worker: Hashable) -> None:
        """Wait for a worker no more."""
        self._heard.pop(worker, None)

    def exhausted(self) -> list[Hashable]:
        """Return the workers that hang."""
        limit = time.monotonic() - self.limit
        return [worker for worker, heard in self._heard.items() if heard < limit]


class SweepError(RuntimeError):
    """A sweep can't go on: its trials can't be run, or most fail in the same way."""


class FailFastMonitor:
    """Looks at how the first ten trials end: a sweep of failures is ended early."""

    def __init__(self) -> None:
        self._ended = 0
        self._errors: Counter[str] = Counter()

    def end(self, error: str | None = None) -> None:
        """Take note of a trial's end.

        Args:
            error: the last line of its traceback, if it failed.

        Raises:
            SweepError: more than half of the first ten have failed in the same way.
        """
        self._ended += 1
        if error is None or self._ended > FIRST_TRIALS:
            return
        # The same failure names other steps, sizes and addresses each time.
        kind = re.sub(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+(?:[.,]\d+)*", "#", error)
        self._errors[kind] += 1
        if self._errors[kind] > MOST_ALIKE:
            raise SweepError(
                f"{self._errors[kind]} of the first {self._ended} trials failed the same way: "
                f"{error}"
            )
