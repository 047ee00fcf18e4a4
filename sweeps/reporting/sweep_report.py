"""The report of one sweep, or of several side by side, as sections of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sentiment.tracking.runs import parameter_text
from sentiment.wording import counted, duration
from sweeps.analysis.classical_comparison import ClassicalComparison
from sweeps.analysis.predictions import (
    Predictions,
)
from sweeps.analysis.significance import p_value_text, wilson
from sweeps.analysis.sweep_data import SweepData
from sweeps.objectives import LATENCY, METRICS
from sweeps.reporting.figures.search_figures import SECTIONS
from sweeps.reporting.front import front_table, limits_text, none_within
from sweeps.reporting.leaderboard import BEST_AT, TRAINED, Row, number_text, rows, setting_text
from sweeps.reporting.page import Fact, Report, Section
from sweeps.reporting.tables import Cell, PageTable
from sweeps.reporting.winner_sections import (
    confirmed,
    winner_sections,
)
from sweeps.space.dimensions import Choice
from sweeps.trials.outcomes import label_of, present_counts

_PROVENANCE = {
    "provenance.command": "command",
    "provenance.git_commit": "git commit",
    "provenance.git_clean": "working tree clean",
    "provenance.python": "Python",
    "provenance.platform": "platform",
    "provenance.cpu": "CPU",
    "provenance.cpus": "cores",
    "provenance.gpu": "GPU",
    "provenance.precision": "precision",
    "provenance.recurrence": "recurrent layers on the CPU",
}


def sweep_report(
    record: SweepData, predictions: Predictions | str, store: str = "", experiment: str = ""
) -> Report:
    """Return the report of one sweep.

    Args:
        record: the sweep.
        predictions: from `winner_predictions`.
        store: the flag that finds the store again, for the commands that the page names.
        experiment: the flag that finds the experiment again.
    """
    return Report(
        title=f"Sweep {record.name}",
        subtitle=subtitle(record),
        facts=facts(record, predictions),
        sections=[
            leaderboard_section(record),
            *front_sections(record),
            *(Section(each.anchor, each.title, figures=each.figures(record)) for each in SECTIONS),
            *winner_sections(record, predictions),
            Section(
                "reproduce",
                "Continuing, and doing it again",
                tables=[_provenance(record)],
                commands=_commands(record, store, experiment),
            ),
        ],
        warnings=[*_state_warning(record), *warnings_of(record)],
    )


def leaderboard_section(record: SweepData) -> Section:
    """Return the leaderboard of a page, and how to read it."""
    first = "First what was made of the finalists, and these, which trained longer; then all"
    reading = (
        f"{first if record.finals else 'All'} trials, the best by {record.objective} first; "
        "baselines come last. A click on a heading sorts. A setting that had no effect is empty."
    )
    return Section("leaderboard", "Leaderboard", text=[reading], tables=[leaderboard_table(record)])


def front_sections(record: SweepData) -> list[Section]:
    """Return the Pareto front of a sweep that searched for one; else nothing."""
    objectives = record.objectives
    if not objectives.further or not record.front:
        return []
    reading = (
        f"The trials of which no other is at least as good by {objectives} and better by one. The "
        f"winner is the best by {objectives.first}"
    )
    if objectives.limits:
        reading += f" within {limits_text(objectives)}"
    table = front_table(record.front, objectives)
    return [Section("front", "Pareto front", text=[f"{reading}."], tables=[table])]


def leaderboard_table(record: SweepData) -> PageTable:
    """Return the leaderboard of a page."""
    names = list(record.space.dimensions)
    table = rows(record)
    tested = any("test/accuracy" in row.trial.metrics for row in table)
    metrics: dict[str, str] = {
        record.best_key: record.objective,
        "best/valid/accuracy": "valid/accuracy",
    }
    if tested:
        metrics["test/accuracy"] = "test/accuracy"
    if LATENCY in record.objectives.further:
        metrics[METRICS[LATENCY]] = "latency, ms"
    return PageTable(
        columns=[
            "#rank",
            "trial",
            *(f"#{title}" for title in metrics.values()),
            f"#{TRAINED}",
            f"#{BEST_AT}",
            "#parameters",
            "#seconds",
            "outcome",
            *(
                name if isinstance(record.space.dimensions[name], Choice) else f"#{name}"
                for name in names
            ),
        ],
        rows=[_row(record, row, names, list(metrics)) for row in table],
        sortable=True,
    )


def _row(record: SweepData, row: Row, names: Sequence[str], metrics: Sequence[str]) -> list[Cell]:
    trial = row.trial
    outcome = trial.outcome or "running"
    numbers = [(trial.metrics.get(metric), ".4f") for metric in metrics]
    numbers += [(trial.metrics.get("epoch"), ".2f"), (record.best_epoch(trial), ".2f")]
    numbers += [(trial.metrics.get(f"{each}/total"), ",.0f") for each in ("parameters", "seconds")]
    cells = [Cell(number_text(value, form), value) for value, form in numbers]
    settings = [
        Cell(
            setting_text(row.settings[name]) if name in row.settings else "",
            _order(row.settings.get(name)),
        )
        for name in names
    ]
    return [
        Cell("" if row.rank is None else str(row.rank), row.rank),
        Cell(trial.name if trial.role == "trial" else f"{trial.name} ({trial.role})"),
        *cells,
        Cell(label_of(outcome), kind=outcome),
        *settings,
    ]


def _order(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def subtitle(record: SweepData) -> str:
    """Return what a sweep searched, how, and on what, in a line."""
    params = record.run.data.params
    searched = len(record.space.dimensions)
    return (
        f"{params.get('dataset', 'unknown data')}: {searched} hyperparameters searched by "
        f"{params.get('sampler', 'an unknown sampler')} under {params.get('scheduler', '?')}, "
        f"for {record.objectives}; {params.get('workers', 'unknown workers')}"
    )


def facts(record: SweepData, predictions: Predictions | str) -> list[Fact]:
    """Return the values at the head of a report; the arguments are those of `sweep_report`."""
    found = []
    winner = record.winner
    if winner is not None:
        accuracy = winner.metrics["best/valid/accuracy"]
        note = winner.name
        if isinstance(predictions, Predictions):
            low, high = wilson(int(predictions.hits.sum()), len(predictions.hits))
            note += f"; 95% interval {low:.3f} to {high:.3f}, not counting that it was chosen"
        if record.objective != "valid/accuracy":
            value = winner.metrics[record.best_key]
            found.append(Fact(f"best {record.objective}", f"{value:.4f}", "what it was chosen by"))
        running = record.run.info.status == "RUNNING"
        whose = "of the best that ended" if running else "of the winner"
        found.append(Fact(f"validation accuracy {whose}", f"{accuracy:.4f}", note))
        if "test/accuracy" in winner.metrics:
            tested = winner.metrics["test/accuracy"]
            found.append(
                Fact("its test accuracy", f"{tested:.4f}", "scored once, after the choice")
            )
        compared = ClassicalComparison.from_metrics(record.run.data.metrics)
        if compared is not None:
            found.append(
                Fact(
                    "against nb-logistic",
                    f"{compared.difference * 100:+.2f} points",
                    f"test accuracy {compared.accuracy:.4f} of naive-Bayes n-grams; McNemar's "
                    f"{p_value_text(compared.p_value, named=True)}",
                )
            )
    if record.confirmations:
        again = confirmed(record)
        found.append(
            Fact(
                "test accuracy over seeds",
                str(again.spreads.get("test/accuracy", "–")),
                f"the winner's settings with {counted(again.seeds, 'other seed')}",
            )
        )
    found.append(Fact("trials", str(len(record.trials)), present_counts(record.outcomes)))
    info = record.run.info
    if info.end_time is not None:
        time = duration((info.end_time - info.start_time) / 1000)
        budget = record.time_budget
        note = "" if budget is None else f"; time budget of the search: {duration(budget)}"
        found.append(Fact("time", time, f"state: {_state(record)}{note}"))
    seen = [max(curve) for curve in record.curves.values() if curve]
    if "completed" in record.outcomes and {"stopped_early", "out_of_time"} & set(record.outcomes):
        share = sum(seen) / (len(seen) * max(seen))
        found.append(
            Fact("training done", f"{share:.0%}", "of what all trials at full length would take")
        )
    return found


def _state(record: SweepData) -> str:
    return record.run.data.tags.get("sweep.state", "unknown")


def _state_warning(record: SweepData) -> list[str]:
    if _state(record) == "finished":
        return []
    return [f"The sweep is {_state(record)}: its state when this was made."]


def warnings_of(record: SweepData) -> list[str]:
    """Return what stands before all else in a report, beside the sweep's state."""
    warnings = []
    if record.cut_short:
        warnings.append(record.cut_short)
    missed = none_within(record.trials, record.objectives)
    if missed and _state(record) == "finished" and record.winner is None:
        warnings.append(f"{missed[:1].upper()}{missed[1:]}.")
    failed = record.outcomes.get("failed", 0)
    if failed:
        trials = counted(failed, "trial")
        warnings.append(f"{trials} failed: error.txt among a failed run's artifacts says why.")
    return warnings


def _provenance(record: SweepData) -> PageTable:
    tags, params = record.run.data.tags, record.run.data.params
    known = [(label, tags[tag]) for tag, label in _PROVENANCE.items() if tag in tags]
    known += [("run", record.run.info.run_id)]
    # A resume may have changed these; parameters are as at the start.
    asked = {"trials": record.asked, "time_budget": record.time_budget}
    now = {name: parameter_text(value) for name, value in asked.items() if value is not None}
    known += sorted({**params, **now}.items())
    return PageTable(["", "value"], [[Cell(label), Cell(value)] for label, value in known])


def _commands(record: SweepData, store: str, experiment: str) -> list[tuple[str, str]]:
    commands = [
        (f"python -m sweeps.ui{store}", "browse the runs"),
        (f"python -m sweeps.report {record.name}{store}{experiment}", "make this report again"),
    ]
    if record.winner is not None:
        commands.insert(0, (f"python -m sweeps.promote --sweep {record.name}{store}", "promote it"))
        best = " ".join(trial.run_id for trial in record.ranked[:2])
        if len(record.ranked) > 1:
            commands.append(
                (
                    f"python -m sweeps.report {best}{store}{experiment}",
                    "compare the two best, with a test",
                )
            )
    return commands
