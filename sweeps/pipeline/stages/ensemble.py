"""The ensemble: finalists and trials that together do better on validation than the best alone.

Its members are chosen before any of them is refit; a refit has seen the texts of validation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.ensemble import Ensemble, combined, misfit
from sentiment.inference.evaluation import split_log_probabilities
from sentiment.inference.metrics import score
from sentiment.io.processes import available_cores
from sentiment.nn.devices import configure_threads
from sentiment.wording import counted
from sweeps.analysis.ensemble_selection import select
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan
from sweeps.pipeline.running import RunningSweep
from sweeps.pipeline.stages.refit import refits_of
from sweeps.tracking.members import (
    PARAMETER,
    Member,
    ensemble_key,
    members_sentence,
    members_text,
)
from sweeps.tracking.queries import (
    TrialRecord,
    best_finalists,
    best_trials,
    chosen_run,
    trial_number,
)
from sweeps.tracking.roles import Role

ROLE: Role = "ensemble"
MOST_TRIALS = 10
"""Trials of the search that may be members, where so many models are kept."""


@dataclass(frozen=True)
class Selection:
    """The members that validation chose.

    Attributes:
        runs: finalists and trials, the best run first.
        members: the same with their weights.
        metrics: of the ensemble on validation, `best/valid/…`.
    """

    runs: tuple[TrialRecord, ...]
    members: tuple[Member, ...]
    metrics: dict[str, float]

    @property
    def key(self) -> str:
        """The key of the ensemble's run."""
        return ensemble_key(self.members, trial_number(self.runs[0]))


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None without it."""
    settings = context.settings
    if settings.ensemble < 2:
        return None
    trials = min(MOST_TRIALS, settings.keep_models, settings.trials)
    texts = len(context.dataset.splits["valid"].texts)
    count = settings.finalist_count + trials
    return StagePlan(
        "ensemble",
        [
            f"ensemble: up to {settings.ensemble} of {counted(settings.finalist_count, 'finalist')}"
            f" and {counted(trials, 'trial')}, where that gains on validation"
        ],
        estimator.predictions(context.space, count * texts) if estimator else 0.0,
    )


def select_members(running: RunningSweep) -> Selection | None:
    """Choose the members of the ensemble on validation.

    Returns:
        The members; None where an ensemble is not wanted, or gains nothing over the best run.
    """
    context, settings = running.context, running.context.settings
    trials = running.trials()
    best = chosen_run(trials, settings.objective, settings.objectives.limits)
    if settings.ensemble < 2 or best is None or best.model_id is None:
        return None
    ranked = best_trials(trials, settings.objective)[: min(MOST_TRIALS, settings.keep_models)]
    others = [*best_finalists(trials, settings.objective), *ranked]
    runs = [best, *(run for run in others if run.model_id and run.run_id != best.run_id)]
    context.notify(f"ensemble: choosing among {counted(len(runs), 'model')} on validation")
    runs, predicted = _predictions(running, runs)
    labels = context.dataset.splits["valid"].labels
    counts = select(predicted, labels, settings.ensemble) if predicted else []
    taken = [place for place, count in enumerate(counts) if count]
    if len(taken) < 2:
        context.notify(f"ensemble: none, as no model beside {best.name} lowers the validation loss")
        return None
    weights = [counts[place] / sum(counts) for place in taken]
    members = []
    for place, weight in zip(taken, weights, strict=True):
        own = score(predicted[place], labels)
        run = runs[place]
        members.append(Member(run.key, run.name, weight, own.loss, own.accuracy))
    together = score(combined([predicted[place] for place in taken], weights), labels)
    metrics = {f"best/{name}": value for name, value in together.metrics("valid").items()}
    context.notify(members_sentence(members, metrics))
    return Selection(tuple(runs[place] for place in taken), tuple(members), metrics)


def log_ensemble(running: RunningSweep, selection: Selection | None) -> None:
    """Record the ensemble of the chosen members: of their refits, where there are any."""
    context, tracker = running.context, running.tracker
    if selection is None or selection.key in context.ended_runs(ROLE):
        return
    runs = refits_of(running, selection.runs)
    models = [_bundle(running, run) for run in runs if run is not None]
    if len(models) < len(selection.runs):
        context.notify("ensemble: left out, as the refit of a member failed")
        return
    ensemble = Ensemble(tuple(models), tuple(member.weight for member in selection.members))
    once = {
        name: sum(run.metrics[name] for run in runs if run is not None)
        for name in ("best/examples", "parameters/total")
    }
    step = int(once["best/examples"])
    parameters = {
        "dataset": context.dataset.name,
        "dataset_fingerprint": context.dataset.fingerprint,
        "seed": str(context.settings.seed),
        PARAMETER: members_text(selection.members),
    }
    name = f"ensemble of {counted(len(models), 'model')}"
    run = tracker.start_trial(selection.key, parameters, name, role=ROLE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = ensemble.save(Path(scratch, "bundle"))
        run.log_model(folder, {**selection.metrics, "best/examples": step}, step)
    run.end("completed", metrics={**selection.metrics, **once}, step=step)
    tracker.flush()


def _predictions(
    running: RunningSweep, runs: Sequence[TrialRecord]
) -> tuple[list[TrialRecord], list[np.ndarray]]:
    """Return the runs that fit the first, and their log probabilities (n, C) of validation."""
    configure_threads(available_cores())
    fitting, predicted = [], []
    first: Bundle | None = None
    for run in runs:
        bundle = _bundle(running, run)
        first = first or bundle
        if misfit([first, bundle]) is None:
            fitting.append(run)
            predicted.append(
                split_log_probabilities(bundle, running.context.dataset, "valid", available_cores())
            )
    return fitting, predicted


def _bundle(running: RunningSweep, run: TrialRecord) -> Bundle:
    if run.model_id is None:
        raise InputError(f"the model of {run.name} was removed, so it can't be a member")
    bundle = running.load_model(run.model_id)
    assert isinstance(bundle, Bundle), "finalists, trials and refits are single models"
    return bundle
