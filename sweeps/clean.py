"""`python -m sweeps.clean`: what the sweeps and the cache take on the disk, and its removal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError

if TYPE_CHECKING:
    from sweeps.tracking.disk_usage import Item

_OF_SWEEPS = ("models", "checkpoints", "state")
# What isn't a sweep's has no state. A sweep that this store does not know may be another store's.
_OVER = ("finished", "deleted", "")
_LOG_WIDTH = 10_000  # characters of a line in a log, where none is wrapped


def main(argv: list[str] | None = None) -> int:
    """Print what lies on the disk, and remove what the flags name."""
    args = _parser().parse_args(argv)
    removes = any(value is not None and value is not False for value in _asked(args).values())
    if args.relocate:
        if removes:
            raise InputError("--relocate removes nothing: give it without the flags that do")
        print(relocated(args.tracking_uri, args.dry_run))
        return 0

    if args.former_champions and args.versions is None:
        raise InputError("--former-champions says which versions may go too: add --versions")
    items, states = survey(args.tracking_uri, args.former_champions)
    wanted = chosen(items, states, args)
    if not removes:
        print_table(items)
        return 0
    if not wanted:
        running = ", ".join(name for name, state in sorted(states.items()) if state == "running")
        stays = f"; what is of a running sweep stays ({running})" if running else ""
        print(f"there is nothing of that to remove{stays}")
        return 0
    print_table(wanted)
    if args.dry_run:
        print(f"would remove {megabytes(sum(item.size for item in wanted))} (--dry-run)")
        return 0
    if not args.yes:
        if not sys.stdin.isatty():
            raise InputError(
                "removing takes --yes where nobody can be asked; --dry-run only reports"
            )
        if input("remove these? [y/N] ").strip().lower() not in ("y", "yes"):
            return 0
    print(f"removed {megabytes(remove(wanted))}")
    return 0


def _parser() -> cli.Parser:
    parser = cli.Parser(
        prog="python -m sweeps.clean",
        description="Show what sweeps and the cache take on the disk; with flags, remove it. "
        "Models of registered versions stay, and so does all of a sweep that runs. "
        "Without a SWEEP those that are finished or deleted are meant; others must be named.",
        common=(
            "--models",
            "--checkpoints",
            "--state",
            "--deleted",
            "--cache",
            "--versions",
            "--relocate",
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
        "--checkpoints", nargs="*", metavar="SWEEP", help="Ray's files of interrupted sweeps"
    )
    parser.add_argument(
        "--state", nargs="*", metavar="SWEEP", help="all of .sweeps/SWEEP: no --resume after that"
    )
    parser.add_argument(
        "--versions",
        nargs="*",
        metavar="NAME",
        help="versions of the registered model NAME, or of all, that no alias names",
    )
    parser.add_argument(
        "--former-champions",
        action="store_true",
        help="with --versions: also those that a rollback could go back to",
    )
    parser.add_argument(
        "--deleted", action="store_true", help="models and artifacts of runs deleted in MLflow"
    )
    parser.add_argument(
        "--cache", nargs="*", metavar="PART", help="the cache, or parts of it such as corpus"
    )
    parser.add_argument(
        "--relocate",
        action="store_true",
        help="remove nothing: let the record of a moved or copied folder name the files there",
    )
    parser.add_argument("--dry-run", action="store_true", help="report, but change nothing")
    parser.add_argument("--yes", action="store_true", help="don't ask; needed without a terminal")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: the current folder's)"
    )
    return parser


def remove(items: Sequence[Item]) -> int:
    """Remove what lies on the disk.

    Returns:
        The bytes that are free again.

    Raises:
        InputError: something belongs to another user.
    """
    size = 0
    for item in items:
        try:
            size += item.remove() if item.remove is not None else 0
        except PermissionError as error:
            flag = f"--{item.kind} {item.name}"
            raise InputError(
                f"{flag}: {error.filename or 'its files'} can't be removed ({error.strerror}); "
                f"removed before: {megabytes(size)}"
            ) from error
    return size


def relocated(tracking_uri: str | None, dry_run: bool) -> str:
    """Correct the paths in a moved or copied store; return what was corrected.

    Args:
        tracking_uri: the store as it was asked for.
        dry_run: only report what would be.

    Raises:
        InputError: it is no SQLite store, a sweep is running in its folder, its files are not
            beside it, or it can't be written.
    """
    import sqlite3

    from sentiment.tracking.database import sqlite_file
    from sentiment.tracking.relocation import displacement, relocate
    from sentiment.tracking.store import tracking_uri as address
    from sweeps.tracking import disk_usage
    from sweeps.workspace import STATE_FOLDER

    database = sqlite_file(address(tracking_uri))
    if database is None:
        raise InputError("--relocate is for a store in an SQLite file: others keep their addresses")
    if not database.is_file():
        raise InputError(f"{database}: there is no such store")
    try:
        found = displacement(database)
    except sqlite3.Error as error:
        raise InputError(f"{database} can't be read ({error})") from error
    if found is None:
        return f"{database} names the files where they are: nothing to correct"
    for folder in {STATE_FOLDER.absolute(), found.folder / STATE_FOLDER.name}:
        if running := disk_usage.running_sweep(folder):
            raise InputError(f"the sweep {running} is running: wait for it, or end it first")
    counts = relocate(database, dry_run=dry_run)
    what = ", ".join(
        f"{count} {name if count > 1 else name.removesuffix('s')}" for name, count in counts.items()
    )
    verb = "would correct" if dry_run else "corrected"
    end = " (--dry-run)" if dry_run else ""
    return f"{verb} {what}: from {found.recorded} to {found.folder}{end}"


def survey(
    tracking_uri: str | None, former_champions: bool = False
) -> tuple[list[Item], dict[str, str]]:
    """Return all that lies on the disk, and the state of each sweep by its name.

    A store that isn't there holds nothing.

    Args:
        tracking_uri: the store as it was asked for, None for the default one.
        former_champions: whether these are among the versions that may go.

    Raises:
        InputError: the store can't be opened.
    """
    from sentiment.tracking.store import find_store, read_store
    from sentiment.tracking.store import tracking_uri as address
    from sweeps.registry.unneeded_versions import unneeded_versions
    from sweeps.tracking import disk_usage
    from sweeps.workspace import STATE_FOLDER

    uri = address(tracking_uri)
    items: list[Item] = []
    record = disk_usage.Record({}, [], frozenset())
    client = find_store(uri) if tracking_uri is None else read_store(uri)
    if client is not None:
        record = disk_usage.Record.read(client)
        items += disk_usage.stored(client, record)
        items += unneeded_versions(client, record, former_champions)
    items += disk_usage.states(STATE_FOLDER, record)
    states = record.states()
    # The lock of a folder may belong to a sweep that has no run yet.
    states |= {item.name: item.state for item in items if item.kind == "state"}
    return [*items, *disk_usage.caches(busy="running" in states.values())], states


def chosen(
    items: Sequence[Item], states: Mapping[str, str], args: argparse.Namespace
) -> list[Item]:
    """Return what the flags name.

    Args:
        items: what lies on the disk.
        states: the state of each sweep by its name.
        args: the flags.

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
            if not found and kind in _OF_SWEEPS and name in states:
                raise InputError(f"--{kind} {name}: {_nothing_of(states[name])}")
            if not found:
                known = ", ".join(item.name for item in there) or "nothing"
                raise InputError(f"--{kind} {name}: there is none; there is {known}")
            if found[0].remove is None:
                raise InputError(f"--{kind} {name}: {found[0].stays}")
            wanted += found
    # What lies within something else that goes is counted once.
    whole = {item.name for item in wanted if item.kind == "state"}
    return [item for item in wanted if item.kind != "checkpoints" or item.name not in whole]


def print_table(items: Sequence[Item]) -> None:
    """Print what lies on the disk, a row a thing, with the flag that removes it."""
    from rich.console import Console

    from sweeps.terminal import Column, fitted_table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    # The state of a sweep holds its checkpoints.
    total = sum(item.size for item in items if item.kind != "checkpoints")
    flags = [f"--{item.kind}" if item.remove else "stays" for item in items]
    names = [f" {item.name}" if item.remove and item.kind != "deleted" else "" for item in items]
    columns = [
        Column("what", [*map(_title, items), "together"]),
        Column("takes", [*(megabytes(item.size) for item in items), megabytes(total)], right=True),
        Column("which is", [*(item.what for item in items), ""]),
    ]
    whole = [flag + name for flag, name in zip(flags, names, strict=True)]
    fitted = fitted_table([*columns, Column("removed by", [*whole, ""], spare=1)], console.width)
    if fitted.left_out:
        fitted = fitted_table([*columns, Column("removed by", [*flags, ""])], console.width)
    console.print(fitted.table)


def megabytes(size: int) -> str:
    """Write a number of bytes as megabytes."""
    return f"{size / 1e6:,.1f} MB"


def _nothing_of(state: str) -> str:
    """Return why a sweep has nothing of a kind."""
    from sweeps.tracking.disk_usage import RUNNING

    if state == "unknown":
        return "the store does not know that sweep"
    return RUNNING if state == "running" else f"the sweep is {state} and has none of that left"


def _title(item: Item) -> str:
    return f"{item.name} ({item.state})" if item.state else item.name


def _asked(args: argparse.Namespace) -> dict[str, list[str] | bool | None]:
    return {kind: getattr(args, kind) for kind in (*_OF_SWEEPS, "versions", "deleted", "cache")}


if __name__ == "__main__":
    cli.run(main)
