"""The token by which the processes of one Ray know each other."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

_VARIABLE = "RAY_AUTH_TOKEN"


@contextmanager
def own_token() -> Iterator[None]:
    """Give a new token to the Ray that is started within, unless one is configured or it is off.

    Ray would write one to `~/.ray`, which can't always be written, and use it for every Ray of
    this user. Here it is handed down in the environment, where other users don't see it.
    """
    given = os.environ.keys() & {_VARIABLE, "RAY_AUTH_TOKEN_PATH"}
    if given or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        yield
        return
    os.environ[_VARIABLE] = secrets.token_hex(32)
    # Ray reads a token once a process.
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        AuthenticationTokenLoader.instance().reset_cache()
