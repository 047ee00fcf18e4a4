"""Where a run comes from: the command, the code, the packages, the machine, the process.

All of it ends as tags of a run. Credentials in an address never do.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil

DISTRIBUTION = "sentiment-sweeps"
PRECISION_TAG = "provenance.precision"
RECURRENCE_TAG = "provenance.recurrence"

# A password with a slash should be quoted, and is not always: what stands between a colon and a
# slash is a password unless it is a port. USER:PASSWORD stands for both in messages.
_CREDENTIALS = re.compile(r"(?<=://)(?!USER:PASSWORD@)(?:[^/\s]*@|[^/\s:@]*:(?!\d+/)[^\s'\"]*@)")
# `key` alone is a secret within an address only: elsewhere it is the form `key=value` of `--set`,
# or an argument of a function in the code that a traceback quotes.
_SECRETS = re.compile(
    r"(?i)((?:\w*(?:password|passwd|token|secret|credential|signature)|\w+key|(?<=[?&])(?:key|sig))=)"
    r"(?:'[^']*'|\"[^\"]*\"|[^&\s]+)"
)
# The path of a webhook is a secret: it allows posting.
_WEBHOOK = re.compile(r"(--notify[= ]['\"]?https?://[^/\s'\"]*)/[^\s'\"]+")
# Clock steps move a process's start time, which is counted from the boot, by up to seconds.
_CLOCK_TOLERANCE = 5.0


def redacted(text: str) -> str:
    """Return a text without the user names, passwords, tokens and webhooks in its addresses."""
    text = _WEBHOOK.sub(r"\1/***", text)
    return _SECRETS.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def provenance_tags(precision: str) -> dict[str, str]:
    """Return the tags of a run that this process starts.

    Args:
        precision: the precision taken, not the one asked for: `float32` or `bfloat16`.
    """
    # Not for this module's other users: it imports torch.
    from sentiment.nn.rnn_choice import recurrence

    command = redacted(command_line())
    tags = {
        "mlflow.source.name": command,
        "mlflow.source.type": "LOCAL",
        "provenance.command": command,
        "provenance.python": platform.python_version(),
        "provenance.platform": platform.platform(),
        "provenance.packages": json.dumps(package_versions()),
        "provenance.cpu": cpu_model(),
        "provenance.cpus": str(os.cpu_count()),
        "provenance.gpu": ", ".join(gpu_models()) or "none",
        PRECISION_TAG: precision,
        RECURRENCE_TAG: recurrence(precision),
    }
    revision = code_revision()
    if revision is not None:
        commit, clean = revision
        tags["mlflow.source.git.commit"] = commit
        tags["provenance.git_commit"] = commit
        tags["provenance.git_clean"] = str(clean).lower()
    user = _user()
    if user:
        tags["mlflow.user"] = user
    return {**tags, **process_tags()}


def command_line() -> str:
    """Return the command that started this process, as one would type it.

    `python -m package.module` is recognised by the module's name, which `sys.argv` hides.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not spec.name:
        return shlex.join(sys.argv)
    return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])


def code_revision(folder: Path | None = None) -> tuple[str, bool] | None:
    """Return the commit of the project's checkout and whether its tree is clean.

    None where the project is installed from a package, or where git is missing or refuses.

    Args:
        folder: the root of the checkout; the one that this file is in, if None.
    """
    folder = folder or Path(__file__).resolve().parents[2]
    # An installed package may stand inside someone else's repository: only our own root counts.
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain")
    except (FileNotFoundError, subprocess.SubprocessError):
        return None
    return commit, not changes


def package_versions() -> dict[str, str]:
    """Return the installed versions of the project and of what it depends on, by name."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    names = [re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line]
    versions = {DISTRIBUTION: metadata.version(DISTRIBUTION)}
    for name in sorted(names):
        versions[name] = metadata.version(name)
    return versions


def cpu_model() -> str:
    """Return the name of the CPU, as the operating system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def gpu_models() -> list[str]:
    """Return the names of the GPUs that torch sees."""
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def process_tags() -> dict[str, str]:
    """Return the tags that identify the process that writes a run; see `is_alive`."""
    return {
        "process.host": socket.gethostname(),
        "process.pid": str(os.getpid()),
        "process.started": f"{psutil.Process().create_time():.2f}",
    }


def is_alive(tags: dict[str, str]) -> bool | None:
    """Return whether the process of `process_tags` still runs; None if this machine can't know."""
    if tags.get("process.host") != socket.gethostname():
        return None
    try:
        pid, started = int(tags["process.pid"]), float(tags["process.started"])
    except (KeyError, ValueError):
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Ids are used again: the same id with another start is another process.
        return abs(process.create_time() - started) < _CLOCK_TOLERANCE
    except psutil.NoSuchProcess:
        return False


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout.strip()


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under an id without a name
        return None
