"""The report of a sweep: what it computes, what it draws, what it prints, what it keeps."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from services import on_read_only

from sentiment.config import Config, describe
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking.provenance import process_tags
from sentiment.tracking.runs import run_parameters
from sentiment.tracking.store import open_store
from sweeps.analysis.importance import LEAST_TRIALS, importances
from sweeps.analysis.predictions import Predictions, most_confident_errors
from sweeps.analysis.seed_replicates import confirmation_key
from sweeps.analysis.sweep_data import read_sweep
from sweeps.config import SweepSettings
from sweeps.pipeline.stages.conclusion import report
from sweeps.report import _print_sweeps, main
from sweeps.reporting.figures.model_figures import model_figures
from sweeps.reporting.figures.reliability import calibration_error, reliability
from sweeps.reporting.figures.search_figures import SECTIONS
from sweeps.reporting.figures.timeline import assign_lanes
from sweeps.reporting.figures.tradeoffs import pareto_front
from sweeps.reporting.leaderboard import terminal_table
from sweeps.reporting.page import Report, Section
from sweeps.reporting.publish import publish, write_page
from sweeps.reporting.sweep_report import sweep_report
from sweeps.reporting.tables import Cell, PageTable
from sweeps.reporting.winner_sections import classes_table, confused_table, winner_predictions
from sweeps.tracking.queries import find_sweep
from sweeps.tracking.tracker import SweepTracker

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SPACE = """
cell: {choice: [gru, lstm]}
hidden_dim: {choice: [8, 16]}
optimizer: {choice: [adam, sgd]}
learning_rate: {float: [1e-3, 1e-1], log: true}
momentum: {float: [0.0, 0.9], when: {optimizer: sgd}}
embedding: random
"""
EVIL = "<script>alert('x')</script><img src=http://evil.example/x.png onerror=alert(1)>"
TRIALS = 14
BEST_IN_THE_MIDDLE = 12
"""The trial whose best checkpoint is from a quarter of its training."""


def settings_of(number: int) -> dict:
    """Return a trial's settings: the learning rate decides, the cell a little."""
    settings = {
        "cell": ("gru", "lstm")[number % 2],
        "hidden_dim": (8, 16)[number // 2 % 2],
        "optimizer": ("adam", "sgd")[number // 4 % 2],
        "learning_rate": 10 ** (-3 + 2 * number / (TRIALS - 1)),
    }
    if settings["optimizer"] == "sgd":
        settings["momentum"] = 0.05 * number
    return settings


def accuracy_of(number: int, share: float) -> float:
    return 0.5 + share * (0.02 * number + 0.005 * (number % 2))


@pytest.fixture(scope="module")
def swept(tmp_path_factory, empty_store, make_bundle):
    """A sweep of the user's own, hostile texts, as a launch would record it."""
    folder = tmp_path_factory.mktemp("report")
    data = folder / "reviews.csv"
    with data.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(80):
            label = ("$1<b>bad</b>", "good & $2")[number % 2]
            writer.writerow([f"this film is {EVIL} number {number} " + "great " * number, label])
    settings = SweepSettings(trials=TRIALS, data=DataConfig(data=str(data)))
    dataset = load_dataset(settings.data)
    shutil.copyfile(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    client, experiment = open_store(uri)
    tracker = SweepTracker.start(
        client,
        experiment,
        "hostile",
        objective="valid/accuracy",
        parameters={"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint},
        precision="float32",
        space_yaml=SPACE,
    )
    tracker.sweep.log_text(settings.to_json(), "settings.json")
    bundle = Bundle.load(make_bundle(3))
    bundle.label_names = dataset.label_names
    model = bundle.save(folder / "bundle")
    for number in range(TRIALS):
        config = Config.from_flat({**settings_of(number), "embedding": "random"})
        parameters = run_parameters(config, dataset.name, dataset.fingerprint)
        name = f"{describe(config)} {EVIL}" if number == 3 else describe(config)
        tracker.start_trial(number, parameters, name)
        stopped = number < 3
        for step in (100,) if stopped else (100, 200, 400):
            value = accuracy_of(number, step / 400)
            tracker.trial(number).log_evaluation(
                step, {"valid/accuracy": value, "epoch": step / 400}
            )
        best = {f"best/valid/{name}": value for name in ("accuracy", "f1")}
        best |= {"best/valid/loss": 1 - value}
        best |= {"best/examples": 100 if number == BEST_IN_THE_MIDDLE else step}
        once = {"seconds/total": 3.0 + number, "parameters/total": 5000 - 100 * number}
        once |= {"parameters/embedding": 2000}
        if number == TRIALS - 1:
            tracker.trial(number).log_model(model, best, step)
        if number == 4:
            tracker.trial(number).end("failed", error="it broke")
            continue
        outcome = "stopped_early" if stopped else "completed"
        tracker.trial(number).end(outcome, metrics={**best, **once}, step=step)
    tracker.trial(TRIALS - 1).log_model_metrics({"test/accuracy": 0.7})
    for seed, accuracy in enumerate((0.70, 0.72, 0.74)):
        key = confirmation_key(TRIALS - 1, seed)
        tracker.start_trial(key, parameters, f"confirmation {seed}", role="confirmation")
        once = {"test/accuracy": accuracy, "best/valid/accuracy": accuracy + 0.01}
        tracker.trial(key).end("completed", metrics=once)
    tracker.end("finished")
    record = read_sweep(client, find_sweep(client, [experiment]))
    html = publish(client, record)
    return SimpleNamespace(
        folder=folder, uri=uri, client=client, record=record, html=html, run_id=tracker.run_id
    )


class Tags(HTMLParser):
    """All tags of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_record_tells_what_was_searched_and_how_it_ended(swept):
    record = swept.record
    assert record.outcomes == {"completed": 10, "stopped_early": 3, "failed": 1}
    assert record.winner.key == TRIALS - 1
    assert "momentum" not in record.settings_of(record.trials[0])
    assert record.settings_of(record.trials[5])["momentum"] == 0.25
    assert record.curves[record.trials[0].run_id] == {100: 0.5}
    assert [run.metrics["test/accuracy"] for run in record.confirmations] == [0.7, 0.72, 0.74]


def test_importance_is_told_of_comparable_trials_alone(swept):
    first, full = swept.record.budgets()
    assert (first.name, first.examples, len(first.values)) == ("first evaluation", 100, TRIALS)
    assert (full.name, full.examples, len(full.values)) == ("full budget", 400, 10)
    assert full.values[TRIALS - 1] == pytest.approx(accuracy_of(TRIALS - 1, 1))
    assert len(full.values) >= LEAST_TRIALS
    found = importances(swept.record, full)
    assert found.conditional == ["momentum"]
    assert sum(found.variance.values()) == pytest.approx(1)
    assert max(found.variance, key=found.variance.get) == "learning_rate"


def test_a_time_budgets_end_is_told_by_itself(swept, capsys):
    """Neither as early stopping, nor as if all had run."""
    trials = [
        replace(trial, outcome="out_of_time") if trial.outcome == "stopped_early" else trial
        for trial in swept.record.trials
    ]
    record = replace(swept.record, trials=trials, asked=20, time_budget=30.0)
    assert record.outcomes == {"completed": 10, "out_of_time": 3, "failed": 1}
    sentence = (
        "The time budget of 30 seconds ended the search: 3 trials ended at an evaluation before "
        "their full length, 6 of 20 trials did not run."
    )
    assert record.cut_short == sentence
    running = SimpleNamespace(data=SimpleNamespace(tags={"sweep.state": "running"}))
    assert replace(record, run=running).cut_short is None
    report = sweep_report(record, "not asked")
    assert sentence in report.warnings
    page = report.html().decode()
    assert page.count('<td class="out_of_time">') == 3
    assert "10 completed, 3 out of time, 1 failed" in page
    told = re.sub(r"<style>.*?</style>|<figcaption.*?</figcaption>", "", page, flags=re.DOTALL)
    assert "stopped early" not in told
    assert "Brown lines end where the sweep&#39;s time budget was used up." in page
    assert "time_budget</td>" in page
    # What compares and what is ranked is as if the scheduler had stopped them.
    assert [budget.values for budget in record.budgets()] == [
        budget.values for budget in swept.record.budgets()
    ]
    assert [trial.key for trial in record.ranked] == [trial.key for trial in swept.record.ranked]
    _print_sweeps(Console(width=160), [record], SimpleNamespace(csv=False, json=False, top=3))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sweep hostile (finished): 10 completed, 3 out of time, 1 failed"
    assert sentence in lines


def test_figures_have_a_tooltip_for_each_mark(swept):
    figures = {figure.name: figure for each in SECTIONS for figure in each.figures(swept.record)}
    history = figures["history"].svg()
    assert history.count("<title>") == TRIALS - 1  # the failed one has no value
    assert "learning_rate=0.1" in history
    assert all(figure.drawing is not None for figure in figures.values())


def test_page_asks_for_nothing_and_lets_nothing_in(swept):
    page = swept.html.decode()
    assert len(swept.html) < 5_000_000
    tags = Tags(page).found
    names = [tag for tag, _ in tags]
    assert names.count("script") == 1
    assert "img" not in names
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tags:
        for name in ("src", "href", "xlink:href", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,"
        assert not any(name.startswith("on") for name in attributes)
    # Hostile texts are there, as texts.
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    assert "&lt;b&gt;bad&lt;/b&gt;" in page
    for anchor in re.findall(r'<a href="#([^"]+)"', page):
        assert anchor in ids


def test_page_holds_what_was_asked_for(swept):
    page = swept.html.decode()
    for name in ("history", "curves", "importance", "slices", "parallel", "parameters", "seconds",
                 "timeline", "confusion", "roc", "calibration"):  # fmt: skip
        assert f'id="{name}"' in page
        assert re.search(rf'<figure id="{name}".*?<svg', page, re.DOTALL)
    assert "0.7200 ± 0.0200" in page
    assert page.count('class="mistake"') > 0
    # Words of the errors are shaded, and the markup between them is escaped.
    assert re.search(r'<span class="(for|against)-[123]" title="[+-]\d\.\d\d">is</span>', page)
    assert "1 trial failed" in page


def test_page_and_figures_are_kept_with_the_sweep(swept):
    files = {file.path for file in swept.client.list_artifacts(swept.run_id)}
    assert {"report.html", "plots"} <= files
    plots = {file.path for file in swept.client.list_artifacts(swept.run_id, "plots")}
    assert {"plots/history.png", "plots/calibration.png"} <= plots
    local = Path(swept.client.download_artifacts(swept.run_id, "plots/roc.png"))
    assert local.read_bytes().startswith(b"\x89PNG")


def test_command_prints_the_leaderboard(swept, capsys):
    main(["--tracking-uri", swept.uri, "--no-page", "--top", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sweep hostile (finished): 10 completed, 3 stopped early, 1 failed"
    assert lines[1].split() == ["rank", "trial", "learning_rate", "momentum", "valid/accuracy",
                                "test", "epochs", "trained", "best", "epoch",
                                "parameters", "seconds", "outcome"]  # fmt: skip
    assert lines[2].split()[-7:] == ["0.7650", "0.7000", "1.00", "1.00", "3,700", "16", "completed"]
    assert lines[3].split()[-6:] == ["0.7400", "1.00", "0.25", "3,800", "15", "completed"]
    assert lines[-1] == "… and 12 more trials: --top, or the page"


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (160, []),
        (100, ["learning_rate", "momentum"]),
        (80, ["learning_rate", "momentum", "parameters", "seconds"]),
    ],
)
def test_leaderboard_fits_the_terminal(swept, width, left_out):
    fitted = terminal_table(swept.record, 3, width)
    assert fitted.left_out == left_out
    console = Console(file=io.StringIO(), width=width)
    console.print(fitted.table)
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    rows = [line.split() for line in text.splitlines()]
    assert rows[-6][:3] == ["1", "013", "bilstm-1×8"]
    assert "0.7650" in rows[-6] and "completed" in rows[-6]


def test_command_prints_for_programs(swept, capsys):
    main(["hostile", "--tracking-uri", swept.uri, "--no-page", "--json"])
    (sweep,) = json.loads(capsys.readouterr().out)["sweeps"]
    assert sweep["outcomes"] == {"completed": 10, "stopped_early": 3, "failed": 1}
    assert [trial["rank"] for trial in sweep["trials"]][:3] == [1, 2, 3]
    main(["hostile", "--tracking-uri", swept.uri, "--no-page", "--csv"])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["trial"] for row in rows][:2] == ["13", "12"]
    assert {row["sweep"] for row in rows} == {"hostile"}


def test_command_closes_what_a_dead_process_left_open(swept, capsys):
    gone = subprocess.Popen(["true"])
    gone.wait()
    tags = {**process_tags(), "process.pid": str(gone.pid), "process.started": "1.0"}
    experiment = swept.record.run.info.experiment_id
    run = swept.client.create_run(experiment, tags=tags)
    main(["--tracking-uri", swept.uri, "--no-page", "--top", "1"])
    assert "closed 1 run that" in capsys.readouterr().out
    assert swept.client.get_run(run.info.run_id).info.status == "KILLED"


def test_a_store_that_is_only_readable_is_reported(swept, tmp_path):
    page = tmp_path / "page.html"
    client, runs = swept.client, swept.folder / "mlruns"
    run = client.create_run(swept.record.run.info.experiment_id, run_name="left open")
    client.set_tag(run.info.run_id, "process.host", socket.gethostname())
    client.set_tag(run.info.run_id, "process.pid", "999999999")
    client.set_tag(run.info.run_id, "process.started", "1.0")
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    done = subprocess.run(
        [
            *on_read_only(swept.folder),
            *(sys.executable, "-m", "sweeps.report", "hostile", "--output", str(page)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        check=False,
    )
    client.set_terminated(run.info.run_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sweep hostile (finished): 10 completed" in done.stdout
    assert "runs that ended processes left running stay so: the store is read-only" in done.stdout
    assert "the page can't be recorded: the store is read-only for this user" in done.stdout
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_search_by_loss_ranks_the_other_way(swept):
    record = replace(swept.record, objective="valid/loss")
    assert record.winner.metrics["best/valid/loss"] == min(
        trial.metrics["best/valid/loss"] for trial in record.ranked
    )
    report = sweep_report(record, "not asked")
    assert {"history", "slices", "parallel"} <= {figure.name for figure in report.figures}
    assert report.facts[0].name == "best valid/loss"
    assert b"not asked" in report.html()


def test_sweep_without_an_evaluation_says_what_is_missing(swept):
    record = replace(swept.record, trials=[], confirmations=[], curves={})
    report = sweep_report(record, winner_predictions(swept.client, record))
    assert report.figures == []
    page = report.html().decode()
    assert "No trial got as far as an evaluation" in page
    assert "Not drawn: no trial was evaluated" in page


@pytest.mark.parametrize("classes", [5, 30])
def test_figures_of_many_classes(classes):
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, 600)
    logits = random.normal(size=(600, classes)) + 3 * np.eye(classes)[labels]
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    names = tuple(f"class {number}" for number in range(classes))
    predictions = Predictions("valid", [""] * 600, labels, log, names)
    figures = {figure.name: figure for figure in model_figures(predictions, "x")}
    assert figures["roc"].svg().count("AUC") >= 5
    if classes == 5:
        cells = figures["confusion"].svg()
        assert cells.count("taken for") == 25
    else:
        assert figures["confusion"].drawing is None
        assert "too many" in figures["confusion"].notes[0]
        wrong = int((~predictions.hits).sum())
        (first, *_) = confused_table(predictions).rows
        assert len(confused_table(predictions).rows) == 20 and 1 < first[2].order < wrong
        assert [len(row) for row in classes_table(predictions).rows] == [6] * 30


def test_labels_without_a_curve_are_one_note():
    labels = np.zeros(40, dtype=np.int64)
    log = np.log(np.full((40, 30), 1 / 30))
    names = tuple(f"class {number}" for number in range(30))
    drawn = model_figures(Predictions("valid", [""] * 40, labels, log, names), "x")
    (note,) = next(figure for figure in drawn if figure.name == "roc").notes
    assert "class 0, class 1" in note and "and 22 more" in note


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing"], "there is no sweep 'nothing'"),
        (["--experiment", "other"], "there is no such experiment"),
        (["--top", "0"], "--top 0"),
    ],
)
def test_bad_input_is_named(swept, arguments, reason):
    with pytest.raises(InputError, match=reason):
        main([*arguments, "--tracking-uri", swept.uri])


def test_report_of_data_that_is_gone_says_so(swept, capsys, tmp_path):
    data = swept.folder / "reviews.csv"
    data.rename(tmp_path / "away.csv")
    try:
        main(["--tracking-uri", swept.uri, "--output", str(tmp_path / "page.html")])
    finally:
        (tmp_path / "away.csv").rename(data)
    page = (tmp_path / "page.html").read_text()
    assert "can&#39;t be shown" in page
    assert 'id="history"' in page
    assert "file://" in capsys.readouterr().out


def test_page_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(InputError, match="can't be written"):
        write_page(tmp_path / "page.html", b"page")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_launch_tells_of_a_report_that_fails(swept, monkeypatch, caplog):
    def broken(*arguments):
        raise ValueError("no ink")

    monkeypatch.setattr("sweeps.reporting.publish.publish", broken)
    said = []
    settings = SweepSettings(trials=1, experiment="mine")
    context = SimpleNamespace(settings=settings, dataset=None, notify=said.append)
    report(context, swept.client, swept.run_id, None)
    command = "python -m sweeps.report --experiment mine"
    assert said == [f"the sweep is recorded; to make its report: {command}"]
    assert "no ink" in caplog.text


def test_most_confident_errors_come_first():
    predictions = Predictions(
        "valid",
        ["a", "b", "c", "d"],
        np.array([0, 1, 0, 1]),
        np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]], np.float32)),
        ("neg", "pos"),
    )
    found = most_confident_errors(predictions, 5)
    assert [(m.text, m.label, m.predicted) for m in found] == [
        ("b", "pos", "neg"),
        ("c", "neg", "pos"),
    ]
    assert found[0].probability == pytest.approx(0.8)


def test_calibration_of_probabilities_that_hold():
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 20_000)
    labels = (random.uniform(size=20_000) < sure).astype(np.int64)
    log = np.log(np.stack([1 - sure, sure], axis=1))
    held = Predictions("valid", [""] * 20_000, labels, log, ("neg", "pos"))
    assert calibration_error(held) < 0.01
    groups = reliability(held)
    assert [group.count for group in groups] == [2000] * 10
    low, high = groups[0].interval
    assert low < groups[0].accuracy < high


spans = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)).map(lambda p: (p[0], p[0] + p[1])),
    min_size=1,
    max_size=40,
)


@given(spans)
def test_lanes_hold_no_two_trials_at_once_and_no_more_than_needed(found):
    lanes = assign_lanes(found)
    for index, (start, end) in enumerate(found):
        for other, (begin, finish) in enumerate(found):
            if index < other and lanes[index] == lanes[other]:
                assert min(end, finish) - max(start, begin) <= 500
    at_once = max(sum(s <= point <= e for s, e in found) for point, _ in found)
    assert max(lanes) + 1 <= at_once


@given(st.lists(st.tuples(st.floats(1, 9), st.floats(0, 1)), min_size=1, max_size=30))
def test_front_is_what_none_beats(points):
    front = pareto_front(points)
    for cost, value in front:
        assert not any(c <= cost and v > value for c, v in points)
        assert not any(c < cost and v >= value for c, v in points)
    for cost, value in points:
        assert any(c <= cost and v >= value for c, v in front)


def opened(address: str, folder: Path) -> tuple[list[str], set[str]]:
    """Open a page in a browser; return its console's messages and the addresses asked for."""
    log = folder / "net.json"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--no-first-run", "--disable-component-update", "--disable-sync"]
    flags += ["--virtual-time-budget=5000", "--enable-logging=stderr", f"--log-net-log={log}"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile"]
    done = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "<html" in done.stdout
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = set(re.findall(r'"url":"(https?://[^"/]+)', log.read_text()))
    # The browser's own: updates, the time, accounts.
    return console, {host for host in asked if not re.search(r"\.(google|googleapis)\.com$", host)}


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_browser_opens_the_page_without_network_or_errors(swept, tmp_path):
    control = tmp_path / "control.html"
    control.write_text("<html><img src='http://evil.example/x.png'><script>nothing()</script>")
    console, asked = opened(control.as_uri(), tmp_path)
    assert len(console) >= 1
    assert asked == {"http://evil.example"}
    page = tmp_path / "page.html"
    page.write_bytes(swept.html)
    assert opened(page.as_uri(), tmp_path) == ([], set())


def test_a_page_takes_any_text(tmp_path):
    section = Section("a", "\ud800 & <b>", tables=[PageTable(["x"], [[Cell("\x00\u202e</td>")]])])
    page = Report("t", "s", [], [section]).html().decode()
    assert "&lt;b&gt;" in page
    assert "&lt;/td&gt;" in page
