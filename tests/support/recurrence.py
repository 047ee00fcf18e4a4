"""Both ways of running recurrent layers on the CPU, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch

from sentiment.nn import rnn_choice

WAYS = ("compiled", "python")


@contextmanager
def taken(way: str) -> Iterator[None]:
    """Have layers run in one of `WAYS`; a test of the other is skipped without a C compiler."""
    if way == "compiled":
        layers, reason = rnn_choice.compiled(torch.float32)
        if layers is None:
            pytest.skip(f"recurrent layers are not compiled here: {reason}")
        yield
        return
    none = rnn_choice.Compiled(None, "a test has them not")
    with mock.patch.object(rnn_choice, "compiled", lambda dtype: none):
        yield
