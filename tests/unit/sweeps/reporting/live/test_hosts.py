from __future__ import annotations

import socket

import pytest

from sweeps.reporting.live.hosts import is_own_name


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "LOCALHOST:9000",
        "127.0.0.1:8010",
        "10.0.0.7:8010",
        "[::1]:8010",
        "[fe80::1]",
        "gpu.example:8010",
        socket.gethostname(),
    ],
)
def test_names_of_this_machine(header: str) -> None:
    assert is_own_name(header, "gpu.example")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8010",
        "[::1",
        "::1",
        "a b",
    ],
)
def test_other_names(header: str) -> None:
    assert not is_own_name(header, "127.0.0.1")
