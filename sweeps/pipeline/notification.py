"""`--notify`: tell a command or a webhook how a sweep ended.

A notification that fails is reported in a line and costs the sweep nothing else.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from sentiment.errors import InputError, first_line
from sentiment.tracking.provenance import redacted
from sentiment.wording import duration
from sweeps.console.summary import SweepResult
from sweeps.trials.outcomes import count_parts, counts_of

TIMEOUT = 30.0
"""Seconds that a command or a webhook may take."""


def check_notify(target: str | None) -> None:
    """Check where `--notify` sends to, as far as that needs no request.

    Raises:
        InputError: it is neither a URL nor a command that is there.
    """
    if target is None:
        return
    if _is_url(target):
        if not urlsplit(target).hostname:
            raise InputError(f"--notify {_shown(target)}: the URL names no host")
        return
    try:
        words = shlex.split(target)
    except ValueError as error:
        raise InputError(f"--notify {target}: can't be read as a command ({error})") from None
    if not words or shutil.which(words[0]) is None:
        raise InputError(
            f"--notify {target}: there is no such command; give one that reads JSON from standard "
            "input, or a URL"
        )


def finished(result: SweepResult) -> dict[str, Any]:
    """Return what is sent of a sweep that ended by itself."""
    counts = ", ".join(count_parts(counts_of(result.outcomes)))
    text = f"sweep {result.name} ended after {duration(result.seconds)}: {counts}"
    if result.winner is not None:
        text += f"; best: {result.winner.name}"
    if "test/accuracy" in result.test:
        text += f", test accuracy {result.test['test/accuracy']:.4f}"
    return {"state": "finished", "text": text, **result.summary()}


def unfinished(name: str, run_id: str, error: BaseException, resume: str) -> dict[str, Any]:
    """Return what is sent of a sweep that was interrupted or failed.

    Args:
        name: the sweep.
        run_id: its run.
        error: what ended it.
        resume: the command that resumes it.
    """
    known = {"sweep": name, "run_id": run_id, "resume": resume}
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return {"state": "interrupted", "text": f"sweep {name} was interrupted", **known}
    reason = redacted(first_line(error))
    return {"state": "failed", "text": f"sweep {name} failed: {reason}", "error": reason, **known}


def send(target: str | None, result: Mapping[str, Any], notify: Callable[[str], None]) -> None:
    """Send how a sweep ended.

    Args:
        target: a URL or a command, checked by `check_notify`; None sends nothing.
        result: plain values; `text` is a sentence for people.
        notify: receives a line if it can't be sent.
    """
    if target is None:
        return
    try:
        if _is_url(target):
            _post(target, result)
        else:
            _run(shlex.split(target), result)
    except (OSError, subprocess.SubprocessError) as error:  # requests' errors are OSErrors
        notify(f"warning: --notify {_shown(target)} failed ({_reason(error)})")


def _post(url: str, result: Mapping[str, Any]) -> None:
    """Post JSON with a key `text`, which Slack and its like show; plain text to ntfy."""
    host = urlsplit(url).hostname or ""
    text = str(result["text"])
    if host.split(".")[0] == "ntfy":
        response = requests.post(url, text.encode(), headers={"Title": "Sweep"}, timeout=TIMEOUT)
    elif host == "hooks.slack.com":
        response = requests.post(url, json={"text": text}, timeout=TIMEOUT)
    else:
        response = requests.post(url, json=dict(result), timeout=TIMEOUT)
    response.raise_for_status()


def _run(command: list[str], result: Mapping[str, Any]) -> None:
    """Run a command with the result as JSON on its standard input; its output is not ours."""
    subprocess.run(
        command,
        input=json.dumps(result),
        text=True,
        check=True,
        timeout=TIMEOUT,
        stdout=subprocess.DEVNULL,
    )


def _is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def _shown(target: str) -> str:
    """Return a target without its secrets: a webhook's path is one."""
    if not _is_url(target):
        return redacted(target)
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.hostname or ''}/…"


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError):
        return f"it answers {error.response.status_code}"
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    if isinstance(error, subprocess.CalledProcessError):
        return f"exit status {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took more than {TIMEOUT:.0f} seconds"
    return str(error)
