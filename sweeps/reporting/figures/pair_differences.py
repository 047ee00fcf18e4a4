"""Differences in accuracy between pairs of runs, with their intervals."""

from __future__ import annotations

from sweeps.analysis.comparison import Comparison
from sweeps.analysis.significance import p_value_text
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import BLUE, GREY, INK, new_drawing


def pair_differences(comparison: Comparison) -> ReportFigure:
    """Draw the difference in accuracy of each pair, with its interval."""
    figure = ReportFigure(
        "differences",
        "Differences in accuracy",
        f"Accuracy of the first of a pair less that of the second on the {comparison.split} "
        "split, with its 95% confidence interval (Newcombe 1998, method 10, for paired shares). An "
        "interval that crosses 0 leaves open which is better.",
    )
    pairs = comparison.pairs
    if not pairs:
        return figure
    figure.drawing, axes = new_drawing(1.1 + 0.5 * len(pairs))
    for place, pair in enumerate(pairs):
        low, high = pair.counts.interval()
        colour = GREY if low <= 0 <= high else BLUE
        axes.plot([100 * low, 100 * high], [place, place], color=colour, lw=2.4)
        (mark,) = axes.plot(100 * pair.counts.difference, place, "o", color=colour, ms=7)
        figure.add_tooltips(
            mark,
            [
                f"{pair.first} less {pair.second}: {pair.counts.difference:+.4f} "
                f"({low:+.4f} to {high:+.4f}), {p_value_text(pair.p_value, named=True)}"
            ],
        )
    axes.axvline(0, color=INK, lw=1)
    names = [f"{printable(p.first, 34)}\nless {printable(p.second, 34)}" for p in pairs]
    axes.set_yticks(range(len(pairs)), names)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference in accuracy, percentage points")
    return figure
