"""What `--dry-run` prints: what a sweep would do, and how long that may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from optuna.trial import FrozenTrial

from sentiment.data.datasets import Dataset
from sentiment.data.summary import described
from sentiment.nn.devices import precision_name
from sentiment.wording import counted, duration
from sweeps.config import SweepSettings
from sweeps.console.summary import SEARCH_OVER
from sweeps.pipeline.estimate import Estimate
from sweeps.reporting.leaderboard import setting_parts
from sweeps.search.preview import first_suggestions
from sweeps.search.rungs import Rungs
from sweeps.search.samplers import Cost, sampler_note
from sweeps.search.study import numbered
from sweeps.search.warm_start import PastTrial
from sweeps.space.space import SearchSpace
from sweeps.terminal import flowed

LOG_WIDTH = 10_000
"""Characters of a line in a log, where none is wrapped."""
SUGGESTIONS = 5
"""Suggestions that are shown at most."""


@dataclass(frozen=True)
class Plan:
    """What a sweep would do.

    Attributes:
        settings: what it is asked to do.
        dataset: its data.
        space: what it searches.
        rungs: where its trials are compared.
        dtype: the precision taken.
        past: trials of another sweep that it starts from.
        cost: of a trial, for the sampler.
        before: of a sweep that is resumed, the trials in its study; None of a new one.
        search_over: whether no trial would start any more.
    """

    settings: SweepSettings
    dataset: Dataset
    space: SearchSpace
    rungs: Rungs
    dtype: torch.dtype
    past: Sequence[PastTrial]
    cost: Cost | None
    before: Sequence[FrozenTrial] | None = None
    search_over: bool = False

    @property
    def ended(self) -> int:
        """Trials that have ended already."""
        return sum(trial.state.is_finished() for trial in numbered(self.before or ()).values())

    @property
    def left(self) -> int:
        """Trials that would start, new or once more."""
        return 0 if self.search_over else max(self.settings.trials - self.ended, 0)


def plan_lines(plan: Plan, width: int) -> Iterator[str]:
    """Yield the lines of a plan: data, search, rungs, space, next suggestions.

    Args:
        plan: the plan.
        width: characters of a line; longer ones are wrapped at words.
    """
    settings, dataset, rungs = plan.settings, plan.dataset, plan.rungs
    yield from described(dataset)
    yield f"precision: {precision_name(plan.dtype)}"
    trials = counted(settings.trials, "trial")
    yield f"search: {trials} by {settings.sampler} for {settings.objective}"
    note = sampler_note(settings.sampler, plan.space)
    if note:
        yield f"note: {note}"
    if settings.scheduler == "asha":
        at = ", ".join(f"{examples:,}" for examples in rungs.milestones)
        yield f"rungs: at {at} of {rungs.budget:,} training examples the weaker half ends"
    else:
        yield f"budget: {rungs.budget:,} training examples a trial, none stopped early"
    if settings.time_budget is not None:
        yield (
            f"time budget: {duration(settings.time_budget)} of searching; what runs then ends at "
            "its next evaluation"
        )
    yield "space:"
    for row in plan.space.to_yaml().splitlines():
        yield from _indented(row.split(" "), "  ", "    ", width)
    yield from _suggestion_lines(plan, width)


def estimate_line(estimate: Estimate) -> str:
    """Say how long a sweep may take, and what of it the parts take that come after the search."""
    parts = {
        "search": estimate.search,
        "confirmation": estimate.confirmation,
        "baselines": estimate.baselines,
    }
    named = [f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds]
    of = f" ({', '.join(named)})" if len(named) > 1 else ""
    return f"time: about {duration(estimate.total)}, within a factor of two{of}"


def _suggestion_lines(plan: Plan, width: int) -> Iterator[str]:
    known = numbered(plan.before or ())
    waiting = {n: trial for n, trial in known.items() if not trial.state.is_finished()}
    new = max(plan.left - len(waiting), 0)
    if plan.search_over:
        trials = counted(plan.settings.trials, "trial")
        yield f"resumed: {plan.ended} of {trials} have ended; {SEARCH_OVER}"
    elif plan.before is not None:
        yield (
            f"resumed: {plan.ended} of {counted(plan.settings.trials, 'trial')} have ended, "
            f"{len(waiting)} interrupted, {new} new"
        )
    if waiting:
        yield "from their last evaluations:"
    for number, trial in list(waiting.items())[:SUGGESTIONS]:
        yield from _suggestion(number, trial.params, width)
    if len(waiting) > SUGGESTIONS:
        yield f"  and {len(waiting) - SUGGESTIONS} more"
    shown = min(SUGGESTIONS, new)
    if not shown:
        return
    which = "next" if plan.before else "first"
    yield f"the {which} {counted(shown, 'suggestion')}, as long as no other trial has ended:"
    settings = plan.settings
    suggestions = first_suggestions(
        plan.space,
        settings.sampler,
        settings.seed,
        shown,
        settings.objective,
        plan.past,
        plan.cost,
        plan.before or (),
    )
    for number, suggestion in enumerate(suggestions, start=len(known)):
        searched = {n: value for n, value in suggestion.items() if n in plan.space.dimensions}
        yield from _suggestion(number, searched, width)


def _suggestion(number: int, settings: dict[str, object], width: int) -> Iterator[str]:
    return _indented([f"{number:03d}", *setting_parts(settings)], "  ", "      ", width)


def _indented(parts: Sequence[str], first: str, further: str, width: int) -> Iterator[str]:
    for place, line in enumerate(flowed(parts, width - len(further), " ")):
        yield f"{further if place else first}{line}"
