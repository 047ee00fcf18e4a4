"""The sha256 of a saved model's files: recorded with a version, checked before it is promoted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sentiment.cache import sha256_of


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a folder, by its path within it."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def differences(recorded: Mapping[str, str], folder: Path) -> list[str]:
    """Say what in a folder is not as it was recorded: a line a file, none if all is well."""
    found = digests(folder)
    return [
        *(f"{name} is missing" for name in recorded if name not in found),
        *(
            f"{name} is not the file it was"
            for name in recorded
            if found.get(name) not in (None, recorded[name])
        ),
        *(f"{name} was not there" for name in found if name not in recorded),
    ]
