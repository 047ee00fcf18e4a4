"""Whether work failed because a disk is full, whoever noticed it and however it was wrapped."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# numpy, safetensors, pyarrow, SQLAlchemy and Ray report it in their message alone.
_IN_WORDS = re.compile(
    r"No space left on device|database or disk is full|Disk quota exceeded|Local disk is full|"
    r"\d+ requested and \d+ written"
)


def full_disk(error: BaseException) -> str | None:
    """Return a message that a disk is full, if an exception or a cause of it means that.

    Returns:
        Which file could not be written, where that is known; None if it is something else.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return f"the disk is full: {cause.filename or 'a file'} can't be written"
        if isinstance(cause, sqlite3.Error) and "disk is full" in str(cause):
            return "the disk is full: a database can't be written"
        if _IN_WORDS.search(str(cause)):
            return "the disk is full: a file can't be written"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
