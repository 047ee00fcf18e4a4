"""Ways to search that `benchmarks.search` compares."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.study import Study
from ray.tune.schedulers import TrialScheduler

from benchmarks.recorded_curves import OBJECTIVE
from sentiment.objective import mode_of
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.rungs import REDUCTION, Rungs
from sweeps.search.schedulers import ResumableASHA, make_scheduler
from sweeps.search.study import enqueue_first, make_study
from sweeps.search.tpe import Cost
from sweeps.space.space import SearchSpace
from sweeps.trials.protocol import EXAMPLES

STOCK_TPE = "stock tpe"
"""Optuna's TPE, multivariate and for trials in parallel, without what this project adds."""
ONCE = "once"
"""Scheduler: each trial is compared once, at the first rung."""
STUDY = "replay"
"""Name of a replay's study."""


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        name: in the table.
        sampler: one of `sweeps.config.SAMPLERS`, or `STOCK_TPE`.
        scheduler: one of `sweeps.config.SCHEDULERS`, or `ONCE`.
        enqueued: whether the search starts from the settings that the space enqueues.
        cost_power: of what a trial costs, the power that tpe weighs against a gain; 0: none.
        reduction: of the trials that asha compares at a rung one in so many continues.
        startup: ended trials before tpe trusts its model; None: as many as it has by itself.
        warm_start: whether the best settings of a sweep on other data are tried first.
    """

    name: str
    sampler: str = "tpe"
    scheduler: str = "asha"
    enqueued: bool = True
    cost_power: float = 1.0
    reduction: float = REDUCTION
    startup: int | None = None
    warm_start: bool = False

    def study(self, space: SearchSpace, cost: Cost, seed: int, storage: str | None) -> Study:
        """Return the study of a new search.

        Args:
            space: what is searched, with what is enqueued.
            cost: of a trial.
            seed: of the sampler.
            storage: database of the study; None: in memory.
        """
        sampler = "tpe" if self.sampler == STOCK_TPE else self.sampler

        def weighed(settings: Mapping[str, Any]) -> float:
            return cost(settings) ** self.cost_power

        known = weighed if self.cost_power else None
        study = make_study(storage, STUDY, OBJECTIVE, space, sampler, seed, known)
        if self.startup is not None:
            study.sampler._n_startup_trials = self.startup  # type: ignore[union-attr]
        if self.sampler == STOCK_TPE:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.sampler = TPESampler(
                    seed=seed, multivariate=True, group=True, constant_liar=True
                )
        enqueue_first(study, space)
        return study

    def make_scheduler(self, rungs: Rungs, searcher: OptunaSearcher) -> TrialScheduler:
        """Return what stops the trials of a search.

        Args:
            rungs: where they are compared.
            searcher: of the search.
        """
        name = "asha" if self.scheduler == ONCE else self.scheduler
        scheduler = make_scheduler(
            name, rungs, OBJECTIVE, searcher.known_values, searcher.is_enqueued
        )
        if isinstance(scheduler, ResumableASHA) and self.reduction != REDUCTION:
            scheduler = ResumableASHA(
                searcher.known_values,
                searcher.is_enqueued,
                time_attr=EXAMPLES,
                metric=OBJECTIVE,
                mode=mode_of(OBJECTIVE),
                grace_period=rungs.first,
                max_t=rungs.budget,
                reduction_factor=self.reduction,
            )
        if self.scheduler == ONCE:
            assert isinstance(scheduler, ResumableASHA)
            for bracket in scheduler._brackets:
                # The rungs stand the last one first.
                del bracket._rungs[:-1]
        return scheduler


OURS = Arm("ours")
FULL = Arm("random, full budgets", "random", "fifo", enqueued=False)
ARMS = (
    FULL,
    Arm("random, ASHA", "random", "asha", enqueued=False),
    Arm("random, one comparison", "random", ONCE, enqueued=False),
    Arm("TPE, full budgets", STOCK_TPE, "fifo", enqueued=False),
    Arm("TPE, ASHA", STOCK_TPE, "asha", enqueued=False),
    Arm("TPE, one comparison", STOCK_TPE, ONCE, enqueued=False),
    OURS,
    Arm("ours, `--sampler gp`", "gp"),
    Arm("ours, `--scheduler hyperband`", scheduler="hyperband"),
    Arm("ours, `--scheduler median`", scheduler="median"),
    Arm("ours, `--warm-start` from other data", warm_start=True),
)
"""The arms of the table: `OURS` is what `sweeps.launch` does by default on a CPU."""
VARIANTS = (
    Arm("nothing enqueued", enqueued=False),
    Arm("nothing enqueued, `--warm-start` from other data", enqueued=False, warm_start=True),
    Arm("cost not weighed", cost_power=0),
    Arm("square root of cost", cost_power=0.5),
    Arm("8 trials to start", startup=8),
    Arm("20 trials to start", startup=20),
    Arm("one in three continues", reduction=3),
    Arm("one in four continues", reduction=4),
    Arm("one comparison, one in two", scheduler=ONCE),
    Arm("one comparison, one in four", scheduler=ONCE, reduction=4),
    Arm("full budgets", scheduler="fifo"),
    Arm("Optuna's TPE, settings enqueued", STOCK_TPE),
)
"""Ours, but for one thing each."""
