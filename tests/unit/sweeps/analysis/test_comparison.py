"""Runs and sweeps side by side."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from screenshots.browser import chromium, open_browser
from sentiment.config import Config
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking.runs import RunRecord, run_parameters
from sentiment.tracking.store import open_store
from sweeps.analysis.comparison import ComparedRun, compare_runs, paired_tests
from sweeps.analysis.predictions import Predictions
from sweeps.analysis.significance import Paired, holm
from sweeps.analysis.sweep_data import read_sweep
from sweeps.config import SweepSettings
from sweeps.report import main
from sweeps.reporting.comparison_report import pairs_table, sweeps_report
from sweeps.reporting.page import Report, Section
from sweeps.tracking.queries import find_sweep
from sweeps.tracking.tracker import SweepTracker

LEARNING_RATES = {"early": 0.001, "late": 0.003}


@pytest.fixture(scope="module")
def swept(tmp_path_factory, empty_store, make_bundle):
    """Two small sweeps of one data set, with a model for each winner, and a run on other data."""
    folder = tmp_path_factory.mktemp("comparison")
    data = folder / "reviews.csv"
    with data.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        random = np.random.default_rng(0)
        words = np.array(["great", "bad", "film", "this", "is"])
        for number in range(300):
            writer.writerow([f"{number} " + " ".join(random.choice(words, 9)), number % 2])
    dataset = load_dataset(DataConfig(data=str(data)))
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    uri = f"sqlite:///{folder}/mlflow.db"
    client, experiment = open_store(uri)
    runs = {}
    for seed, (name, rate) in enumerate(LEARNING_RATES.items()):
        tracker = SweepTracker.start(
            client,
            experiment,
            name,
            objective="valid/accuracy",
            parameters={
                "dataset": dataset.name,
                "dataset_fingerprint": dataset.fingerprint,
                "max_epochs": str(1 + seed),
            },
            precision="float32",
            space_yaml="learning_rate: {float: [1e-4, 1e-1], log: true}",
        )
        settings = SweepSettings(trials=2, data=DataConfig(data=str(data)))
        tracker.sweep.log_text(settings.to_json(), "settings.json")
        bundle = Bundle.load(make_bundle(seed))
        for number in range(2):
            config = Config.from_flat({"learning_rate": rate + 0.01 * number})
            parameters = run_parameters(config, dataset.name, dataset.fingerprint)
            accuracy = 0.6 + 0.1 * seed + 0.05 * number
            best = {f"best/valid/{metric}": accuracy for metric in ("accuracy", "f1", "loss")}
            best |= {"best/examples": 100, "parameters/total": 1000 + number}
            tracker.start_trial(number, parameters, "gru")
            tracker.trial(number).log_evaluation(100, {"valid/accuracy": accuracy, "epoch": 1})
            tracker.trial(number).log_model(bundle.save(folder / f"{name}-{number}"), best, 100)
            tracker.trial(number).end("completed", metrics=best, step=100)
        tracker.end("finished")
        runs[name] = tracker.run_of(1)
    with RunRecord.start(
        client,
        experiment,
        "elsewhere",
        parameters={"dataset": "imdb-25k", "dataset_fingerprint": "0" * 64, "cell": "rnn"},
        precision="float32",
    ) as other:
        other.log({"valid/accuracy": 0.5}, 10)
    return SimpleNamespace(
        client=client, uri=uri, ids=[experiment], runs=runs, dataset=dataset, other=other.run_id
    )


def compared(label: str, hits: list[int]) -> ComparedRun:
    """Return a run that is right where `hits` says so."""
    labels = np.zeros(len(hits), np.int64)
    right, wrong = np.log([0.9, 0.1]), np.log([0.2, 0.8])
    predictions = Predictions(
        "valid",
        [""] * len(hits),
        labels,
        np.array([right if h else wrong for h in hits]),
        ("a", "b"),
    )
    return ComparedRun(label, label, {}, {}, {}, predictions)


def test_pairs_are_counted_over_the_same_texts():
    runs = [
        compared("x", [1, 1, 1, 1, 1, 1, 0]),
        compared("y", [1, 0, 0, 0, 0, 0, 0]),
        compared("z", [1, 1, 1, 1, 1, 0, 1]),
    ]
    pairs = paired_tests(runs)
    assert [(p.first, p.second) for p in pairs] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert pairs[0].counts == Paired(both=1, only_first=5, only_second=0, neither=1)
    assert pairs[0].p_value == pytest.approx(2 / 32)
    assert pairs[0].adjusted == pytest.approx(3 * 2 / 32)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_runs_are_scored_from_their_logged_models(swept):
    runs = [swept.client.get_run(run_id) for run_id in swept.runs.values()]
    comparison = compare_runs(swept.client, runs)
    (pair,) = comparison.pairs
    split = swept.dataset.splits["valid"]
    assert pair.counts.count == len(split.texts)
    first, second = (run.predictions.scores().accuracy for run in comparison.runs)
    assert pair.counts.difference == pytest.approx(first - second)
    assert comparison.differing == ["learning_rate"]
    assert comparison.common["cell"] == "lstm"
    # Both trials are called the same; their labels are not.
    assert len({run.label for run in comparison.runs}) == 2


def test_runs_on_other_data_are_shown_without_a_test(swept):
    runs = [swept.client.get_run(swept.runs["early"]), swept.client.get_run(swept.other)]
    comparison = compare_runs(swept.client, runs)
    assert comparison.pairs == []
    assert "different data" in comparison.notes[0]
    assert "dataset" in comparison.differing


def test_command_compares_runs(swept, capsys, tmp_path):
    page = tmp_path / "page.html"
    ids = list(swept.runs.values())
    main([*ids, "--tracking-uri", swept.uri, "--output", str(page)])
    out = capsys.readouterr().out
    count = len(swept.dataset.splits["valid"].texts)
    assert f"McNemar's exact test, valid split, {count} texts, float32:" in out
    assert "learning_rate" in out
    assert str(page) in out
    html = page.read_text()
    assert 'id="differences"' in html
    assert "choose nothing" not in html
    main([*ids, "--tracking-uri", swept.uri, "--no-page", "--json", "--split", "test"])
    captured = capsys.readouterr()
    assert "choose nothing by them" in captured.err
    plain = json.loads(captured.out)
    assert plain["split"] == "test"
    low, high = plain["pairs"][0]["interval_95"]
    assert low <= plain["pairs"][0]["difference"] <= high


def test_command_compares_sweeps(swept, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["early", "late", "--tracking-uri", swept.uri])
    out = capsys.readouterr().out
    assert out.index("sweep early (finished)") < out.index("sweep late (finished)")
    assert "different budgets" in out
    html = Path("comparison.html").read_text()
    for anchor in ("progress", "spread", "sizes", "leaderboard-2"):
        assert f'id="{anchor}"' in html
    assert "0.7500" in html
    records = [read_sweep(swept.client, find_sweep(swept.client, swept.ids, n)) for n in
               ("early", "late")]  # fmt: skip
    report = sweeps_report(records, "", "")
    assert [fact.value for fact in report.facts] == ["0.6500", "0.7500"]
    assert all(run_id in html for run_id in swept.runs.values())


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_the_column_that_decides_is_seen_in_a_narrow_window(tmp_path):
    names = [f"{number:03d} bilstm-3×256 word2vec rmsprop" for number in range(3)]
    runs = [
        compared(name, [1, 0, 1, 1][number:] + [1] * number) for number, name in enumerate(names)
    ]
    table = pairs_table(SimpleNamespace(pairs=paired_tests(runs)))
    page = tmp_path / "page.html"
    page.write_bytes(Report("x", "", [], [Section("pairs", "Pairs", tables=[table])]).html())
    with open_browser(1400, 900) as browser:
        for width in (1400, 800):
            browser.resize(width, 900)
            browser.open(page.as_uri())
            browser.wait_for_text("p, adjusted")
            cell, box = (
                browser.page.locator(f"#pairs {what}").first.evaluate(
                    "element => element.getBoundingClientRect().right"
                )
                for what in ("td:last-child", ".scroll")
            )
            assert cell <= box <= width
        assert browser.complaints == []
        assert browser.requests == [page.as_uri()] * 2


def test_bad_input_is_named(swept):
    run = swept.runs["early"]
    for arguments, reason in (
        (["early", run], "not both at once"),
        ([run, run], "named twice"),
        (["f" * 32], "no sweep and no run"),
        (["early", "--split", "test"], "are for runs"),
    ):
        with pytest.raises(InputError, match=reason):
            main([*arguments, "--tracking-uri", swept.uri])
