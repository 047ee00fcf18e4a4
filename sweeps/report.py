"""`python -m sweeps.report`: the leaderboard, and a page with all that a sweep has to tell."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import cli
from sentiment.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from rich.console import Console

    from sentiment.datasets import Dataset
    from sweeps.sweep_record import SweepRecord

REPORT_FILE = "report.html"
"""Among the artifacts of a sweep's run: the page."""
PLOTS_FOLDER = "plots"
"""Among the artifacts of a sweep's run: the page's pictures as PNG."""

_LOG_WIDTH = 160


def main(argv: list[str] | None = None) -> None:
    """Print a leaderboard and make the page."""
    args = _parser().parse_args(argv)
    if args.top < 1:
        raise InputError(f"--top {args.top}: give 1 or more")

    from rich.console import Console

    from sentiment.record import read_store, tracking_uri
    from sweeps.history import find_sweep
    from sweeps.sweep_record import read_sweep
    from sweeps.tracking import close_orphans

    uri = tracking_uri(args.tracking_uri)
    client = read_store(uri)
    experiment = client.get_experiment_by_name(args.experiment)
    if experiment is None:
        raise InputError(f"--experiment {args.experiment}: there is no such experiment")
    ids = [experiment.experiment_id]
    # Figures for a program go to standard output alone, all else to standard error.
    plain = args.csv or args.json
    console = Console(stderr=plain, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    closed = close_orphans(client, experiment.experiment_id)
    if closed:
        _say(console, f"closed {len(closed)} runs that an ended process had left running")
    records = [read_sweep(client, find_sweep(client, ids, name)) for name in args.what or [None]]
    _print_sweeps(console, records, args)
    if args.no_page:
        return
    (record,) = records
    html = publish(client, record, args.tracking_uri)
    if args.output:
        write_page(args.output, html)
        _say(console, f"report: {args.output.absolute().as_uri()}")
    _say(console, f"report: {where(client, record.run)}")


def publish(
    client: MlflowClient,
    record: SweepRecord,
    tracking_uri: str | None = None,
    dataset: Dataset | None = None,
) -> bytes:
    """Make a sweep's report and keep it with the sweep's run: the page, and its pictures as PNG.

    Args:
        client: client of the store.
        record: the sweep.
        tracking_uri: the store as it was asked for.
        dataset: the sweep's data, if it is loaded already.

    Returns:
        The page.
    """
    from sweeps.summary import experiment_flag
    from sweeps.sweep_report import sweep_report, winner_predictions

    experiment = client.get_experiment(record.run.info.experiment_id).name
    report = sweep_report(
        record,
        winner_predictions(client, record, dataset),
        cli.store_flag(tracking_uri),
        experiment_flag(experiment),
    )
    run_id = record.run.info.run_id
    with tempfile.TemporaryDirectory() as scratch:
        page, plots = Path(scratch, REPORT_FILE), Path(scratch, PLOTS_FOLDER)
        html = report.html()
        page.write_bytes(html)
        plots.mkdir()
        for picture in report.pictures:
            (plots / f"{picture.name}.png").write_bytes(picture.png())
        client.log_artifact(run_id, str(page))
        client.log_artifacts(run_id, str(plots), PLOTS_FOLDER)
    return html


def where(client: MlflowClient, run: Run) -> str:
    """Return where a sweep's page can be opened: a file's address, or where in MLflow it lies."""
    uri = str(run.info.artifact_uri).removeprefix("file://")
    page = Path(uri, REPORT_FILE)
    if page.is_file():
        return page.absolute().as_uri()
    return f"{REPORT_FILE} among the artifacts of the run {run.info.run_id}"


def write_page(path: Path, html: bytes) -> None:
    """Write a page: whole, or not at all.

    Raises:
        InputError: it can't be written there.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(html)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"--output {path}: can't be written ({error.strerror})") from error


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m sweeps.report",
        description="Print the leaderboard of a sweep, and make its page: report.html and plots/ "
        "among the artifacts of the sweep's run.",
    )
    parser.add_argument("what", nargs="*", metavar="X", help="a sweep's name (default: newest)")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="trials that are printed")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the page there too")
    parser.add_argument("--no-page", action="store_true", help="print only, draw nothing")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print a table for a spreadsheet")
    form.add_argument("--json", action="store_true", help="print one JSON object")
    cli.add_store_arguments(parser)
    return parser


def _print_sweeps(console: Console, records: list[SweepRecord], args: argparse.Namespace) -> None:
    import pandas as pd

    from sweeps.history import leaderboard
    from sweeps.leaderboard import label_of, terminal_table

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
        outcomes = ", ".join(f"{n} {label_of(name)}" for name, n in record.outcomes.items())
        state = record.run.data.tags.get("sweep.state", "")
        _say(console, f"sweep {record.name} ({state}): {outcomes or 'no trials'}")
        console.print(terminal_table(record, args.top, console.width))
        if len(record.trials) > args.top:
            _say(console, f"… and {len(record.trials) - args.top} more trials: --top, or the page")


def _plain(record: SweepRecord, table: Any) -> dict[str, Any]:
    return {
        "sweep": record.name,
        "run_id": record.run.info.run_id,
        "state": record.run.data.tags.get("sweep.state"),
        "objective": record.objective,
        "dataset": record.run.data.params.get("dataset"),
        "outcomes": record.outcomes,
        "trials": json.loads(table.drop(columns="sweep").to_json(orient="records")),
    }


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    cli.run(main)
