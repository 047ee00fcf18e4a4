"""A sweep's report, made and kept among the artifacts of the sweep's run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment import cli
from sentiment.data.datasets import Dataset
from sentiment.errors import InputError
from sentiment.tracking.experiment import experiment_flag
from sweeps.analysis.predictions import Predictions
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.page import Report
from sweeps.reporting.sweep_report import sweep_report
from sweeps.reporting.winner_sections import winner_predictions

REPORT_FILE = "report.html"
"""Among the artifacts of a sweep's run: the page."""
PLOTS_FOLDER = "plots"
"""Among the artifacts of a sweep's run: the page's figures as PNG."""


def publish(
    client: MlflowClient,
    record: SweepData,
    tracking_uri: str | None = None,
    dataset: Dataset | None = None,
    predictions: Predictions | None = None,
) -> bytes:
    """Make a sweep's report and keep it with the sweep's run: the page, and its figures as PNG.

    Args:
        client: client of the store.
        record: the sweep.
        tracking_uri: the store as it was asked for.
        dataset: the sweep's data, if it is loaded already.
        predictions: the winner's of the validation split, if they are known already.

    Returns:
        The page.
    """
    report = make_report(client, record, tracking_uri, dataset, predictions)
    html = report.html()
    record_report(client, record.run.info.run_id, report, html)
    return html


def make_report(
    client: MlflowClient,
    record: SweepData,
    tracking_uri: str | None = None,
    dataset: Dataset | None = None,
    predictions: Predictions | None = None,
) -> Report:
    """Make a sweep's report; the arguments are those of `publish`."""
    experiment = client.get_experiment(record.run.info.experiment_id).name
    return sweep_report(
        record,
        predictions or winner_predictions(client, record, dataset),
        cli.store_flag(tracking_uri),
        experiment_flag(experiment),
    )


def record_report(client: MlflowClient, run_id: str, report: Report, html: bytes) -> None:
    """Keep a report with a sweep's run: the page, and its figures as PNG."""
    with tempfile.TemporaryDirectory() as scratch:
        page, plots = Path(scratch, REPORT_FILE), Path(scratch, PLOTS_FOLDER)
        page.write_bytes(html)
        plots.mkdir()
        for figure in report.figures:
            (plots / f"{figure.name}.png").write_bytes(figure.png())
        client.log_artifact(run_id, str(page))
        client.log_artifacts(run_id, str(plots), PLOTS_FOLDER)


def where(client: MlflowClient, run: Run) -> str:
    """Return where a sweep's page can be opened: a file's address, or where in MLflow it lies."""
    uri = str(run.info.artifact_uri)
    folder = url2pathname(urlsplit(uri).path) if uri.startswith("file:") else uri
    page = Path(folder, REPORT_FILE)
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
