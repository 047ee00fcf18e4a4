"""The compiled library: built once, checked, and why there may be none."""

import os
import shutil
import subprocess
import sys

import pytest

from sentiment.nn import native_library
from sentiment.nn.native_library import NotCompiledError, find_compiler, load_library

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, native_library.COMPILERS)), reason="no C compiler"
)


@pytest.fixture(autouse=True)
def small_source(tmp_path, monkeypatch):
    """A cache of the test's own, and a source that compiles at once."""
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    source = tmp_path / "small.c"
    source.write_text("int answer(void) { return 42; }\n")
    monkeypatch.setattr(native_library, "SOURCE", source)


def compiler(tmp_path, script):
    """A compiler that is a script of the shell; `real` compiles."""
    path = tmp_path / "own-cc"
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang") or "cc"
    path.write_text(f'#!/bin/sh\nreal() {{ {real} "$@"; }}\n{script}\n')
    path.chmod(0o755)
    return str(path)


def library(tmp_path):
    (path,) = (tmp_path / "cache" / "native").glob("*/recurrence.so")
    return path


@needs_compiler
def test_it_is_compiled_once(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    monkeypatch.setenv("CC", f"{compiler(tmp_path, f'echo $1 >> {calls}; shift; real $@')} -own")
    assert load_library().answer() == 42
    assert load_library().answer() == 42
    assert calls.read_text().split() == ["-own"] * 3  # the version twice, one compilation
    native_library.SOURCE.write_text("int answer(void) { return 43; }\n")
    assert load_library().answer() == 43
    assert len(list((tmp_path / "cache" / "native").iterdir())) == 2


@needs_compiler
def test_a_torn_library_is_compiled_again(tmp_path):
    load_library()
    torn = library(tmp_path)
    whole = torn.read_bytes()
    # Another file: this process has the old one mapped.
    torn.unlink()
    torn.write_bytes(whole[: len(whole) // 2])
    assert load_library().answer() == 42
    assert library(tmp_path).read_bytes() == whole


@needs_compiler
def test_a_library_of_another_user_is_not_loaded(tmp_path, monkeypatch):
    load_library()
    owner = library(tmp_path).stat().st_uid
    if owner == 0:
        os.chown(library(tmp_path), 1, 1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(NotCompiledError, match=r"recurrence\.so is another user's"):
        load_library()


@needs_compiler
def test_two_processes_at_once_compile_it_once(tmp_path):
    calls = tmp_path / "calls"
    script = f'case "$*" in *small.c*) echo compiles >> {calls}; sleep 0.3;; esac; real "$@"'
    code = (
        "import sys; from pathlib import Path; from sentiment.nn import native_library as n;"
        "n.SOURCE = Path(sys.argv[1]); print(n.load_library().answer())"
    )
    command = [sys.executable, "-c", code, str(native_library.SOURCE)]
    environment = {**os.environ, "CC": compiler(tmp_path, script)}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["42\n"] * 2
    assert calls.read_text().split() == ["compiles"]


def test_without_a_compiler_the_reason_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotCompiledError, match=r"^no C compiler: cc or gcc or clang is not there$"):
        load_library()
    monkeypatch.setenv("CC", "/nowhere/icc -fast")
    with pytest.raises(NotCompiledError, match=r"^no C compiler: /nowhere/icc is not there$"):
        find_compiler()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'x.c:1: error: no such thing' >&2; exit 1", "status 1: x.c:1: error: no such thing"),
        ("exit 3", "status 3"),
        ("exit 0", "wrote nothing"),
        (
            'for last; do :; done; [ $# = 1 ] || echo nonsense > "$last"',
            "invalid ELF header|file too short",
        ),
        ("kill -9 $$", "status -9"),
    ],
)
def test_a_broken_compiler_is_named(tmp_path, monkeypatch, script, reason):
    monkeypatch.setenv("CC", compiler(tmp_path, script))
    with pytest.raises(NotCompiledError, match=reason):
        load_library()


def test_a_compiler_that_cannot_be_run_is_named(tmp_path, monkeypatch):
    path = tmp_path / "own-cc"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(NotCompiledError, match="can't be run"):
        load_library()


@needs_compiler
def test_a_source_that_is_missing_is_named():
    native_library.SOURCE.unlink()
    with pytest.raises(NotCompiledError, match=r"small\.c"):
        load_library()


@needs_compiler
def test_a_cache_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("SENTIMENT_CACHE", "/dev/null/cache")
    with pytest.raises(NotCompiledError, match=r"cache /dev/null/cache can't be written"):
        load_library()
