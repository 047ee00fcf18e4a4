"""The search: trials that Optuna suggests, within the time budget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sentiment.wording import counted
from sweeps.console.progress import Progress, ended_state
from sweeps.execution.stoppers import TimeBudget
from sweeps.pipeline.executor import TrialPlan
from sweeps.pipeline.running import RunningSweep
from sweeps.search.dominance import Dominance
from sweeps.search.flatness import GAIN, NOISE, Flatness, FlatnessRule
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.population import PBT
from sweeps.search.population_searcher import PopulationSearcher
from sweeps.search.prior_sampler import guided_trials
from sweeps.search.schedulers import PopulationTurns, Resumable, make_scheduler
from sweeps.search.study import enqueue_first, make_study, note_runs
from sweeps.search.warm_start import PastTrial, warm_start
from sweeps.trials.retry import RetryTracker


def search(running: RunningSweep, past: Sequence[PastTrial]) -> Flatness | None:
    """Run the trials of the search; a resumed sweep continues in its study.

    Args:
        running: the sweep.
        past: trials of another sweep that the sampler learns from first.

    Returns:
        How flat the search was, where that has ended it.
    """
    context, tracker = running.context, running.tracker
    settings, space, resumed = context.settings, context.space, context.resumed
    objectives = settings.objectives
    study = make_study(
        context.studies.url(running.workspace),
        tracker.name,
        settings.objective,
        space,
        settings.sampler,
        settings.seed,
        context.cost,
        guided_trials(settings.trials),
        objectives.further,
    )
    enqueue_first(study, space)
    if past:
        added = warm_start(study, past, space, objectives)
        used = counted(added.used, "trial")
        why = f" or without {' or '.join(objectives.further)}" if objectives.further else ""
        context.notify(f"warm start: {used} used, {added.skipped} outside the space{why}")
    base = {
        "epochs": settings.trial_epochs,
        **context.rungs.evaluations,
        "objective": settings.objective,
        "precision": settings.precision,
        # The branch joins the finalists.
        "ngrams": 0,
    }
    deadline = None
    if settings.time_budget is not None:
        deadline = time.monotonic() + settings.time_budget
    ended = resumed.ended if resumed else ()
    trials = len(ended) if context.search_over else settings.trials
    progress = Progress(
        trials, running.executor.workers.count, settings.objective, deadline, space.dimensions
    )
    for trial in ended:
        progress.trials[trial.key] = ended_state(trial)

    flat = None
    if settings.until_flat:
        flat = FlatnessRule(settings.objective, len(context.dataset.splits["valid"].texts))
    searchers: list[OptunaSearcher] = []

    def time_budget(searcher: OptunaSearcher) -> TimeBudget | None:
        return None if deadline is None else TimeBudget(deadline, searcher)

    def plan(attempts: RetryTracker) -> TrialPlan:
        options: dict[str, Any] = {
            "metric": settings.objective,
            "max_trials": trials,
            "budget": context.rungs.budget,
            "seed": settings.seed,
            "base": base,
            "attempts": attempts,
            "run_of": tracker.known_run,
            "objectives": objectives,
            "until_flat": flat,
        }
        if settings.scheduler == PBT:
            milestones = context.rungs.milestones
            population = PopulationSearcher(study, space, milestones=milestones, **options)
            searchers.append(population)
            turns = PopulationTurns(milestones, population.known_values, population.end_turn)
            return TrialPlan(population, turns, time_budget(population))
        searcher = OptunaSearcher(study, space, **options)
        searchers.append(searcher)
        several = bool(objectives.further)
        scheduler = make_scheduler(
            settings.scheduler,
            context.rungs,
            settings.objective,
            searcher.known_values,
            searcher.is_enqueued,
            Dominance(objectives, searcher.known_evaluations) if several else None,
        )
        if isinstance(scheduler, Resumable):
            over = searcher.ended()
            scheduler.restore_trials(trial for trial in over if trial.outcome != "failed")
        return TrialPlan(searcher, scheduler, time_budget(searcher))

    running.executor.run(plan, progress, "trial")
    tracker.flush()
    note_runs(study, tracker.known_run)
    flatness = searchers[-1].flatness
    if flatness is not None:
        tracker.sweep.log_metrics({GAIN: flatness.gain, NOISE: flatness.noise}, flatness.trials)
    return flatness
