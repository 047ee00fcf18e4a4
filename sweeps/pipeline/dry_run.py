"""What `--dry-run` prints: what each stage of a sweep would do, and how long that may take."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.wording import duration
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import START_SECONDS, Estimator, StagePlan
from sweeps.pipeline.stages import (
    baselines,
    classical,
    ensemble,
    finalists,
    pretraining,
    refit,
    search_plan,
    seed_replicates,
)

PLANS = (
    pretraining.plan,
    search_plan.plan,
    finalists.plan,
    ensemble.plan,
    refit.plan,
    classical.plan,
    seed_replicates.plan,
    baselines.plan,
)
"""Of each stage that takes long, in their order, what returns its plan."""


def print_plan(context: SweepContext) -> None:
    """Print what a sweep would do, and on the CPU how long that may take.

    Raises:
        InputError: the sweep of `--warm-start` is not there, or the study can't be read.
    """
    estimator = None
    if context.cost is not None:
        estimator = Estimator(context.cost, context.rungs, context.workers, context.dtype)
    plans = [each for plan in PLANS if (each := plan(context, estimator)) is not None]
    for each in plans:
        for line in each.lines:
            context.notify(line)
    if estimator is None:
        context.notify("time: not estimated for GPUs")
    else:
        context.notify(estimate_line(plans))


def estimate_line(plans: Sequence[StagePlan]) -> str:
    """Return how long a sweep may take, and what of it each stage takes."""
    parts = {"start-up": START_SECONDS, **{plan.name: plan.seconds for plan in plans}}
    named = [f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds]
    of = f" ({', '.join(named)})" if len(named) > 2 else ""
    total = duration(sum(parts.values()))
    return f"time: about {total}, within a factor of two{of}"
