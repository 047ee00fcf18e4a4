"""Sweeps whose first trials fail alike."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.errors import SweepError
from sweeps.trials.fail_fast import FailFastMonitor

ERRORS = st.one_of(st.none(), st.sampled_from(["RuntimeError: a", "MemoryError: b"]))


@given(st.lists(ERRORS, max_size=30))
def test_a_sweep_ends_when_more_than_half_of_the_first_ten_fail_alike(ends):
    first = FailFastMonitor()
    worst = math.inf
    for kind in ("RuntimeError: a", "MemoryError: b"):
        places = [place for place, error in enumerate(ends[:10]) if error == kind]
        worst = min(worst, places[5] if len(places) > 5 else math.inf)
    for place, error in enumerate(ends):
        if place == worst:
            with pytest.raises(SweepError, match=f"6 of the first {place + 1} trials failed the"):
                first.end(error)
            return
        first.end(error)


def test_the_same_failure_may_name_other_numbers():
    first = FailFastMonitor()
    with pytest.raises(SweepError) as told:
        for step in range(10):
            first.end(f"TrainingError: the loss is not finite at step {step} (1,{step}00 examples)")
    assert len(str(told.value).splitlines()) == 1
