"""Homes that are missing or can't be written, as in containers that run under another user."""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentiment import prepare
from sentiment.errors import InputError
from sentiment.io.cache import cache_root
from sentiment.io.environment import complete_environment


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """Undo what is set for matplotlib's warnings."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(before)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an entry in the user database, and no HOME."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME", "SENTIMENT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_missing_home_is_the_root_folder(homeless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")  # set here, so that it is undone
    monkeypatch.delenv("HOME")
    with pytest.raises(RuntimeError):
        Path.home()
    complete_environment()
    assert os.environ["HOME"] == "/"


@pytest.mark.parametrize(
    ("home", "quiet"), [("/dev/null", logging.ERROR), ("/tmp", logging.NOTSET)]
)
def test_a_home_that_cannot_be_written_is_no_news(
    home: str, quiet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    complete_environment()
    assert os.environ["HOME"] == home
    assert logging.getLogger("matplotlib").level == quiet


def test_without_a_home_the_cache_must_be_named(
    homeless: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="set SENTIMENT_CACHE to one that can be"):
        cache_root()
    monkeypatch.setenv("SENTIMENT_CACHE", "~/cache")
    with pytest.raises(InputError, match="set SENTIMENT_CACHE"):
        cache_root()
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path))
    assert cache_root() == tmp_path


@pytest.mark.parametrize("name", ["HOME", "XDG_CACHE_HOME", "SENTIMENT_CACHE"])
def test_a_cache_that_cannot_be_written_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for each in ("XDG_CACHE_HOME", "SENTIMENT_CACHE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "/dev/null")  # not for root either
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"the cache /dev/null.* set SENTIMENT_CACHE to"):
        prepare.main(["--dataset", "rotten-tomatoes"])
    assert list(tmp_path.iterdir()) == []
