"""Fixtures that the tests of sweeps share."""

from __future__ import annotations

import pytest
from real_sweep import run_sweep


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """A finished sweep, read by many tests; what they add to its store has other names."""
    return run_sweep(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """A file of 400 short reviews that differ, and the data set that it makes."""
    from winners import make_reviews

    return make_reviews(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def better_and_worse(make_bundle, reviews):
    """Two tiny models of which the first is clearly the better one."""
    from winners import better_and_worse_of

    return better_and_worse_of(make_bundle, reviews[1])


@pytest.fixture
def in_process(monkeypatch):
    """Have models judged in this process: the tests of `stranger` start one for each."""
    from winners import answers_here

    from sweeps import stranger

    monkeypatch.setattr(stranger, "ask", answers_here)


@pytest.fixture
def only_store(tmp_path_factory, monkeypatch):
    """See to it that nothing lands in the default store of the current folder."""
    folder = tmp_path_factory.mktemp("current")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    assert list(folder.iterdir()) == []
