"""CPU seconds of a command hold those of the processes that it starts and leaves behind."""

import os
import sys

import pytest

from benchmarks.process_cpu import run_measured

BUSY = """
import subprocess, sys, time
depth = int(sys.argv[2])
child = depth and subprocess.Popen([sys.executable, *sys.orig_argv[1:-1], str(depth - 1)])
end = time.process_time() + float(sys.argv[1])
while time.process_time() < end:
    pass
if child and depth == 2:
    child.wait()
if depth == 2:
    time.sleep(0.5)
print(depth, file=sys.stderr)
sys.exit(3 * (depth == 2))
"""


def test_the_whole_tree_counts(tmp_path):
    command = [sys.executable, "-S", "-c", BUSY, "0.8", "2"]
    done = run_measured(command, tmp_path, os.environ)
    assert done.status == 3
    assert "2" in done.errors
    assert done.wall >= 0.8
    # Three processes of 0.8 seconds, the last of them an orphan; each may lose its last look.
    assert done.cpu == pytest.approx(2.4, abs=0.7)
