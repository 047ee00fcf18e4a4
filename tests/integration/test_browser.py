"""The record as a person sees it: MLflow's pages over a real sweep in a headless browser."""

from __future__ import annotations

import pytest
from real_sweep import TRIALS

from screenshots.browser import chromium, open_browser
from screenshots.mlflow_pages import Pages, pages

pytestmark = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def shown(swept):
    with pages(swept.client.tracking_uri) as address, open_browser() as browser:
        yield Pages(browser, address, swept.parent.info.experiment_id)


def figure(value):
    """Return a metric as the pages begin to show it."""
    return str(value)[:6]


def test_the_sweep_is_one_line_that_unfolds_to_its_trials(swept, shown):
    shown.open_runs("first")
    names = [run.info.run_name for run in (*swept.trials, *swept.confirmations)]
    text = shown.browser.text()
    assert not any(name in text for name in names)
    fingerprint = swept.parent.data.params["dataset_fingerprint"]
    assert f"rotten-tomatoes ({fingerprint[:12]})" in text
    shown.unfold(names[0])
    shown.browser.wait_for_text(*names)


def test_a_sweeps_link_shows_its_trials_the_best_first(swept, shown):
    shown.open_trials("first", swept.trials[0].info.run_name)
    browser = shown.browser
    ranked = sorted(swept.trials, key=lambda run: -run.data.metrics["best/valid/accuracy"])
    best = [figure(run.data.metrics["best/valid/accuracy"]) for run in ranked]
    cells = browser.page.locator('.ag-row [col-id*="best/valid/accuracy"]')
    # Confirmations are among the rows.
    cells.nth(TRIALS + 1).wait_for(state="attached")
    by_place = "(a, b) => a.getBoundingClientRect().y - b.getBoundingClientRect().y"
    found = cells.evaluate_all(
        f"cells => cells.sort({by_place}).map(e => e.innerText.trim().slice(0, 6))"
    )
    assert found == sorted(found, reverse=True)
    assert [value for value in found if value in best][:TRIALS] == best[: len(found)]
    browser.wait_for_text("hidden_dim", "parameters/total")
    assert "first" not in browser.page.locator(".ag-row a").all_inner_texts()


def test_metrics_of_the_trials_can_be_columns(swept, shown):
    shown.open_runs("first")
    shown.unfold(swept.trials[0].info.run_name)
    shown.show_columns(["best/valid/accuracy", "hidden_dim"], hidden=["Dataset", "Source"])
    shown.browser.wait_for_text(
        *(figure(run.data.metrics["best/valid/accuracy"]) for run in swept.trials),
        *(run.data.params["hidden_dim"] for run in swept.trials),
    )


def test_a_chart_draws_the_trials(swept, shown):
    shown.open_runs("first")
    shown.unfold(swept.trials[0].info.run_name)
    shown.open_charts("first", "valid/accuracy")
    shown.browser.wait_for_text("valid/accuracy")
    shown.traces.nth(len(swept.trials) - 1).wait_for(state="attached")


def test_the_sweeps_page_tells_how_it_ended_and_leads_on(swept, shown):
    winner = next(r for r in swept.trials if r.info.run_id == swept.result["winner"]["run_id"])
    shown.open_run(swept.parent.info.run_id, "A search of 6 trials")
    shown.unfold_description()
    shown.browser.wait_for_text("What was searched", "python -m sweeps.promote --sweep first")
    # It opens a tab of its own.
    link = shown.browser.page.get_by_role("link", name=winner.info.run_name, exact=True).first
    shown.browser.open(link.evaluate("link => link.href"))
    shown.browser.wait_for_text("Parent run", "Registered models", "sweep.outcome")
    assert winner.info.run_id in shown.browser.page.url


def test_the_models_pages_show_aliases_and_lead_back(swept, shown):
    shown.open_model("sentiment", "@ challenger")
    shown.browser.wait_for_text("the model that answers", "Best of 6 trials")
    shown.open_model("sentiment", "@ challenger", version=1)
    winner = next(r for r in swept.trials if r.info.run_id == swept.result["winner"]["run_id"])
    number = int(winner.data.tags["sweep.trial"])
    shown.browser.wait_for_text("Source Run", winner.info.run_name, f"trial-{number:03d}")
    assert f"{swept.result['test']['test/accuracy']:.4f}" in shown.browser.text()
