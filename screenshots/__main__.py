"""`python -m screenshots`: take the pictures that `docs/` shows from a sweep's record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sentiment import cli
from sentiment.config import Objective
from sentiment.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MOST_BYTES = 300_000
_SETTLED = 2.0  # seconds for what moves on a page to come to rest
_LIVE_SETTLED = 6.0  # seconds in which a live page has followed its record once
_COLUMNS = ("best/valid/accuracy", "parameters/total", "seconds/total", "optimizer")


def main(argv: list[str] | None = None) -> None:
    """Take the pictures of the newest sweep, or of the one that is named."""
    parser = cli.Parser(
        prog="python -m screenshots",
        description="Take the pictures of MLflow's pages and of the report that docs/ shows, from "
        "a sweep in the store of the current folder; while it runs, that of its live page alone. "
        "It needs Chromium.",
    )
    parser.add_argument("--sweep", metavar="NAME", help="the sweep (default: the newest)")
    parser.add_argument(
        "--out", default="docs/pictures", metavar="DIR", help="folder of the pictures"
    )
    cli.add_store_arguments(parser)
    args = parser.parse_args(argv)

    from screenshots.browser import chromium
    from sentiment.tracking.store import read_store, tracking_uri
    from sweeps.tracking.queries import find_sweep

    if chromium() is None:
        raise InputError("Chromium is not installed: apt-get install chromium")
    uri = tracking_uri(args.tracking_uri)
    client = read_store(uri)
    experiment = client.get_experiment_by_name(args.experiment)
    sweep = find_sweep(client, [experiment.experiment_id] if experiment else [], args.sweep)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    if sweep.info.status == "RUNNING":
        files = take_live(uri, args.experiment, sweep, out)
    else:
        files = take(uri, client, sweep, out)
    for file in files:
        size = file.stat().st_size
        print(f"{file}  {size / 1000:.0f} kB")
        if size > MOST_BYTES:
            raise InputError(f"{file}: over {MOST_BYTES / 1000:.0f} kB; make the page smaller")


def take_live(uri: str, experiment: str, sweep: Run, out: Path) -> Iterator[Path]:
    """Take the picture of a running sweep's live page, and yield the file.

    Args:
        uri: the store.
        experiment: of the sweep.
        sweep: its run.
        out: folder of the picture.
    """
    from screenshots.browser import open_browser
    from screenshots.mlflow_pages import served

    store = ("--tracking-uri", uri, "--experiment", experiment)
    file = out / "live.png"
    with (
        served("sweeps.report", sweep.data.tags["sweep.name"], "--live", *store) as address,
        open_browser(1400, 900) as browser,
    ):
        browser.open(address)
        time.sleep(_LIVE_SETTLED)
        browser.screenshot(file)
    yield file


def take(uri: str, client: MlflowClient, sweep: Run, out: Path) -> Iterator[Path]:
    """Take the pictures and yield each file.

    Args:
        uri: the store.
        client: its client.
        sweep: the sweep's run.
        out: folder of the pictures.
    """
    from screenshots.browser import open_browser
    from screenshots.mlflow_pages import Pages, pages
    from sweeps.tracking.queries import best_trials, trials_of

    objective = cast(Objective, sweep.data.params["objective"])
    name = sweep.info.run_name
    winner = best_trials(trials_of(client, sweep), objective)[0]
    versions = client.search_model_versions(f"run_id = '{winner.run_id}'")

    def picture(title: str) -> Path:
        browser.page.mouse.move(0, 0)  # no tooltip hangs over the page
        time.sleep(_SETTLED)
        file = out / f"{title}.png"
        browser.screenshot(file)
        return file

    with (
        tempfile.TemporaryDirectory() as scratch,
        pages(uri) as address,
        open_browser(1400, 640) as browser,
    ):
        shown = Pages(browser, address, sweep.info.experiment_id)
        shown.open_runs(name)
        shown.show_columns(_COLUMNS, hidden=("Dataset", "Source"))
        shown.widen_names(160)
        yield picture("runs-folded")
        shown.unfold(winner.name)
        yield picture("runs-unfolded")
        shown.open_charts(name, "valid/accuracy")
        shown.enlarge_chart()
        yield picture("chart")
        browser.resize(1400, 900)
        shown.open_run(sweep.info.run_id, "Description")
        shown.unfold_description()
        yield picture("sweep")
        if versions:
            version = versions[0]
            browser.resize(1400, 1200)
            shown.open_model(version.name, "challenger")
            yield picture("model")
            browser.resize(1400, 900)
            shown.open_model(version.name, "Source Model", int(version.version))
            yield picture("version")
        reports = [file.path for file in client.list_artifacts(sweep.info.run_id)]
        if "report.html" in reports:
            report = client.download_artifacts(sweep.info.run_id, "report.html", scratch)
            browser.page.context.set_offline(True)
            browser.open(Path(report).as_uri())
            yield picture("report")
            errors = browser.page.get_by_role("heading", name="Its most confident errors")
            if errors.count():
                errors.first.evaluate("heading => heading.scrollIntoView()")
                yield picture("errors")
        else:
            print("the sweep has no report yet: python -m sweeps.report")


if __name__ == "__main__":
    cli.run(main)
