"""The libraries of `recurrence.c`, each compiled once a machine by the compiler at hand.

They lie in the project's cache under a fingerprint of all that the code depends on: the source, the
compiler and its version, the options, and the CPU, whose own instructions they use.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

from sentiment.config import fingerprint
from sentiment.errors import InputError
from sentiment.io.cache import cached

SOURCE = Path(__file__).with_name("recurrence.c")
COMPILERS = ("cc", "gcc", "clang")
# Sums keep the order in which they are written, and what is not a number stays so: of -ffast-math
# there is no more than one rounding for a product and a sum, and no care for traps and errno.
OPTIONS = (
    "-std=gnu11",
    "-O2",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
)
_LIBRARY = "recurrence.so"
_COMPILE_SECONDS = 120


class NotCompiledError(Exception):
    """There is no library; the message says why."""


def load_library(*defined: str) -> ctypes.CDLL:
    """Return a library, compiled now if this machine's cache does not have it.

    Several processes may ask at once: one compiles. A file that is not as it was written is
    compiled again. One of another user's is not loaded.

    Args:
        defined: macros of the source that are to be defined.

    Raises:
        NotCompiledError: there is no compiler or source, it fails, the cache can't be written, or
            what was compiled can't be loaded or is another user's.
    """
    compiler = find_compiler()
    options = (*OPTIONS, *(f"-D{macro}" for macro in defined))

    def build(folder: Path) -> None:
        _run([*compiler, *options, str(SOURCE), "-o", str(folder / _LIBRARY)])
        if not (folder / _LIBRARY).exists():
            raise NotCompiledError(f"{shlex.join(compiler)} wrote nothing")

    try:
        key = fingerprint(
            {
                "source": SOURCE.read_text(encoding="utf-8"),
                "compiler": [*compiler, _run([*compiler, "--version"])],
                "options": options,
                "cpu": _cpu(),
            }
        )
        path = cached("native", key, build) / _LIBRARY
        # Its code runs in this process, and a cache may be shared.
        if hasattr(os, "geteuid") and path.stat().st_uid not in (0, os.geteuid()):
            raise NotCompiledError(f"{path} is another user's")
        return ctypes.CDLL(str(path))
    except (InputError, OSError) as error:
        raise NotCompiledError(str(error)) from error


def find_compiler() -> list[str]:
    """Return the command of the C compiler: `$CC`, else the first at hand of `COMPILERS`.

    Raises:
        NotCompiledError: there is none.
    """
    chosen = shlex.split(os.environ.get("CC", ""))
    for name in chosen[:1] or COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return [path, *chosen[1:]]
    raise NotCompiledError(f"no C compiler: {' or '.join(chosen[:1] or COMPILERS)} is not there")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMPILE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiledError(f"the C compiler can't be run: {error}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = next((line for line in lines if "error" in line), lines[-1] if lines else "")
        raise NotCompiledError(f"{command[0]} failed with status {done.returncode}: {said}")
    return done.stdout


def _cpu() -> list[str]:
    """Return what tells this CPU's instructions: architecture, model, the features that it has."""
    known = [platform.machine(), platform.processor()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        names = ("model name", "flags", "Features", "CPU part")
        known += [line for line in first.splitlines() if line.startswith(names)]
    return known
