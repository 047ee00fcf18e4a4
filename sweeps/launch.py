"""`python -m sweeps.launch`: the main job, a sweep that ends with its best model registered."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.errors import InputError, first_line
from sentiment.tracking.http import check_reachable, is_server
from sentiment.tracking.provenance import redacted
from sweeps.config import PLACES, SweepSettings
from sweeps.pipeline.flags import add_flags, read_settings, seconds_of

if TYPE_CHECKING:
    from sweeps.pipeline.resume import ResumedSweep

COMMON = (
    "--trials",
    "--data",
    "--dataset",
    "--text-column",
    "--label-column",
    "--set",
    "--max-epochs",
    "--time-budget",
    "--concurrency",
    "--name",
    "--resume",
    "--dry-run",
)
"""Flags of --help."""
RESUMABLE = (
    "resume",
    "trials",
    "time_budget",
    "address",
    "storage",
    "study_storage",
    "as_challenger",
    "tracking_uri",
    "experiment",
    "notify",
    "dry_run",
    "quiet",
    "json",
)
"""Flags that go with --resume; a resumed sweep keeps its other settings."""


def main(argv: list[str] | None = None) -> int:
    """Read the command line and run the sweep, or print its plan."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.dry_run and args.json:
        raise InputError("--dry-run --json: the plan is for reading; leave out one of the two")
    settings = read_settings(args)
    store = args.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if is_server(store):
        check_reachable(store)  # before the imports, which take seconds

    from mlflow.exceptions import MlflowException

    from sweeps.errors import SweepError
    from sweeps.execution.ray_cluster import joined_ray
    from sweeps.pipeline.checks import check
    from sweeps.pipeline.dry_run import print_plan
    from sweeps.pipeline.resume import CompleteError
    from sweeps.pipeline.sweep import run
    from sweeps.terminal import sweep_console
    from sweeps.tracking.outbox import RecordError

    resumed = None
    if args.resume is not None:
        _only_for_resume(parser, args)
        try:
            resumed = _resumed(args)
        except CompleteError as complete:
            if args.as_challenger and complete.finished and not args.dry_run:
                return make_challenger(complete.settings, args.json)
            if not complete.delivered:
                raise
            print("the store has the whole record now; no trial was left to do", file=sys.stderr)
            return 0
        except RecordError as error:
            return _failed(error)
        asked = resumed.settings.as_challenger or args.as_challenger
        settings = replace(resumed.settings, as_challenger=asked, notify=args.notify)
    # The result of --json goes to standard output alone, all else to standard error.
    console = sweep_console(stderr=args.json)
    try:
        with nullcontext() if settings.address is None else joined_ray(settings.address):
            context = check(settings, console, args.quiet, resumed)
            if args.dry_run:
                print_plan(context)
                return 0
            result = run(context)
    except (RecordError, SweepError, MlflowException) as error:
        return _failed(error)
    if args.json:
        print(json.dumps(result.summary()))
    return 0 if result.winner is not None else 1


def _failed(error: Exception) -> int:
    print(f"error: {redacted(first_line(error))}", file=sys.stderr)
    return 1


def make_challenger(settings: SweepSettings, as_json: bool) -> int:
    """Make the winner of a sweep that has nothing left to do the challenger."""
    from sentiment.tracking.store import read_store, tracking_uri
    from sweeps.registry import versions
    from sweeps.registry.challenger import move_challenger

    client, name = read_store(tracking_uri(settings.tracking_uri)), settings.model_name
    number = versions.find_candidate(client, name, sweep=settings.name).version
    version = client.get_model_version(name, str(number))
    state = move_challenger(client, name, version, settings.objective, forced=True)
    line = f"no trial was left to do; version {number} of {name}{state.sentence()}"
    print(line, file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(json.dumps({"sweep": settings.name, "challenger": state.plain()}))
    return 0


def _resumed(args: argparse.Namespace) -> ResumedSweep:
    from sentiment.tracking.store import read_store, tracking_uri
    from sweeps.pipeline.resume import load_sweep
    from sweeps.workspace import STATE_FOLDER

    return load_sweep(
        read_store(tracking_uri(args.tracking_uri)),
        args.experiment,
        args.tracking_uri,
        STATE_FOLDER,
        args.resume or None,
        args.trials,
        seconds_of("time_budget", args.time_budget),
        {name: getattr(args, name) for name in ("address", *PLACES)},
    )


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m sweeps.launch",
        description="Search the settings of a text classifier and register the best in MLflow.",
        common=COMMON,
        examples=(
            "python -m sweeps.launch --dataset rotten-tomatoes --trials 8 --max-epochs 1",
            "python -m sweeps.launch --data reviews.csv --set cell=gru --time-budget 30m",
            "python -m sweeps.launch --resume",
        ),
    )
    search = parser.add_argument_group("search")
    add_flags(search, "search")
    search.add_argument(
        "--language", metavar="CODE", help="language of the spacy tokenizer (default: en)"
    )
    cli.add_set_argument(search)
    cli.add_data_arguments(parser)
    add_flags(parser.add_argument_group("machine"), "machine")
    cli.add_store_arguments(parser)
    sweep = parser.add_argument_group("sweep")
    add_flags(sweep, "sweep")
    sweep.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="NAME",
        help="resume that sweep, or the newest",
    )
    add_flags(sweep, "record")
    sweep.add_argument(
        "--dry-run", action="store_true", help="print the plan and the expected time, run nothing"
    )
    sweep.add_argument("--quiet", action="store_true", help="show no progress of the trials")
    sweep.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return parser


def _only_for_resume(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Raise an InputError for a flag that a resumed sweep can't change."""
    for name, value in vars(args).items():
        if name not in RESUMABLE and value != parser.get_default(name):
            flag = cli.as_typed(f"--{name.replace('_', '-')}", value)
            raise InputError(f"{flag}: a resumed sweep keeps its own; leave it out")


if __name__ == "__main__":
    cli.run(main)
