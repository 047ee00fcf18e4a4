"""`python -m sweeps.launch`: the main job, a sweep that ends with its best model registered."""

from __future__ import annotations

import argparse
import json
import os
import sys

from sentiment import cli
from sentiment.errors import InputError, first_line
from sentiment.tracking.http import check_reachable, is_server
from sentiment.tracking.provenance import redacted
from sweeps.config import SweepSettings
from sweeps.pipeline.flags import add_flags, read_settings

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
    # Where they are made already, Ray starts when it is needed.
    if "mlflow" in sys.modules or settings.address is not None or args.dry_run:
        return _launch(parser, args, settings)
    # Beside the imports.
    from sweeps.execution.local_ray import end_ahead, start_ahead

    start_ahead(
        settings.trials, settings.cpus_per_trial, settings.gpus_per_trial, settings.concurrency
    )
    try:
        return _launch(parser, args, settings)
    finally:
        end_ahead()


def _launch(
    parser: argparse.ArgumentParser, args: argparse.Namespace, settings: SweepSettings
) -> int:
    """Run the sweep, or print its plan."""
    from mlflow.exceptions import MlflowException

    from sweeps.errors import SweepError
    from sweeps.pipeline.dry_run import print_plan
    from sweeps.pipeline.resume import CompleteError
    from sweeps.pipeline.start import checked, end_complete, read_resumed
    from sweeps.pipeline.sweep import run
    from sweeps.terminal import notify, sweep_console
    from sweeps.tracking.outbox import RecordError

    # The result of --json goes to standard output alone, all else to standard error.
    console = sweep_console(stderr=args.json)
    resumed = None
    try:
        if args.resume is not None:
            defaults = {name: parser.get_default(name) for name in vars(args)}
            resumed = read_resumed(args, defaults)
            settings = resumed.settings
        with checked(settings, console, args.quiet, resumed) as context:
            if args.dry_run:
                print_plan(context)
                return 0
            result = run(context)
    except CompleteError as complete:
        line, challenger = end_complete(complete, args.as_challenger and not args.dry_run)
        notify(console, line)
        if args.json and challenger is not None:
            sweep = complete.settings.name
            print(json.dumps({"sweep": sweep, "challenger": challenger.plain()}))
        return 0
    except (RecordError, SweepError, MlflowException) as error:
        print(f"error: {redacted(first_line(error))}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(result.summary()))
    return 0 if result.winner is not None else 1


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


if __name__ == "__main__":
    cli.run(main)
