"""Which names a request may call a server of this machine by.

A page from elsewhere can make its own name resolve to 127.0.0.1 (DNS rebinding), and its scripts
would then read this server as if it were theirs. Their requests bear that name in `Host`; an
address in numbers can't be made to resolve to another.
"""

from __future__ import annotations

import ipaddress
import re
import socket

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d{1,5})?")


def is_own_name(header: str, host: str) -> bool:
    """Whether a request's `Host` is this machine's, whatever its port.

    Another port is that of a tunnel: `ssh -L 9000:127.0.0.1:8010`.

    Args:
        header: the value of `Host`.
        host: what the server listens on.
    """
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    name = found["name"].strip("[]").lower()
    if name in ("localhost", host.lower(), socket.gethostname().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
