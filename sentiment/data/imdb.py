"""The Large Movie Review Dataset v1.0 (Maas et al., 2011) in its official layout.

`aclImdb/{train,test}/{neg,pos}/ID_RATING.txt` and `aclImdb/train/unsup/ID_0.txt`, as a folder
or as the tarball that it is published as. The tarball is read as it is, never unpacked.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from sentiment.data.splits import Split
from sentiment.errors import InputError
from sentiment.io.archive import read_members
from sentiment.io.cache import cache_root

LABEL_NAMES = ("neg", "pos")
GROUPS = "film"
"""What its reviews are grouped by: the films that the lists of URLs name."""
URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
CHECKSUM = "md5:7c2ac02c03563afcf9b574c7e56c153a"

_ARCHIVE = "aclImdb_v1.tar.gz"
_UNPACKED_LIMIT = 2**30
_URLS = re.compile(r"(?:^|/)(train|test)/urls_(neg|pos)\.txt$")
_REVIEW = re.compile(r"(?:^|/)(train|test)/(neg|pos|unsup)/(\d+)_\d+\.txt$")

_WANTED = re.compile(f"{_URLS.pattern}|{_REVIEW.pattern}")


def load(
    data_dir: str | None,
    progress: Callable[[str], None] | None = None,
    *,
    groups: bool = False,
    url: str | None = None,
    checksum: str = CHECKSUM,
) -> dict[str, Split]:
    """Return the splits `train`, `test` and, where it is there, `unsup`.

    Args:
        data_dir: the folder `aclImdb`, a folder that holds it or its tarball, or the tarball;
            None: the tarball in the cache, which is downloaded first if it isn't there.
        progress: called with a line on what is being done; a download then draws a bar.
        groups: read which film each labelled review is of.
        url: where to download from; None: `$SENTIMENT_IMDB_URL`, for a mirror, else `URL`.
        checksum: of what is downloaded.

    Raises:
        InputError: it can't be had, or it isn't the data set, or lacks a half.
    """
    if data_dir is None:
        from sentiment.io.download import fetch  # imports what no other data set needs

        url = url or os.environ.get("SENTIMENT_IMDB_URL") or URL
        if progress:
            progress(f"imdb: reading {url} (84 MB) or its copy in {_downloads()}")
        try:
            source = fetch(url, checksum, _downloads(), progress is not None)
        except InputError as error:
            raise InputError(
                f"{error}\nOr get {_ARCHIVE} in another way and name it with --data-dir"
            ) from error
    else:
        source = _locate(Path(data_dir).expanduser())
    files = (
        _files_of(source)
        if source.is_dir()
        else read_members(source, _WANTED, _UNPACKED_LIMIT).items()
    )
    return _splits(source, files, groups, progress)


def _downloads() -> Path:
    return cache_root() / "downloads"


def _locate(given: Path) -> Path:
    if not given.exists():
        raise InputError(f"--data-dir {given}: no such file or folder")
    if given.is_file():
        return given
    candidates = [given, given / "aclImdb"]
    for folder in candidates:
        if (folder / "train").is_dir() or (folder / "test").is_dir():
            return folder
    if (given / _ARCHIVE).is_file():
        return given / _ARCHIVE
    raise InputError(
        f"--data-dir {given}: holds neither aclImdb/ nor {_ARCHIVE}; name the folder aclImdb, "
        "the folder it is in, or the tarball"
    )


def _files_of(folder: Path) -> Iterable[tuple[str, bytes]]:
    for path in itertools.chain(folder.glob("*/*/*.txt"), folder.glob("*/urls_*.txt")):
        name = path.relative_to(folder).as_posix()
        if _WANTED.search(name):
            try:
                yield name, path.read_bytes()
            except OSError as error:
                raise InputError(f"{path}: can't be read ({error.strerror})") from error


def _splits(
    source: Path,
    files: Iterable[tuple[str, bytes]],
    groups: bool,
    progress: Callable[[str], None] | None,
) -> dict[str, Split]:
    found: dict[tuple[str, str], dict[tuple[int, str], str]] = defaultdict(dict)
    films: dict[tuple[str, str], list[str]] = {}
    for name, data in files:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{source}: {name} is not UTF-8 (byte {error.start})") from error
        if urls := _URLS.search(name):
            films[urls[1], urls[2]] = text.split()
        elif review := _REVIEW.search(name):
            found[review[1], review[2]][int(review[3]), name] = text
    halves = ["train", "test"] if any(found["test", name] for name in LABEL_NAMES) else ["train"]
    for half in halves:
        if missing := [f"{half}/{name}" for name in LABEL_NAMES if not found[half, name]]:
            raise InputError(
                f"{source}: the {half} half is missing, no reviews in {' and '.join(missing)}; "
                f"get the whole {_ARCHIVE}"
            )
    if "test" not in halves and progress:
        progress("imdb: there is no test half; a test split is drawn from the train half")
    splits = {
        half: Split(
            [text for name in LABEL_NAMES for text in _in_order(found[half, name])],
            np.repeat(
                np.arange(len(LABEL_NAMES)), [len(found[half, name]) for name in LABEL_NAMES]
            ).astype(np.int64),
            _films(source, half, found, films) if groups else None,
        )
        for half in halves
    }
    if unsup := _in_order(found["train", "unsup"]):
        splits["unsup"] = Split(unsup, np.empty(0, dtype=np.int64))
    return splits


def _films(
    source: Path,
    half: str,
    found: dict[tuple[str, str], dict[tuple[int, str], str]],
    films: dict[tuple[str, str], list[str]],
) -> list[str | None]:
    """Return the film of each labelled review of a half: line i of the URLs is of the id i."""
    groups: list[str | None] = []
    for name in LABEL_NAMES:
        urls, reviews = films.get((half, name), []), found[half, name]
        if max(number for number, _ in reviews) >= len(urls):
            raise InputError(
                f"--group-column {GROUPS}: {source} has no {half}/urls_{name}.txt with a line for "
                f"each review; get the whole {_ARCHIVE}"
            )
        # Some lists end an address in /usercomments, some do not.
        groups += [urls[number].removesuffix("/usercomments") for number, _ in sorted(reviews)]
    return groups


def _in_order(texts: dict[tuple[int, str], str]) -> list[str]:
    return [texts[key] for key in sorted(texts)]
