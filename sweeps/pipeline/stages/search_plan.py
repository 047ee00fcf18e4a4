"""What the search would do, for `--dry-run`: data, rungs, space, and the next suggestions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optuna import load_study
from optuna.trial import FrozenTrial

from sentiment.data.summary import described
from sentiment.nn.matmul import precision_name
from sentiment.wording import counted, duration
from sweeps.console.summary import SEARCH_OVER
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.earlier_sweep import past_trials
from sweeps.pipeline.estimate import Estimator, StagePlan
from sweeps.reporting.leaderboard import setting_parts
from sweeps.search.flatness import LEAST_TRIALS
from sweeps.search.preview import first_suggestions
from sweeps.search.prior_sampler import guided_trials
from sweeps.search.rdb_storage import open_study_storage
from sweeps.search.samplers import sampler_note
from sweeps.search.study import numbered
from sweeps.search.warm_start import PastTrial
from sweeps.terminal import flowed
from sweeps.workspace import STATE_FOLDER, Workspace

LOG_WIDTH = 10_000
"""Characters of a line in a log, where none is wrapped."""
SUGGESTIONS = 5
"""Suggestions that are shown at most."""


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan:
    """Return what the search would do.

    Raises:
        InputError: the sweep of `--warm-start` is not there, or the study can't be read.
    """
    todo = SearchPlan(context, past_trials(context), _trials_before(context))
    width = context.console.width if context.console.is_terminal else LOG_WIDTH
    seconds = 0.0
    if estimator:
        seconds = estimator.trials(context.space, todo.left, context.settings.scheduler)
        seconds = min(seconds, context.settings.time_budget or seconds)
    return StagePlan("search", list(_lines(todo, width)), seconds)


def _trials_before(context: SweepContext) -> list[FrozenTrial] | None:
    """Return the trials in the study of the sweep that is resumed; None of a new one."""
    if context.resumed is None:
        return None
    workspace = Workspace(STATE_FOLDER / context.resumed.name)
    if not context.studies.holds(workspace):
        return []
    storage = open_study_storage(context.studies.url(workspace))
    try:
        study = load_study(study_name=context.resumed.name, storage=storage)
    except KeyError:
        return []  # a kill came between the database and the study
    return study.get_trials(deepcopy=False)


@dataclass(frozen=True)
class SearchPlan:
    """What the search would do.

    Attributes:
        context: the sweep.
        past: trials of another sweep that it starts from.
        before: of a sweep that is resumed, the trials in its study; None of a new one.
    """

    context: SweepContext
    past: Sequence[PastTrial]
    before: Sequence[FrozenTrial] | None = None

    @property
    def ended(self) -> int:
        """Trials that have ended already."""
        return sum(trial.state.is_finished() for trial in numbered(self.before or ()).values())

    @property
    def left(self) -> int:
        """Trials that would start, new or once more."""
        trials = self.context.settings.trials
        return 0 if self.context.search_over else max(trials - self.ended, 0)


def _lines(plan: SearchPlan, width: int) -> Iterator[str]:
    """Yield the lines of a plan; those longer than `width` characters are wrapped at words."""
    context = plan.context
    settings, rungs = context.settings, context.rungs
    yield from described(context.dataset)
    yield f"precision: {precision_name(context.dtype)}"
    trials = counted(settings.trials, "trial")
    yield f"search: {trials} by {settings.sampler} for {settings.objectives}"
    limits = settings.objectives.limits
    if limits:
        yield f"limits: the winner has at most {', '.join(map(str, limits))}"
    note = sampler_note(settings.sampler, context.space)
    if note:
        yield f"note: {note}"
    budget = f"{rungs.budget:,} training examples a trial"
    yield f"budget: {budget}; {rungs.describe(settings.scheduler)} ({settings.scheduler})"
    if settings.further_objectives and settings.scheduler != "fifo":
        yield "of the weaker trials those end that another dominates by all objectives"
    if settings.time_budget is not None:
        yield (
            f"time budget: {duration(settings.time_budget)} of searching; what runs then ends at "
            "its next evaluation"
        )
    if settings.until_flat:
        yield (
            f"until flat: no trial starts, from {LEAST_TRIALS} on, once as many again are expected "
            "to gain less than validation can tell"
        )
    yield "space:"
    for row in context.space.to_yaml().splitlines():
        yield from _indented(row.split(" "), "  ", "    ", width)
    yield from _suggestion_lines(plan, width)


def _suggestion_lines(plan: SearchPlan, width: int) -> Iterator[str]:
    known = numbered(plan.before or ())
    waiting = {n: trial for n, trial in known.items() if not trial.state.is_finished()}
    new = max(plan.left - len(waiting), 0)
    trials = counted(plan.context.settings.trials, "trial")
    if plan.context.search_over:
        yield f"resumed: {plan.ended} of {trials} have ended; {SEARCH_OVER}"
    elif plan.before is not None:
        yield (
            f"resumed: {plan.ended} of {trials} have ended, {len(waiting)} interrupted, {new} new"
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
    context, settings = plan.context, plan.context.settings
    suggestions = first_suggestions(
        context.space,
        settings.sampler,
        settings.seed,
        shown,
        settings.objective,
        plan.past,
        context.cost,
        plan.before or (),
        guided_trials(settings.trials),
        settings.objectives,
    )
    for number, suggestion in enumerate(suggestions, start=len(known)):
        searched = {n: value for n, value in suggestion.items() if n in context.space.dimensions}
        yield from _suggestion(number, searched, width)


def _suggestion(number: int, settings: dict[str, object], width: int) -> Iterator[str]:
    return _indented([f"{number:03d}", *setting_parts(settings)], "  ", "      ", width)


def _indented(parts: Sequence[str], first: str, further: str, width: int) -> Iterator[str]:
    for place, line in enumerate(flowed(parts, width - len(further), " ")):
        yield f"{further if place else first}{line}"
