"""The replay of a sweep: the search is the real one, clock, workers and trainings are simulated.

Suggestions come from `OptunaSearcher` over a study in memory, decisions from the sweep's scheduler,
evaluations where its rungs place them. What Ray's controller does between these is done here in
its order: as many trials are suggested as there is room for and some to wait, a result goes to the
scheduler and, unless that stops the trial, to the searcher; the end of a trial goes to both.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from benchmarks.recorded_curves import OBJECTIVE
from benchmarks.search_arms import Arm
from benchmarks.surrogate import Expected, Surrogate
from sweeps.execution.tuner import WORKERS_A_WAITING_TRIAL
from sweeps.pipeline.earlier_sweep import starting_from
from sweeps.search.cost_model import TrialCost
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.rungs import Rungs, plan_rungs
from sweeps.trials.outcomes import Outcome
from sweeps.trials.protocol import EXAMPLES, FINISHED

RESTART_SECONDS = 0.17
"""From the end of a trial to the start of the next in its worker (docs/benchmarks.md)."""


@dataclass(eq=False)
class SimulatedTrial:
    """A trial, with the attributes that Ray's schedulers read.

    Attributes:
        trial_id: Ray's name of it.
        config: as the searcher suggested it.
        expected: of its training.
        noise: what its seed adds.
        passed: its evaluations so far.
        outcome: how it ended; None before.
        best: the best value seen.
    """

    trial_id: str
    config: dict[str, Any]
    expected: Expected
    noise: np.ndarray
    passed: int = 0
    outcome: Outcome | None = None
    best: float = -math.inf

    @property
    def parameters(self) -> dict[str, Any]:
        """The configuration, as that of a recorded trial is called."""
        return self.config


@dataclass
class Replayed:
    """One sweep, replayed.

    Attributes:
        trials: in the order in which they were suggested.
        seconds: of the clock, from the first start to the last end.
        incumbents: the seconds at which another checkpoint became the best seen on validation, and
            what that one is worth: the accuracy there on the mean of seeds.
        suggestion_seconds: of CPU in this thread, for each suggestion.
    """

    trials: list[SimulatedTrial] = field(default_factory=list)
    seconds: float = 0.0
    incumbents: list[tuple[float, float]] = field(default_factory=list)
    suggestion_seconds: list[float] = field(default_factory=list)

    @property
    def value(self) -> float:
        """What the sweep's winner is worth."""
        return self.incumbents[-1][1]


class Problem:
    """What a sweep searches, on a surrogate: rungs, costs and evaluations are the sweep's own."""

    def __init__(self, surrogate: Surrogate) -> None:
        """Plan the sweep of the recorded data and budget."""
        recorded = surrogate.recorded
        self.surrogate = surrogate
        self.rungs = plan_rungs(recorded.epochs, recorded.examples)
        self.cost = TrialCost(["x" * length for length in recorded.lengths])
        self.milestones = evaluated_at(self.rungs, recorded.examples)


def evaluated_at(rungs: Rungs, examples: int) -> tuple[int, ...]:
    """Return after how many training examples a trial is evaluated, the last time at its end.

    Args:
        rungs: of the sweep.
        examples: of an epoch.
    """
    interval = examples / rungs.evaluations_per_epoch
    early = [interval / 2**n for n in range(1, int(rungs.evaluations["early_evaluations"]) + 1)]
    regular = [interval * n for n in range(1, math.ceil(rungs.budget / interval))]
    places = {math.ceil(each) for each in (*early, *regular)}
    return (*sorted(each for each in places if each < rungs.budget), rungs.budget)


def replay(
    problem: Problem,
    arm: Arm,
    *,
    trials: int,
    workers: int,
    seed: int,
    storage: str | None = None,
    earlier: Replayed | None = None,
) -> Replayed:
    """Replay one sweep; the same arguments give the same.

    Args:
        problem: what is searched.
        arm: how.
        trials: how many.
        workers: trials that train at once.
        seed: of the search and of the trainings.
        storage: database of the study; None: in memory.
        earlier: the sweep on other data that an arm with a warm start begins from.
    """
    space = problem.surrogate.space
    if not arm.enqueued:
        space = replace(space, enqueued=())
    if arm.warm_start and earlier is not None:
        ranked = sorted(earlier.trials, key=lambda trial: -trial.best)
        space = starting_from(space, ranked)
    study = arm.study(space, problem.cost, seed, storage)
    searcher = OptunaSearcher(
        study,
        space,
        metric=OBJECTIVE,
        max_trials=trials,
        budget=problem.rungs.budget,
        seed=seed,
    )
    scheduler = arm.make_scheduler(problem.rungs, searcher)
    return _Simulation(problem, searcher, scheduler, workers, seed).run()


class _Simulation:
    """The controller's part of a sweep."""

    def __init__(
        self,
        problem: Problem,
        searcher: OptunaSearcher,
        scheduler: TrialScheduler,
        workers: int,
        seed: int,
    ) -> None:
        self._problem = problem
        self._searcher = searcher
        # It reads nothing of Ray's controller, and of a trial what `SimulatedTrial` has.
        self._scheduler: Any = scheduler
        self._free = workers
        self._room = workers + max(1, workers // WORKERS_A_WAITING_TRIAL)
        self._random = np.random.default_rng((seed, 1))
        self._waiting: deque[SimulatedTrial] = deque()
        self._due: list[tuple[float, int, SimulatedTrial]] = []
        self._best = -math.inf
        self._replayed = Replayed()

    def run(self) -> Replayed:
        """Run the sweep to its end."""
        self._fill(0.0)
        while self._due:
            clock, _, trial = heapq.heappop(self._due)
            self._evaluate(trial, clock)
            self._replayed.seconds = clock
            self._fill(clock)
        return self._replayed

    def _fill(self, clock: float) -> None:
        """Suggest trials while there is room, and start those that wait on free workers."""
        while len(self._waiting) + len(self._due) < self._room and self._suggest():
            pass
        while self._free and self._waiting:
            trial = self._waiting.popleft()
            self._free -= 1
            self._train(trial, clock + RESTART_SECONDS + trial.expected.start_seconds)

    def _suggest(self) -> bool:
        """Take a suggestion, if there is one."""
        name = f"{len(self._replayed.trials):05}"
        began = time.thread_time()
        config = self._searcher.suggest(name)
        if not isinstance(config, dict):
            assert config == Searcher.FINISHED
            return False
        self._replayed.suggestion_seconds.append(time.thread_time() - began)
        surrogate = self._problem.surrogate
        expected = surrogate.expect(config)
        trial = SimulatedTrial(name, config, expected, surrogate.noise(expected, self._random))
        self._replayed.trials.append(trial)
        self._waiting.append(trial)
        self._scheduler.on_trial_add(None, trial)
        return True

    def _train(self, trial: SimulatedTrial, clock: float) -> None:
        """Let a trial train up to its next evaluation."""
        milestones = (0, *self._problem.milestones)
        examples = milestones[trial.passed + 1] - milestones[trial.passed]
        expected = trial.expected
        clock += examples * expected.example_seconds + expected.evaluation_seconds
        heapq.heappush(self._due, (clock, int(trial.trial_id), trial))

    def _evaluate(self, trial: SimulatedTrial, clock: float) -> None:
        examples = self._problem.milestones[trial.passed]
        trial.passed += 1
        value = trial.expected.accuracy(examples, trial.noise)
        trial.best = max(trial.best, value)
        if value > self._best:
            self._best = value
            self._replayed.incumbents.append((clock, trial.expected.accuracy(examples)))
        finished = trial.passed == len(self._problem.milestones)
        result = {OBJECTIVE: value, EXAMPLES: examples, FINISHED: finished}
        if finished:
            trial.outcome = "completed"
        elif self._stops(trial, result):
            trial.outcome = "stopped_early"
        else:
            self._searcher.on_trial_result(trial.trial_id, result)
            self._train(trial, clock)
            return
        self._scheduler.on_trial_complete(None, trial, result)
        self._searcher.on_trial_complete(trial.trial_id, result)
        self._free += 1

    def _stops(self, trial: SimulatedTrial, result: Mapping[str, Any]) -> bool:
        decision = self._scheduler.on_trial_result(None, trial, dict(result))
        return bool(decision == TrialScheduler.STOP)
