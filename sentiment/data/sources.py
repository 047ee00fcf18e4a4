"""The files that `--data` or `--unlabelled` names: patterns, folders, a split at a name's end."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sentiment.data.config import DataConfig
from sentiment.errors import InputError
from sentiment.io.encodings import check_utf8

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(
        ("valid", "validation", "val", "dev", "development", "eval", "evaluation"), "valid"
    ),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split may be called, case and blanks aside, and which one is meant."""


_PATTERN = set("*?[")


@dataclass(frozen=True)
class Source:
    """A file of texts, or a folder of Parquet files.

    Attributes:
        path: where it is.
        split: the split that all its texts are in; None if it is not given.
    """

    path: Path
    split: str | None = None


def split_name(text: str) -> str:
    """Return the split that a name means.

    Raises:
        ValueError: it means none.
    """
    name = text.strip().lower()
    if name in SPLIT_NAMES:
        return SPLIT_NAMES[name]
    close = get_close_matches(name, SPLIT_NAMES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(SPLIT_NAMES)}"
    raise ValueError(f"unknown split {text!r:.60}; {hint}")


def find_sources(names: Sequence[str], option: str = "--data") -> list[Source]:
    """Return the files that some values of a flag name, each pattern's sorted.

    Args:
        names: the values.
        option: the flag, for messages.

    Raises:
        InputError: a pattern fits no file, a file is named twice or not in UTF-8, or a split is
            unknown.
    """
    sources = [source for name in names for source in _of_name(name, option)]
    seen: set[Path] = set()
    for source in sources:
        check_utf8(str(source.path.absolute()), "the file's name")
        place = source.path.resolve()
        if place in seen:
            raise InputError(f"{option} {source.path}: the file is named twice; name it once")
        seen.add(place)
    if any(source.split for source in sources):
        sources = [Source(source.path, source.split or "train") for source in sources]
    return sources


def _of_name(name: str, option: str) -> Iterator[Source]:
    if not name.strip():
        raise InputError(f"{option} is empty: name a file")
    if "://" in name:
        raise InputError(f"{option} {name}: not a file of this machine; download it and name that")
    found = _matches(name)
    split = None
    start, colon, end = name.rpartition(":")
    if not found and colon and start:
        found = _matches(start)
        try:
            split = split_name(end)
        except ValueError as error:
            if found:
                raise InputError(f"{option} {name}: {error}") from None
        else:
            name = start
    if not found and set(name) & _PATTERN:
        raise InputError(f"{option} {name}: no file has such a name")
    for path in found or [Path(name).expanduser()]:  # one that is not there fails when it is read
        yield Source(path, split)


def _matches(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.exists():
        return [path]
    # Not Path.glob, which takes no absolute pattern.
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207
    return sorted(Path(name) for name in found)


def absolute(config: DataConfig) -> DataConfig:
    """Return where the data is, whatever folder a later command runs in."""
    changes: dict[str, object] = {}
    if config.data is not None:
        changes["data"] = tuple(map(_absolute, config.data))
    if config.unlabelled is not None:
        changes["unlabelled"] = tuple(map(_absolute, config.unlabelled))
    if config.data_dir is not None:
        changes["data_dir"] = _absolute(config.data_dir)
    return config.model_copy(update=changes)


def _absolute(name: str) -> str:
    # A pattern or a split's name at the end stays as it is.
    return str(Path(name).expanduser().absolute())


def common_name(sources: Iterable[Source]) -> str:
    """Return what the data set is called: the first file's name, and how many more there are."""
    first, *others = [source.path.name or str(source.path.resolve().name) for source in sources]
    return f"{first}+{len(others)}" if others else first
