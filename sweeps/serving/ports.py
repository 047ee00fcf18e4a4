"""Where a server listens: a free port, checked before any work is done."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

from sentiment.errors import InputError


def bind(host: str, port: int) -> socket.socket:
    """Bind a port; no client can connect before the socket listens.

    Raises:
        InputError: the port is in use or none, or the host is not this machine's.
    """
    if not 0 < port < 65536:
        raise InputError(f"--port {port}: give a number from 1 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
        try:
            # As servers do: a connection that was closed just now does not keep the port.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
        except BaseException:
            taken.close()
            raise
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: can't listen there ({error.strerror}); "
            f"{_remedy(error, port)}"
        ) from error
    return taken


def _remedy(error: OSError, port: int) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "give --host an address of this machine, such as 127.0.0.1"
    if isinstance(error, PermissionError):
        return "give --port a number above 1023"
    return f"try --port {port + 1 if port < 65535 else port - 1}"


def check_port(host: str, port: int) -> None:
    """Check that one can listen there, for a server that takes the port itself.

    Raises:
        InputError: as `bind`.
    """
    bind(host, port).close()


def warn_if_open(host: str) -> None:
    """Warn on standard error that a server is not for this machine alone, if it isn't."""
    if not ipaddress.ip_address(
        socket.gethostbyname(host) if ":" not in host else host
    ).is_loopback:
        print(
            f"note: --host {host}: whoever reaches this machine can use this server, which asks "
            "for no password",
            file=sys.stderr,
        )


def address_of(host: str, port: int) -> str:
    """Return the address to open in a browser or to send requests to."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
