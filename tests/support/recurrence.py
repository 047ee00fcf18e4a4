"""Both ways of running recurrent layers on the CPU, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

from sentiment.nn import rnn_choice

WAYS = ("compiled", "python")


@contextmanager
def taken(way: str) -> Iterator[None]:
    """Have layers run in one of `WAYS`; a test of the other is skipped without a C compiler."""
    layers, reason = rnn_choice.compiled()
    if way == "compiled" and layers is None:
        pytest.skip(f"recurrent layers are not compiled here: {reason}")
    chosen = rnn_choice.Compiled(layers if way == "compiled" else None, reason)
    with mock.patch.object(rnn_choice, "compiled", lambda: chosen):
        yield
