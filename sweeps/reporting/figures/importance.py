"""Which hyperparameters mattered to the result."""

from __future__ import annotations

from sentiment.wording import counted
from sweeps.analysis.importance import BEST_SHARE, LEAST_TRIALS, importances
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import BLUE, GROUND, ORANGE, new_drawing


def importance(record: SweepData) -> ReportFigure:
    """Draw the importance of each hyperparameter, for each budget that has enough trials."""
    figure = ReportFigure(
        "importance",
        "What mattered: importance of each hyperparameter",
        "Bars: the share of the variation between trials that a hyperparameter explains by itself "
        "(fANOVA). Diamonds: how much its values among the best quarter differ from all trials' "
        "(PED-ANOVA). Where both are long, it mattered; where they disagree, distrust both. "
        "Only trials of about the same number of training examples are compared.",
    )
    found = []
    for budget in record.budgets():
        result = importances(record, budget)
        count = len(budget.values)
        which = f"{budget.name} ({budget.examples:,} examples)"
        if result is None:
            few = counted(count, "comparable trial is", "comparable trials are")
            figure.notes.append(
                f"{which}: {few} too few or too alike to judge; {LEAST_TRIALS} are needed."
            )
            continue
        found.append(result)
        left_out = f"; fANOVA leaves out {', '.join(result.conditional)}, which only some have"
        figure.notes.append(
            f"{which}: {count} of {counted(len(record.trials), 'trial')}"
            + (left_out if result.conditional else "")
            + "."
        )
    if not found:
        return figure
    names = sorted(
        {name for result in found for name in result.best},
        key=lambda name: sum(r.variance.get(name, 0) + r.best.get(name, 0) for r in found),
    )
    figure.drawing, panels = new_drawing(
        0.9 + 0.3 * len(names), 1, len(found), sharey=True, squeeze=False
    )
    for axes, result in zip(panels[0], found, strict=True):
        places = range(len(names))
        shares = [result.variance.get(name, 0.0) for name in names]
        bars = axes.barh(places, shares, height=0.62, color=BLUE, label="fANOVA")
        for bar, name, share in zip(bars, names, shares, strict=True):
            figure.add_tooltips(bar, [f"{name}: {share:.1%} of the variance"])
        marks = [result.best.get(name, 0.0) for name in names]
        dots = axes.scatter(
            marks, places, marker="D", s=34, color=ORANGE, edgecolor=GROUND, label="PED-ANOVA",
            zorder=3,
        )  # fmt: skip
        figure.add_tooltips(
            dots,
            [
                f"{name}: {share:.1%} of what sets the best {BEST_SHARE:.0%} apart"
                for name, share in zip(names, marks, strict=True)
            ],
        )
        axes.set_yticks(list(places), [printable(name) for name in names])
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlim(0, None)
        axes.set_title(f"{result.budget.name}, {len(result.budget.values)} trials")
        axes.set_xlabel("share of importance")
    legend_below(panels[0][0])
    return figure
