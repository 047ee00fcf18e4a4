"""The folder of a saved model: written whole or not at all, its JSON read with checks."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentiment.errors import InputError


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside another, whose place it takes if all goes well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON in ASCII."""
    # Escapes keep words whole that UTF-8 can't write, such as lone surrogates.
    path.write_text(json.dumps(value, ensure_ascii=True, indent=1), encoding="ascii")


def read_json(path: Path, kind: type[dict] | type[list]) -> Any:
    """Read a JSON object or list.

    Raises:
        InputError: the file is torn, or holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON, or damaged") from None
    if not isinstance(value, kind):
        raise InputError(f"{path}: holds no {'object' if kind is dict else 'list'}")
    return value


def read_strings(path: Path) -> list[str]:
    """Read a JSON list of strings that differ; raises as `read_json`."""
    values: list[str] = read_json(path, list)
    if not all(isinstance(value, str) for value in values):
        raise InputError(f"{path}: holds something that is not a string")
    if len(set(values)) != len(values):
        raise InputError(f"{path}: holds the same string twice")
    return values
