from __future__ import annotations

import os
from pathlib import Path

import pytest
from ray._private.utils import validate_socket_filepath

from sentiment.errors import InputError
from sweeps.execution.ray_directory import choose_directory, used_by_ray

# What Ray puts below the folder, with the longest of its names.
SOCKET = f"ray/session_2026-01-31_23-59-59_123456_{os.getpid()}/sockets/plasma_store"


def folder_of_length(length: int, parent: Path = Path("/tmp")) -> Path:
    return parent / ("x" * (length - len(str(parent)) - 1))


def longest() -> Path:
    return folder_of_length(107 - len(SOCKET) - 1)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def test_the_folder_is_the_first_that_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_directory() == Path("/tmp")
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert choose_directory() == Path("/var/tmp")
    monkeypatch.setenv("RAY_TMPDIR", str(longest()))
    assert choose_directory() == longest()
    assert not longest().exists()


@pytest.mark.parametrize("kind", ["long", "not a folder"])
def test_a_tmpdir_that_will_not_do_is_passed_over(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    folder = folder_of_length(80) if kind == "long" else file
    monkeypatch.setenv("TMPDIR", str(folder))
    assert choose_directory() == Path("/tmp")


def test_the_longest_path_is_the_longest_that_a_socket_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    validate_socket_filepath(str(longest() / SOCKET))
    too_long = f"{longest()}x"
    with pytest.raises(OSError, match="AF_UNIX"):
        validate_socket_filepath(f"{too_long}/{SOCKET}")
    monkeypatch.setenv("RAY_TMPDIR", too_long)
    with pytest.raises(InputError, match="1 bytes too long for Ray's sockets; set RAY_TMPDIR to"):
        choose_directory()


def test_a_given_folder_must_be_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/dev/null")
    with pytest.raises(InputError, match="RAY_TMPDIR=/dev/null: /dev/null can't be written"):
        choose_directory()


def test_the_variable_is_set_while_ray_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for before in (None, "/var/tmp"):
        if before is not None:
            monkeypatch.setenv("RAY_TMPDIR", before)
        with used_by_ray(tmp_path):
            assert os.environ["RAY_TMPDIR"] == str(tmp_path)
        assert os.environ.get("RAY_TMPDIR") == before
