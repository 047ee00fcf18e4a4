"""Fixtures that the tests of sweeps share."""

from __future__ import annotations

import pytest
from real_sweep import run_sweep


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """A finished sweep, read by many tests; what they add to its store has other names."""
    return run_sweep(tmp_path_factory.mktemp("sweep"))
