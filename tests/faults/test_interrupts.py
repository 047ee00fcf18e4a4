"""Control-C: once ends in good order, twice at once."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import time
from sweeps.signals import interruptible, deferred_interrupts

with interruptible():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        with deferred_interrupts():
            print("recording", flush=True)
            time.sleep({seconds})
        print("recorded", flush=True)
        raise SystemExit(130)
"""


def started(seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(seconds=seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_records_what_there_is(number):
    process = started(0.1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("recording\nrecorded\n", 130)


def test_twice_ends_at_once_even_while_the_record_is_written():
    process = started(600)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "recording\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("", 130)
