"""How a trial ends: the outcomes, their order and labels, and what follows from each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from sentiment.wording import counted, duration

if TYPE_CHECKING:
    from sentiment.tracking.runs import RunStatus

Outcome = Literal["completed", "stopped_early", "out_of_time", "failed", "interrupted"]
"""The tag `sweep.outcome`: trained its full budget, stopped by the scheduler, ended by the sweep's
time budget before its own was used up, failed for good, or to be resumed."""

OUTCOMES = ("completed", "stopped_early", "out_of_time", "failed", "interrupted", "running")
"""All of them and `running`, in the order in which tables and legends name them."""
ENDED: tuple[Outcome | None, ...] = ("completed", "stopped_early", "out_of_time", "failed")
"""Outcomes of trials that need no further work."""
RANKED: tuple[Outcome | None, ...] = ("completed", "stopped_early", "out_of_time")
"""Outcomes of trials whose best checkpoint counts: one of them may be the winner."""
STATUS: dict[Outcome, RunStatus] = {
    "completed": "FINISHED",
    "stopped_early": "FINISHED",
    "out_of_time": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow's status of a run by the outcome of its trial."""

_ALWAYS = ("completed", "stopped_early", "failed")


def label_of(outcome: str) -> str:
    """Return an outcome as people write it."""
    return outcome.replace("_", " ")


def count_parts(counts: Mapping[str, int]) -> list[str]:
    """Return `3 completed`, `0 stopped early`, `2 out of time` …, in the order of the outcomes.

    Completed, stopped early and failed are always named, the others where there are any; trials
    that run are not.
    """
    return [
        f"{counts.get(name, 0)} {label_of(name)}"
        for name in OUTCOMES[:-1]
        if name in _ALWAYS or counts.get(name)
    ]


def present_counts(counts: Mapping[str, int]) -> str:
    """Return `10 completed, 1 failed`: the outcomes that there are, those that run among them."""
    return ", ".join(f"{counts[name]} {label_of(name)}" for name in OUTCOMES if counts.get(name))


def counts_of(outcomes: Iterable[str | None]) -> dict[str, int]:
    """Count outcomes, in their order; None is one that runs."""
    names = [outcome or "running" for outcome in outcomes]
    return {name: names.count(name) for name in OUTCOMES if name in names}


def budget_sentence(
    seconds: float | None, asked: int | None, outcomes: Sequence[str | None]
) -> str | None:
    """Return a sentence on what a time budget cut short; None where it did not.

    Args:
        seconds: the time budget; None where there was none.
        asked: trials that the search was to have; None if that is not known.
        outcomes: of the trials that have a run.
    """
    cut = outcomes.count("out_of_time")
    missing = max((asked or 0) - len(outcomes), 0)
    if (seconds is None or not missing) and not cut:
        return None
    parts = []
    if cut:
        their = "its" if cut == 1 else "their"
        parts.append(f"{counted(cut, 'trial')} ended at an evaluation before {their} full length")
    if missing:
        parts.append(f"{missing:,} of {counted(asked or 0, 'trial')} did not run")
    of = "" if seconds is None else f" of {duration(seconds)}"
    return f"The time budget{of} ended the search: {', '.join(parts)}."
