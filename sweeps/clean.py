"""`python -m sweeps.clean`: what the sweeps and the cache take on the disk, and its removal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError

if TYPE_CHECKING:
    from sweeps.disk import Item

_OF_SWEEPS = ("models", "checkpoints", "state")
# What isn't a sweep's has no state. A sweep that this store does not know may be another store's.
_OVER = ("finished", "deleted", "")


def main(argv: list[str] | None = None) -> int:
    """Tell what lies on the disk, and remove what the flags say."""
    parser = cli.Parser(
        prog="python -m sweeps.clean",
        description="Say what sweeps and the cache take on the disk; with flags, remove it. Models "
        "that are registered stay, and so does all of a sweep that runs. Without a SWEEP those "
        "that are finished or deleted are meant; others must be named.",
        common=(
            "--models",
            "--checkpoints",
            "--state",
            "--deleted",
            "--cache",
            "--dry-run",
            "--yes",
        ),
        examples=(
            "python -m sweeps.clean",
            "python -m sweeps.clean --models --cache corpus --dry-run",
            "python -m sweeps.clean --state first --yes",
        ),
    )
    parser.add_argument(
        "--models", nargs="*", metavar="SWEEP", help="logged models of trials; the runs stay"
    )
    parser.add_argument(
        "--checkpoints", nargs="*", metavar="SWEEP", help="Ray's files of sweeps that were cut off"
    )
    parser.add_argument(
        "--state", nargs="*", metavar="SWEEP", help="all of .sweeps/SWEEP: no --resume after that"
    )
    parser.add_argument(
        "--deleted", action="store_true", help="models and artifacts of runs deleted in MLflow"
    )
    parser.add_argument(
        "--cache", nargs="*", metavar="PART", help="the cache, or parts of it such as corpus"
    )
    parser.add_argument("--dry-run", action="store_true", help="tell, but remove nothing")
    parser.add_argument("--yes", action="store_true", help="don't ask; needed without a terminal")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: the current folder's)"
    )
    args = parser.parse_args(argv)

    items = survey(args.tracking_uri)
    wanted = chosen(items, args)
    if not any(value is not None and value is not False for value in _asked(args).values()):
        print(table(items))
        return 0
    if not wanted:
        print("there is nothing of that to remove")
        return 0
    print(table(wanted))
    if args.dry_run:
        print(f"would remove {megabytes(sum(item.size for item in wanted))} (--dry-run)")
        return 0
    if not args.yes:
        if not sys.stdin.isatty():
            raise InputError("removing takes --yes where nobody can be asked; --dry-run only tells")
        if input("remove these? [y/N] ").strip().lower() not in ("y", "yes"):
            return 0
    size = sum(item.remove() for item in wanted if item.remove is not None)
    print(f"removed {megabytes(size)}")
    return 0


def survey(tracking_uri: str | None) -> list[Item]:
    """Return all that lies on the disk; a store that isn't there holds nothing.

    Raises:
        InputError: the store can't be opened.
    """
    from pathlib import Path

    from sentiment.record import read_store
    from sentiment.record import tracking_uri as address
    from sweeps import disk
    from sweeps.sweep import STATE_FOLDER

    uri = address(tracking_uri)
    there = not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()
    if tracking_uri is not None or there:
        client = read_store(uri)
        items = [*disk.stored(client), *disk.states(STATE_FOLDER, client)]
    else:
        items = list(disk.states(STATE_FOLDER, None))
    return [*items, *disk.caches(busy=any(item.state == "running" for item in items))]


def chosen(items: Sequence[Item], args: argparse.Namespace) -> list[Item]:
    """Return what the flags name.

    Raises:
        InputError: something that is named isn't there, or must stay.
    """
    wanted: list[Item] = []
    for kind, names in _asked(args).items():
        if names is None or names is False:
            continue
        there = [item for item in items if item.kind == kind]
        if names is True or not names:
            wanted += [item for item in there if item.remove and item.state in _OVER]
            continue
        for name in names:
            found = [item for item in there if item.name == name]
            if not found:
                known = ", ".join(item.name for item in there) or "nothing"
                raise InputError(f"--{kind} {name}: there is none; there is {known}")
            if found[0].remove is None:
                why = "a sweep is running" if kind == "cache" else "it is running"
                raise InputError(f"--{kind} {name}: {why}, so it stays")
            wanted += found
    # What lies within something else that goes is counted once.
    whole = {item.name for item in wanted if item.kind == "state"}
    return [item for item in wanted if item.kind != "checkpoints" or item.name not in whole]


def table(items: Sequence[Item]) -> str:
    """Return what lies on the disk, a line a thing, with the flag that removes it."""
    rows = [("what", "takes", "which is", "removed by")]
    for item in items:
        what = f"{item.name} ({item.state})" if item.state else item.name
        flag = f"--{item.kind}" + ("" if item.kind == "deleted" else f" {item.name}")
        rows.append((what, megabytes(item.size), item.what, flag if item.remove else "stays"))
    # The state of a sweep holds its checkpoints.
    total = sum(item.size for item in items if item.kind != "checkpoints")
    rows.append(("together", megabytes(total), "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:<{widths[2]}}  {d}".rstrip() for a, b, c, d in rows
    )


def megabytes(size: int) -> str:
    """Write a number of bytes as megabytes."""
    return f"{size / 1e6:,.1f} MB"


def _asked(args: argparse.Namespace) -> dict[str, list[str] | bool | None]:
    return {kind: getattr(args, kind) for kind in (*_OF_SWEEPS, "deleted", "cache")}


if __name__ == "__main__":
    cli.run(main)
