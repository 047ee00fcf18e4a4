"""The picture of `benchmarks.search`: regret against minutes, a panel for each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.replay import Replayed
from benchmarks.search_arms import FULL, OURS
from benchmarks.search_regret import Clock
from sweeps.reporting.figures.axes import plain_log
from sweeps.reporting.figures.theme import SERIES, new_drawing, styled

SHOWN = (
    FULL.name,
    "random, ASHA",
    "random, one comparison",
    "TPE, full budgets",
    "TPE, ASHA",
    "ours, `--sampler gp`",
    "ours, `--scheduler hyperband`",
)
HEIGHT, DOTS_PER_INCH = 4.2, 110
SPAN = 300
"""The last minute over the first one shown."""


def draw(drawn: Mapping[str, tuple[Mapping[str, Sequence[Replayed]], float]], path: Path) -> None:
    """Draw the mean regret of arms, with the standard error of ours and of the first.

    Args:
        drawn: by data set, the sweeps by arm, and what the best settings are worth.
        path: a PNG file.
    """
    with styled():
        figure, panels = new_drawing(HEIGHT, 1, len(drawn), squeeze=False)
        for axes, (dataset, (sweeps, best)) in zip(panels[0], drawn.items(), strict=True):
            clock = Clock(sweeps)
            least, most = best, 0.0
            for colour, name in zip(SERIES, (OURS.name, *SHOWN), strict=True):
                if name not in sweeps:
                    continue
                shown = clock.seconds <= max(each.seconds for each in sweeps[name])
                regret = 100 * (best - clock.values[name])[:, shown]
                mean = regret.mean(axis=0)
                least, most = min(least, mean[-1]), max(most, mean[-1])
                minutes = clock.seconds[shown] / 60
                width = 2.4 if name == OURS.name else 1.4
                axes.plot(minutes, mean, color=colour, label=name.replace("`", ""), linewidth=width)
                if name in (OURS.name, FULL.name):
                    error = regret.std(axis=0) / np.sqrt(len(regret))
                    axes.fill_between(
                        minutes, mean - error, mean + error, color=colour, alpha=0.2, lw=0
                    )
            axes.set(title=dataset, xlabel="minutes of training")
            plain_log(axes.xaxis, clock.seconds[-1] / 60 / SPAN, clock.seconds[-1] / 60)
            plain_log(axes.yaxis, max(0.8 * least, 0.01), 6 * most)
        panels[0][0].set_ylabel("regret, points of accuracy")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.set_layout_engine("constrained")
        temporary = path.with_suffix(".part")
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)
    temporary.replace(path)
