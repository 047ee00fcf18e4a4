"""All that a report reads of one sweep, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment.config import Objective
from sentiment.errors import InputError
from sentiment.io.yaml_numbers import load_yaml
from sweeps.analysis.seed_replicates import confirmation_key
from sweeps.config import SweepSettings
from sweeps.objectives import Objectives
from sweeps.search.flatness import GAIN, NOISE, Flatness
from sweeps.space.dimensions import is_active
from sweeps.space.space import SearchSpace
from sweeps.tracking.queries import (
    TrialRecord,
    artifact_text,
    best_trials,
    chosen_run,
    front_of,
    intermediate_values,
    registered_run,
    trial_number,
    trials_of,
)
from sweeps.trials.outcomes import budget_sentence, counts_of
from sweeps.workspace import SETTINGS_FILE

SAME_BUDGET = 0.1
"""Share by which two numbers of examples may differ and still count as the same budget: batches
of different sizes end at different multiples."""


@dataclass(frozen=True)
class Budget:
    """Trials that were measured after about as many training examples.

    Attributes:
        name: `first evaluation` or `full budget`.
        examples: training examples seen, of the most thorough of them.
        values: the objective by the trial's key.
    """

    name: str
    examples: int
    values: dict[int | str, float]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep was asked to do.

    Attributes:
        objectives: what it goes by.
        space: what it searches.
        asked: trials that the search is to have; None if that is not known.
        time_budget: seconds that it has; None where there is no budget.
    """

    objectives: Objectives
    space: SearchSpace
    asked: int | None = None
    time_budget: float | None = None

    @property
    def objective(self) -> Objective:
        """The first objective."""
        return self.objectives.first


@dataclass(frozen=True)
class SweepData:
    """A sweep as read from its runs.

    Attributes:
        run: the sweep's own run.
        objective: what it went by.
        space: what it searched.
        trials: of the search, by number.
        baselines: beside it.
        confirmations: runs that trained the winner's settings again with other seeds.
        finals: its finalists and their refit.
        curves: of each trial's run, values of the objective by training examples seen.
        asked: trials that the search was to have; None if that is not known.
        time_budget: seconds that it had; None where there was no budget.
        several: all objectives, where there are several; None: `objective` alone.
    """

    run: Run
    objective: Objective
    space: SearchSpace
    trials: list[TrialRecord]
    baselines: list[TrialRecord]
    confirmations: list[TrialRecord]
    curves: dict[str, dict[int, float]]
    finals: list[TrialRecord] = field(default_factory=list)
    asked: int | None = None
    time_budget: float | None = None
    several: Objectives | None = None

    @property
    def objectives(self) -> Objectives:
        """All that it went by, and their limits."""
        return self.several or Objectives(self.objective)

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The Pareto front of the trials, the best by the first objective first."""
        return front_of(self.trials, self.objectives)

    @property
    def name(self) -> str:
        """The sweep's name."""
        return str(self.run.data.tags["sweep.name"])

    @property
    def everything(self) -> list[TrialRecord]:
        """The trials, the finalists with what was made of them, confirmations and baselines."""
        return [*self.trials, *self.finals, *self.confirmations, *self.baselines]

    @property
    def best_key(self) -> str:
        """The metric that trials are ranked by."""
        return f"best/{self.objective}"

    @property
    def sign(self) -> int:
        """1 if the objective is maximized, -1 if it is minimized."""
        return -1 if self.objective == "valid/loss" else 1

    @cached_property
    def ranked(self) -> list[TrialRecord]:
        """The trials with a best checkpoint, the best first."""
        return best_trials(self.trials, self.objective)

    @cached_property
    def chosen(self) -> TrialRecord | None:
        """The best by validation, a finalist or a trial; None if no trial got that far."""
        return chosen_run([*self.trials, *self.finals], self.objective, self.objectives.limits)

    @property
    def winner(self) -> TrialRecord | None:
        """The run whose model is registered: the chosen one, its refit or an ensemble."""
        if self.chosen is None:
            return None
        return registered_run(self.finals, self.chosen, self.objectives.limits)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many trials ended how; those that run are among them."""
        return counts_of(trial.outcome for trial in self.trials)

    @property
    def cut_short(self) -> str | None:
        """What the time budget cut short, or that it was flat, in a sentence; else None."""
        if self.run.data.tags.get("sweep.state") != "finished":
            return None
        metrics = self.run.data.metrics
        if self.asked and GAIN in metrics and len(self.trials) < self.asked:
            valued = [each for each in self.ranked if each.outcome != "failed"]
            flatness = Flatness(self.objective, len(valued), metrics[GAIN], metrics[NOISE])
            return flatness.sentence(self.asked)
        return budget_sentence(self.time_budget, self.asked, [t.outcome for t in self.trials])

    @cached_property
    def active(self) -> dict[str, dict[str, Any]]:
        """What was searched of each run; what had no effect in it is left out."""
        names = self.space.dimensions
        found = {}
        for trial in self.everything:
            located = self.space.locate(trial.parameters) if trial.role == "trial" else None
            if located is None:
                located = {}
                for name, dimension in names.items():
                    if name in trial.parameters and is_active(dimension, located):
                        located[name] = trial.parameters[name]
            found[trial.run_id] = located
        return found

    @cached_property
    def train_size(self) -> float | None:
        """Texts of the train split; None where no trial was evaluated."""
        for trial in self.trials:
            if self.curves.get(trial.run_id) and trial.metrics.get("epoch"):
                return max(self.curves[trial.run_id]) / trial.metrics["epoch"]
        return None

    def best_epoch(self, trial: TrialRecord) -> float | None:
        """Return after how many epochs the best checkpoint of one was taken.

        None for a refit, which ends at its best, and whose epochs have more texts.
        """
        examples = trial.metrics.get("best/examples")
        if examples is None or self.train_size is None or trial.role == "refit":
            return None
        return examples / self.train_size

    def settings_of(self, trial: TrialRecord) -> dict[str, Any]:
        """Return what was searched of a trial; what had no effect in it is left out."""
        return self.active[trial.run_id]

    def budgets(self) -> list[Budget]:
        """Return the groups of trials whose values compare: at the first evaluation, at the end.

        The first holds the weak trials too, that a scheduler stopped there; the second holds
        the trials that ran to their end, each with its best value.
        """
        first = {
            trial.key: next(iter(self.curves[trial.run_id].items()))
            for trial in self.trials
            if self.curves.get(trial.run_id)
        }
        full = {
            trial.key: (max(self.curves[trial.run_id]), trial.metrics[self.best_key])
            for trial in self.ranked
            if trial.outcome == "completed" and self.curves.get(trial.run_id)
        }
        groups = [_alike("first evaluation", first, min), _alike("full budget", full, max)]
        found = [group for group in groups if group is not None]
        if len(found) == 2 and found[0].examples >= found[1].examples * (1 - SAME_BUDGET):
            return found[1:]
        return found


def read_sweep(client: MlflowClient, run: Run) -> SweepData:
    """Read a sweep's trials, their curves, its baselines and confirmations.

    Args:
        client: client of the store.
        run: the sweep's run.

    Raises:
        InputError: the sweep's run lacks its objective or its space.
    """
    plan = read_plan(client, run)
    everything = trials_of(client, run)
    curves = {
        trial.run_id: intermediate_values(client, trial.run_id, plan.objective)
        for trial in everything
        if trial.role == "trial"
    }
    return sweep_data(run, plan, everything, curves)


def read_plan(client: MlflowClient, run: Run) -> SweepPlan:
    """Read what a sweep was asked to do.

    Args:
        client: client of the store.
        run: the sweep's run.

    Raises:
        InputError: the sweep's run lacks its objective or its space.
    """
    name = run.data.tags["sweep.name"]
    if "objective" not in run.data.params:
        raise InputError(f"the sweep {name} was interrupted before it wrote its objective")
    space = load_yaml(artifact_text(client, run.info.run_id, "space.yaml")) or {}
    return SweepPlan(
        objectives=Objectives.of_run(run.data.params),
        space=SearchSpace.from_mapping(space, f"the space of the sweep {name}"),
        **_asked(client, run),
    )


def sweep_data(
    run: Run,
    plan: SweepPlan,
    everything: Sequence[TrialRecord],
    curves: Mapping[str, dict[int, float]],
) -> SweepData:
    """Return a sweep from what was read of it.

    Args:
        run: the sweep's run.
        plan: what it was asked to do.
        everything: all its other runs, in the order of `trials_of`.
        curves: of each trial's run, values of the objective by training examples seen.
    """
    objective = plan.objective
    chosen = chosen_run(everything, objective, plan.objectives.limits)
    confirms = confirmation_key(trial_number(chosen), 0)[:-1] if chosen else ""
    return SweepData(
        run=run,
        objective=objective,
        space=plan.space,
        trials=[trial for trial in everything if trial.role == "trial"],
        finals=[trial for trial in everything if trial.role in ("finalist", "refit", "ensemble")],
        baselines=[trial for trial in everything if trial.role == "baseline"],
        confirmations=[
            trial
            for trial in everything
            if trial.role == "confirmation"
            and trial.outcome == "completed"
            # A resumed sweep may have had another winner before.
            and str(trial.key).startswith(confirms)
        ],
        curves=dict(curves),
        asked=plan.asked,
        time_budget=plan.time_budget,
        several=plan.objectives if plan.objectives.further else None,
    )


def _asked(client: MlflowClient, run: Run) -> dict[str, Any]:
    """Return how many trials a sweep was to have, and in which time.

    Its parameters hold what it was started with, its settings what it was resumed with.
    """
    try:
        settings = SweepSettings.from_json(artifact_text(client, run.info.run_id, SETTINGS_FILE))
    except InputError:
        trials = run.data.params.get("trials", "")
        return {"asked": int(trials)} if trials.isdecimal() else {}
    return {"asked": settings.trials, "time_budget": settings.time_budget}


def differing(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the names whose values are not the same in all rows."""
    return [name for name in names if len({repr(row.get(name)) for row in rows}) > 1]


def _alike(
    name: str,
    points: dict[int | str, tuple[int, float]],
    pick: Callable[[Iterable[int]], int],
) -> Budget | None:
    """Return the points within `SAME_BUDGET` of the smallest or largest number of examples."""
    if not points:
        return None
    target = pick(step for step, _ in points.values())
    kept = {
        key: (step, value)
        for key, (step, value) in points.items()
        if abs(step - target) <= SAME_BUDGET * target
    }
    return Budget(
        name,
        max(step for step, _ in kept.values()),
        {key: value for key, (_, value) in kept.items()},
    )
