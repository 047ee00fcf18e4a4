"""`python -m sweeps.report`: leaderboards, comparisons, a page with figures, a live page."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import cli
from sentiment.errors import InputError
from sentiment.tracking.experiment import experiment_flag
from sentiment.tracking.registered_name import is_run_id
from sentiment.tracking.store_errors import is_read_only
from sentiment.wording import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from rich.console import Console

    from sentiment.data.datasets import DataConfig
    from sweeps.analysis.comparison import Comparison
    from sweeps.analysis.sweep_data import SweepData

COMPARISON_FILE = "comparison.html"
"""In the current folder: the page that compares sweeps or runs, unless `--output` names another."""

TOP = 20
"""Trials that are printed, unless `--top` says otherwise."""

LIVE_HOST, LIVE_PORT = "127.0.0.1", 8010
"""Where `--live` listens, unless `--host` and `--port` say otherwise."""

_LOG_WIDTH = 160
_STOP_SECONDS = 2


def main(argv: list[str] | None = None) -> None:
    """Print a leaderboard or a comparison, and make the page."""
    args = _parser().parse_args(argv)
    if args.top is not None and args.top < 1:
        raise InputError(f"--top {args.top}: give 1 or more")
    _check_live(args)
    if args.top is None:
        args.top = TOP

    from rich.console import Console

    from sentiment.tracking.store import read_store, tracking_uri

    client = read_store(tracking_uri(args.tracking_uri))
    experiment = client.get_experiment_by_name(args.experiment)
    if experiment is None:
        raise InputError(f"--experiment {args.experiment}: there is no such experiment")
    # Figures for a program go to standard output alone, all else to standard error.
    console = Console(stderr=args.csv or args.json, highlight=False)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    _close_orphans(client, console)
    if args.live:
        name = args.what[0] if args.what else None
        _serve_live(client, experiment.experiment_id, name, args)
        return
    found = [_find(client, experiment.experiment_id, name) for name in args.what or [None]]
    sweeps = [run for run in found if run.data.tags.get("sweep.role") == "sweep"]
    if not sweeps:
        _report_runs(client, found, args, console)
    elif len(sweeps) == len(found):
        _report_sweeps(client, sweeps, args, console)
    else:
        raise InputError("name sweeps, or runs of single models, but not both at once")


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m sweeps.report",
        description="A sweep's leaderboard, and its page: report.html and plots/ among the "
        "artifacts of its run. Several sweeps, or several runs, are compared; runs with a paired "
        "test of their predictions.",
        common=("--live", "--top", "--output", "--no-page", "--split", "--csv", "--json"),
        examples=(
            "python -m sweeps.report",
            "python -m sweeps.report --live",
            "python -m sweeps.report first second --output comparison.html",
            "python -m sweeps.report first --csv > leaderboard.csv",
        ),
    )
    parser.add_argument(
        "what", nargs="*", metavar="X", help="a sweep's name, or else a run's id (default: newest)"
    )
    parser.add_argument(
        "--top", type=int, metavar="N", help=f"trials that are printed (default: {TOP})"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write the page there too (default of comparisons: {COMPARISON_FILE})",
    )
    parser.add_argument("--no-page", action="store_true", help="print only, draw nothing")
    parser.add_argument(
        "--split",
        default="valid",
        choices=["valid", "test"],
        help="split for the paired test of runs",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print a table for a spreadsheet")
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument(
        "--live",
        action="store_true",
        help="serve a page that follows a running sweep (default: the newest), until Control-C",
    )
    parser.add_argument("--port", type=int, help=f"port of --live (default: {LIVE_PORT})")
    parser.add_argument("--host", help=f"address that --live listens on (default: {LIVE_HOST})")
    cli.add_data_arguments(parser)
    parser.set_defaults(dataset=None)  # the runs' own
    cli.add_store_arguments(parser)
    return parser


def _check_live(args: argparse.Namespace) -> None:
    """Check that flags were given that go with `--live`, or without it.

    Raises:
        InputError: others were.
    """
    if not args.live:
        if args.port is not None or args.host is not None:
            raise InputError("--port and --host are for --live: give that too")
        return
    if len(args.what) > 1:
        raise InputError("--live follows one sweep: name one, or none for the newest")
    printed = args.top is not None or args.output or args.no_page
    if printed or args.split != "valid" or _data(args) is not None:
        raise InputError("--live takes only --port, --host and the store's flags")


def _serve_live(
    client: MlflowClient, experiment_id: str, name: str | None, args: argparse.Namespace
) -> None:
    """Serve the page of a sweep until Control-C."""
    import uvicorn

    from sweeps.reporting.live.app import make_app
    from sweeps.reporting.live.live_report import LiveReport
    from sweeps.serving.ports import address_of, bind, warn_if_open
    from sweeps.tracking.queries import find_sweep, running_sweep

    name = name or running_sweep(client, [experiment_id])
    report = LiveReport(client, find_sweep(client, [experiment_id], name))
    host, port = args.host or LIVE_HOST, LIVE_PORT if args.port is None else args.port
    with bind(host, port) as listening:
        warn_if_open(host)
        app = make_app(report, host)
        # From here on requests wait until they are answered.
        listening.listen()
        print(f"{address_of(host, port)}  (follows {report.name}; Control-C ends it)", flush=True)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_STOP_SECONDS
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def _find(client: MlflowClient, experiment_id: str, name: str | None) -> Run:
    """Return the sweep's run of that name, or else the run of that id.

    Raises:
        InputError: there is neither.
    """
    from mlflow.exceptions import MlflowException

    from sweeps.tracking.queries import find_sweep

    try:
        return find_sweep(client, [experiment_id], name)
    except InputError as error:
        if name is None or not is_run_id(name):
            raise
        try:
            return client.get_run(name)
        except MlflowException:
            raise InputError(f"there is no sweep and no run {name}") from error


def _close_orphans(client: MlflowClient, console: Console) -> None:
    """Close what ended processes have left running, where this user may write to the store."""
    from sweeps.tracking.orphans import close_orphans

    try:
        closed = close_orphans(client)
    except Exception as error:
        if not is_read_only(error):
            raise
        _notify(console, "runs that ended processes left running stay so: the store is read-only")
        return
    if closed:
        runs = counted(len(closed), "run")
        _notify(console, f"closed {runs} that an ended process had left running")


def _report_sweeps(
    client: MlflowClient, runs: list[Run], args: argparse.Namespace, console: Console
) -> None:
    from sweeps.analysis.sweep_data import read_sweep
    from sweeps.reporting.publish import make_report, record_report, where

    if args.split != "valid" or _data(args) is not None:
        raise InputError("--split and the data's flags are for runs: name some by their ids")
    records = [read_sweep(client, run) for run in runs]
    _print_sweeps(console, records, args)
    if args.no_page:
        return
    if len(records) > 1:
        from sweeps.reporting.comparison_report import sweeps_report

        report = sweeps_report(
            records, cli.store_flag(args.tracking_uri), experiment_flag(args.experiment)
        )
        _write(console, args.output or Path(COMPARISON_FILE), report.html())
        return
    report = make_report(client, records[0], args.tracking_uri)
    html = report.html()
    if args.output:
        _write(console, args.output, html)
    try:
        record_report(client, runs[0].info.run_id, report, html)
    except Exception as error:
        if not is_read_only(error):
            raise
        hint = "" if args.output else "; --output FILE writes it elsewhere"
        _notify(console, f"the page can't be recorded: the store is read-only for this user{hint}")
        return
    _notify(console, f"report: {where(client, runs[0])}")


def _report_runs(
    client: MlflowClient, runs: list[Run], args: argparse.Namespace, console: Console
) -> None:
    from sweeps.analysis.comparison import compare_runs
    from sweeps.reporting.comparison_report import TEST_WARNING, runs_report

    if len({run.info.run_id for run in runs}) < len(runs):
        raise InputError("a run is named twice: name each once")
    if args.split == "test":
        _notify(console, f"warning: {TEST_WARNING}")
    comparison = compare_runs(client, runs, args.split, _data(args))
    _print_runs(console, comparison, args)
    if not args.no_page:
        _write(console, args.output or Path(COMPARISON_FILE), runs_report(comparison).html())


def _data(args: argparse.Namespace) -> DataConfig | None:
    """Return where the data is, if any flag gives it; else the runs have it."""
    from sentiment.data.datasets import DataConfig

    fields = DataConfig.model_fields
    given = {name: getattr(args, name) for name in fields}
    changed = {n: value for n, value in given.items() if value not in (None, fields[n].default)}
    if args.dataset is not None:
        changed["dataset"] = args.dataset
    return cli.checked_data_config(changed) if changed else None


def _write(console: Console, path: Path, html: bytes) -> None:
    from sweeps.reporting.publish import write_page

    write_page(path, html)
    _notify(console, f"report: {path.absolute().as_uri()}")


def _print_sweeps(console: Console, records: list[SweepData], args: argparse.Namespace) -> None:
    import pandas as pd

    from sweeps.reporting.comparison_report import comparability
    from sweeps.reporting.front import front_table
    from sweeps.reporting.leaderboard import fitted_page_table, terminal_table
    from sweeps.tracking.queries import leaderboard
    from sweeps.trials.outcomes import present_counts

    if args.csv or args.json:
        tables = []
        for record in records:
            table = leaderboard(record.everything, record.objective)
            table.insert(0, "sweep", record.name)
            tables.append(table)
        if args.csv:
            print(pd.concat(tables).to_csv(index=False), end="")
            return
        print(json.dumps({"sweeps": [_plain(r, t) for r, t in zip(records, tables, strict=True)]}))
        return
    for record in records:
        outcomes = present_counts(record.outcomes)
        state = record.run.data.tags.get("sweep.state", "")
        _notify(console, f"sweep {record.name} ({state}): {outcomes or 'no trials'}")
        fitted = terminal_table(record, args.top, console.width)
        console.print(fitted.table)
        if record.objectives.further and record.front:
            _notify(console, f"the Pareto front of {record.objectives}:")
            front = front_table(record.front, record.objectives)
            console.print(fitted_page_table(front, console.width))
        if record.cut_short:
            _notify(console, record.cut_short)
        if fitted.left_out:
            _notify(
                console,
                f"left out, as the terminal is too narrow: {', '.join(fitted.left_out)}; they are "
                "in --csv and the page",
            )
        if len(record.trials) > args.top:
            more = counted(len(record.trials) - args.top, "more trial")
            _notify(console, f"… and {more}: --top, or the page")
    for warning in comparability(records):
        _notify(console, f"warning: {warning}")


def _print_runs(console: Console, comparison: Comparison, args: argparse.Namespace) -> None:
    import pandas as pd

    from sweeps.reporting.comparison_report import metrics_table, pairs_table, settings_table
    from sweeps.reporting.leaderboard import fitted_page_table

    if args.csv:
        columns = [
            {"run_id": run.run_id, "run": run.label, **run.settings, **run.metrics}
            for run in comparison.runs
        ]
        print(pd.DataFrame(columns).to_csv(index=False), end="")
        return
    if args.json:
        print(json.dumps(comparison.plain()))
        return
    console.print(fitted_page_table(metrics_table(comparison), console.width))
    console.print(fitted_page_table(settings_table(comparison), console.width))
    for note in comparison.notes:
        _notify(console, note)
    if comparison.pairs:
        texts = counted(comparison.pairs[0].counts.count, "text")
        _notify(console, f"McNemar's exact test, {comparison.split} split, {texts}, float32:")
        console.print(fitted_page_table(pairs_table(comparison), console.width))


def _plain(record: SweepData, table: Any) -> dict[str, Any]:
    from sweeps.reporting.front import front_plain

    return {
        "sweep": record.name,
        "run_id": record.run.info.run_id,
        "state": record.run.data.tags.get("sweep.state"),
        "objective": record.objective,
        **front_plain(record.front, record.objectives),
        "dataset": record.run.data.params.get("dataset"),
        "outcomes": record.outcomes,
        "asked": record.asked,
        "time_budget": record.time_budget,
        "trials": json.loads(table.drop(columns="sweep").to_json(orient="records")),
    }


def _notify(console: Console, text: str) -> None:
    from sweeps.terminal import notify

    notify(console, text)


if __name__ == "__main__":
    cli.run(main)
