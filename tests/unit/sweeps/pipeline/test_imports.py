"""What a sweep imports beside its trials, and not before them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import sweeps.pipeline.start, sweeps.pipeline.sweep
from sweeps.pipeline.imports import LATER, import_ahead
print(sorted(set(LATER) & set(sys.modules)))
import_ahead().join()
print(sorted(set(LATER) - set(sys.modules)))
"""


def test_what_follows_the_trials_is_imported_beside_them() -> None:
    command = [sys.executable, "-c", PROGRAM]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == ["[]", "[]"]
