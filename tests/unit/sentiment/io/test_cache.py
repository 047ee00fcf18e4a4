"""Entries are whole or absent, and built once, whatever happens meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

from sentiment.errors import InputError
from sentiment.io.cache import cache_root, cached, is_cached


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(folder: Path) -> None:
    (folder / "a.txt").write_text("alpha")
    (folder / "deep").mkdir()
    (folder / "deep" / "b.bin").write_bytes(bytes(1000))


def refuse(folder: Path) -> None:
    raise AssertionError("built although it was there")


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_an_entry_is_built_once(root: Path) -> None:
    assert not is_cached("kind", "f1")
    entry = cached("kind", "f1", build)
    assert (entry / "a.txt").read_text() == "alpha"
    assert is_cached("kind", "f1")
    assert cached("kind", "f1", refuse) == entry
    # Neither locks nor temporary folders are left.
    assert names(root) == [
        "kind",
        "kind/f1",
        "kind/f1/a.txt",
        "kind/f1/deep",
        "kind/f1/deep/b.bin",
        "kind/f1/manifest.json",
    ]


def cut(entry: Path) -> None:
    os.truncate(entry / "deep" / "b.bin", 999)


def flip(entry: Path) -> None:
    (entry / "deep" / "b.bin").write_bytes(bytes(999) + b"\1")


def lose(entry: Path) -> None:
    (entry / "a.txt").unlink()


def lose_manifest(entry: Path) -> None:
    (entry / "manifest.json").unlink()


def tear_manifest(entry: Path) -> None:
    os.truncate(entry / "manifest.json", 20)


@pytest.mark.parametrize("damage", [cut, flip, lose, lose_manifest, tear_manifest])
def test_a_damaged_entry_is_built_again(damage: Callable[[Path], None], root: Path) -> None:
    entry = cached("kind", "f1", build)
    whole = names(root)
    damage(entry)
    assert not is_cached("kind", "f1")
    assert cached("kind", "f1", build) == entry
    assert is_cached("kind", "f1")
    assert (entry / "deep" / "b.bin").read_bytes() == bytes(1000)
    assert names(root) == whole


def test_an_exception_leaves_nothing(root: Path) -> None:
    def fail(folder: Path) -> None:
        build(folder)
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        cached("kind", "f1", fail)
    assert names(root) == []
    cached("kind", "f2", build)
    before = names(root)
    with pytest.raises(RuntimeError, match="no luck"):
        cached("kind", "f1", fail)
    assert names(root) == before


SCRIPT = """
import os, resource, signal, sys, time
from pathlib import Path
from sentiment.io.cache import cached

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write(f"{os.getpid()}\\n")
    (folder / "data.bin").write_bytes(bytes(5000))
    if sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)

if sys.argv[1] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
print(cached("kind", "f1", build))
"""


def start(how: str, log: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, how, str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_processes_at_once_one_builds_and_all_use_it(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start("well", log) for _ in range(4)]
    outputs = {process.communicate()[0].strip() for process in processes}
    assert outputs == {str(root / "kind" / "f1")}
    assert len(log.read_text().splitlines()) == 1
    assert names(root) == ["kind", "kind/f1", "kind/f1/data.bin", "kind/f1/manifest.json"]


def test_what_a_killed_builder_left_is_removed(root: Path, tmp_path: Path) -> None:
    process = start("die", tmp_path / "log")
    process.communicate()
    assert process.returncode == -9
    assert any(name.endswith("data.bin") for name in names(root))
    assert not is_cached("kind", "f1")
    cached("kind", "f1", lambda folder: (folder / "x").touch())
    assert names(root) == ["kind", "kind/f1", "kind/f1/manifest.json", "kind/f1/x"]


def test_a_full_disk_keeps_its_error_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    process = start("full", tmp_path / "log")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "OSError: [Errno 27] File too large" in errors
    assert names(root) == []


def test_a_root_that_cannot_be_written_is_the_users_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="set SENTIMENT_CACHE to a folder"):
        cached("kind", "f1", build)


def test_the_root_is_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_CACHE", "~/somewhere")
    assert cache_root() == Path.home() / "somewhere"
    monkeypatch.delenv("SENTIMENT_CACHE")
    assert cache_root() == Path(platformdirs.user_cache_dir("sentiment-sweeps"))
