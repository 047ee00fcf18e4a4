"""Both ways of running recurrent layers on the CPU, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch

from sentiment.nn import rnn_choice
from sentiment.nn.compiled_rnn import CompiledRNN

WAYS = ("compiled", "python")


def layers_of(dtype: torch.dtype) -> CompiledRNN:
    """Return the compiled layers of a precision; a test of what this machine lacks is skipped."""
    layers, reason = rnn_choice.compiled(dtype)
    if layers is None:
        pytest.skip(f"recurrent layers are not compiled here: {reason}")
    return layers


@contextmanager
def taken(way: str) -> Iterator[None]:
    """Have layers run in one of `WAYS`; a test of the other is skipped without a C compiler."""
    if way == "compiled":
        layers_of(torch.float32)
        yield
        return
    none = rnn_choice.Compiled(None, "a test has them not")
    with mock.patch.object(rnn_choice, "compiled", lambda dtype: none):
        yield
