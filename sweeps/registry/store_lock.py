"""A lock for what reads and then writes the registry: processes of one machine wait for each other.

MLflow has no transactions over several calls. Processes on other machines that share a tracking
server are not held back; what must be right for them too is checked by whoever writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from sentiment.errors import InputError
from sentiment.io.cache import cache_root


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Hold this machine's lock of a store; it must not be held already.

    Args:
        uri: the store's address.

    Raises:
        InputError: the cache, in which the lock lies, can't be written.
    """
    path = cache_root() / "locks" / f"{hashlib.sha256(uri.encode()).hexdigest()}.lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise InputError(
            f"the cache {cache_root()} can't be written ({error.strerror or error}): "
            "set SENTIMENT_CACHE to a folder that can"
        ) from error
    try:
        yield
    finally:
        lock.release()
