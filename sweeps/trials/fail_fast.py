"""Fail-fast: a sweep whose first trials mostly fail in the same way is ended early."""

from __future__ import annotations

import re
from collections import Counter

from sweeps.errors import SweepError

FIRST_TRIALS = 10
MOST_ALIKE = FIRST_TRIALS // 2


class FailFastMonitor:
    """Counts how the first ten trials end, and raises when most fail alike."""

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
