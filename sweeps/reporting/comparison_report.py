"""Reports that compare: several runs, or several sweeps, as sections of a page."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.wording import counted
from sweeps.analysis.comparison import ComparedRun, Comparison
from sweeps.analysis.significance import p_value_text
from sweeps.analysis.sweep_data import SweepData, differing
from sweeps.reporting.figures.comparison import run_figures, sweep_figures
from sweeps.reporting.figures.sweep_points import ACCURACY
from sweeps.reporting.leaderboard import number_text, setting_text
from sweeps.reporting.page import Fact, Report, Section
from sweeps.reporting.sweep_report import leaderboard_table
from sweeps.reporting.tables import Cell, PageTable
from sweeps.reporting.winner_sections import confirmed
from sweeps.trials.outcomes import present_counts

TEST_WARNING = (
    "These are predictions of the test split. Look, but choose nothing by them: what is chosen by "
    "the test split has no unbiased test result any more."
)


def runs_report(comparison: Comparison) -> Report:
    """Return the report that compares runs."""
    runs = comparison.runs
    figures = {figure.name: figure for figure in run_figures(comparison)}
    pairs = comparison.pairs
    tested = pairs[0].counts.count if pairs else 0
    return Report(
        title=f"{counted(len(runs), 'run')} compared",
        subtitle=", ".join(run.label for run in runs),
        facts=[
            Fact(run.label, number_text(_accuracy(run), ".4f") or "–", _scored(run))
            for run in runs[:6]
        ],
        sections=[
            Section(
                "runs",
                "Side by side",
                tables=[
                    metrics_table(comparison),
                    settings_table(comparison),
                    PageTable(
                        ["setting", "value"],
                        [[Cell(n), Cell(setting_text(v))] for n, v in comparison.common.items()],
                        caption="Settings that are the same in all",
                        folded=True,
                    ),
                ],
            ),
            Section(
                "pairs",
                "Do they differ?",
                text=[
                    *comparison.notes,
                    *(
                        [
                            f"McNemar's exact test on the {counted(tested, 'text')} of the "
                            f"{comparison.split} split, which every model predicts anew from its "
                            "logged files in float32. Only texts that exactly one of two gets "
                            "right count. With several pairs go by the last column (Holm's "
                            "adjustment): one of twenty true ties falls below 0.05 by chance."
                        ]
                        if pairs
                        else []
                    ),
                ],
                tables=[pairs_table(comparison)] if pairs else [],
                figures=[figures[name] for name in ("differences",) if name in figures],
            ),
            Section(
                "figures",
                "How they learnt and how they judge",
                figures=[
                    figures[name] for name in ("curves", "roc", "calibration") if name in figures
                ],
            ),
        ],
        warnings=[TEST_WARNING] if comparison.split == "test" else [],
    )


def metrics_table(comparison: Comparison) -> PageTable:
    """Return the recorded metrics, a column a run."""
    rows = []
    for name in comparison.metric_names:
        whole = name.startswith("parameters/") or name == "best/examples"
        form = ",.0f" if whole else ".1f" if name.startswith("seconds/") else ".4f"
        values = [run.metrics.get(name) for run in comparison.runs]
        rows.append([Cell(name), *(Cell(number_text(value, form)) for value in values)])
    return PageTable(
        ["metric", *(f"#{run.label}" for run in comparison.runs)], rows, caption="Recorded metrics"
    )


def settings_table(comparison: Comparison) -> PageTable:
    """Return the settings that differ, a column a run."""
    return PageTable(
        ["setting", *(run.label for run in comparison.runs)],
        [
            [Cell(name), *(Cell(_setting(run, name)) for run in comparison.runs)]
            for name in comparison.differing
        ],
        caption="Settings that differ",
    )


def pairs_table(comparison: Comparison) -> PageTable:
    """Return the paired tests, a row a pair."""
    rows = []
    for pair in comparison.pairs:
        counts = pair.counts
        low, high = counts.interval()
        rows.append(
            [
                Cell(pair.first),
                Cell(pair.second),
                Cell(f"{counts.only_first:,}", counts.only_first),
                Cell(f"{counts.only_second:,}", counts.only_second),
                Cell(f"{counts.difference:+.4f}", counts.difference),
                Cell(f"{low:+.4f} to {high:+.4f}", low),
                Cell(p_value_text(pair.p_value), pair.p_value),
                Cell(p_value_text(pair.adjusted), pair.adjusted),
            ]
        )
    return PageTable(
        [
            "first",
            "second",
            "#only first right",
            "#only second right",
            "#difference",
            "#95% interval",
            "#p",
            "#p, adjusted",
        ],
        rows,
        sortable=len(rows) > 1,
    )


def sweeps_report(records: Sequence[SweepData], store: str, experiment: str) -> Report:
    """Return the report that compares sweeps.

    Args:
        records: the sweeps.
        store: the flag that finds the store again, for the commands that the page names.
        experiment: the flag that finds the experiment again.
    """
    winners = [record.winner for record in records]
    best = [winner.run_id for winner in winners if winner is not None]
    return Report(
        title=f"{counted(len(records), 'sweep')} compared",
        subtitle=", ".join(record.name for record in records),
        facts=[_fact(record) for record in records[:6]],
        sections=[
            Section(
                "sweeps",
                "Side by side",
                tables=[sweeps_table(records), winners_table(records)],
                figures=sweep_figures(records),
                commands=[
                    (
                        f"python -m sweeps.report {' '.join(best)}{store}{experiment}",
                        "compare the winners, with a paired test",
                    )
                ]
                if len(best) > 1
                else [],
            ),
            *(
                Section(
                    f"leaderboard-{number}",
                    f"Leaderboard of {record.name}",
                    tables=[leaderboard_table(record)],
                )
                for number, record in enumerate(records, start=1)
            ),
        ],
        warnings=comparability(records),
    )


def comparability(records: Sequence[SweepData]) -> list[str]:
    """Return what keeps the results of sweeps from being compared."""
    params = [record.run.data.params for record in records]
    warnings = []
    if len({each.get("dataset_fingerprint") for each in params}) > 1:
        warnings.append("The sweeps saw different data: their results don't compare.")
    if len({each.get("objective") for each in params}) > 1:
        warnings.append(
            "The sweeps went by different objectives; they are compared by validation accuracy."
        )
    if len({each.get("max_epochs") for each in params}) > 1:
        warnings.append("The sweeps gave their trials different budgets (max_epochs).")
    return warnings


def sweeps_table(records: Sequence[SweepData]) -> PageTable:
    """Return the sweeps, a row a sweep."""
    rows = []
    for record in records:
        params, info, winner = record.run.data.params, record.run.info, record.winner
        metrics = winner.metrics if winner else {}
        minutes = None if info.end_time is None else (info.end_time - info.start_time) / 60_000
        again = confirmed(record).spreads.get("test/accuracy", "")
        rows.append(
            [
                Cell(record.name),
                Cell(number_text(metrics.get(ACCURACY), ".4f"), metrics.get(ACCURACY)),
                Cell(
                    number_text(metrics.get("test/accuracy"), ".4f"), metrics.get("test/accuracy")
                ),
                Cell(str(again)),
                Cell(str(len(record.trials)), len(record.trials)),
                Cell(number_text(minutes, ".1f"), minutes),
                Cell(present_counts(record.outcomes)),
                *(
                    Cell(params.get(n, ""))
                    for n in ("sampler", "scheduler", "max_epochs", "seed", "objective", "dataset")
                ),
                Cell(str(record.run.data.tags.get("sweep.state", ""))),
            ]
        )
    return PageTable(
        [
            "sweep",
            "#best valid/accuracy",
            "#test/accuracy",
            "#test over seeds",
            "#trials",
            "#minutes",
            "outcomes",
            "sampler",
            "scheduler",
            "#epochs",
            "#seed",
            "objective",
            "data",
            "state",
        ],
        rows,
        sortable=True,
    )


def winners_table(records: Sequence[SweepData]) -> PageTable:
    """Return the settings in which the winners differ, a column a sweep."""
    shown = [record for record in records if record.winner is not None]
    settings = [record.winner.parameters for record in shown if record.winner is not None]
    names = differing(settings, list(dict.fromkeys(name for each in settings for name in each)))
    return PageTable(
        ["setting", *(record.name for record in shown)],
        [
            [Cell(name), *(Cell(setting_text(s[name]) if name in s else "") for s in settings)]
            for name in names
        ],
        caption="Settings in which the winners differ",
    )


def _fact(record: SweepData) -> Fact:
    winner = record.winner
    if winner is None:
        return Fact(record.name, "–", "no trial was evaluated")
    return Fact(
        record.name, f"{winner.metrics[ACCURACY]:.4f}", f"best of validation: {winner.name}"
    )


def _accuracy(run: ComparedRun) -> float | None:
    if run.predictions is not None:
        return run.predictions.scores().accuracy
    return run.metrics.get(ACCURACY, run.metrics.get("valid/accuracy"))


def _scored(run: ComparedRun) -> str:
    if run.predictions is None:
        return "validation accuracy as recorded"
    return f"accuracy, {run.predictions.split} split, scored anew"


def _setting(run: ComparedRun, name: str) -> str:
    return setting_text(run.settings[name]) if name in run.settings else ""
