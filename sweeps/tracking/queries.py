"""What past sweeps recorded, read back: their runs, their trials, the leaderboard."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from sentiment.config import Objective
from sentiment.errors import InputError
from sentiment.objective import best_key, merit, recurrent_name
from sentiment.tracking.model_uri import MODEL_TAG, REMOVED
from sentiment.tracking.runs import hyperparameters
from sweeps.objectives import (
    METRICS,
    SECONDS,
    Limit,
    Objectives,
    excess,
    is_within,
    pareto_front,
)
from sweeps.tracking.members import Member, read_members
from sweeps.tracking.roles import ROLES
from sweeps.tracking.takeovers import Takeover, read_takeovers
from sweeps.trials.outcomes import RANKED

if TYPE_CHECKING:
    from sweeps.search.warm_start import PastTrial

_PAGE = 1000
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class TrialRecord:
    """A trial, or another run of a sweep, as MLflow has it.

    Attributes:
        key: the trial's number, or the name of another run.
        run_id: its run.
        role: one of `sweeps.tracking.roles.ROLES`.
        name: the run's name.
        outcome: how it ended; None while it runs.
        parameters: hyperparameters as values; of a trial that took some over, the last ones.
        dataset_fingerprint: the data that it saw.
        metrics: the last value of each.
        started: milliseconds since the epoch.
        ended: the same, or None.
        model_id: its logged model, if it has one that was not removed.
        members: of an ensemble.
        takeovers: of a trial of a population.
    """

    key: int | str
    run_id: str
    role: Any
    name: str
    outcome: Any
    parameters: dict[str, Any]
    dataset_fingerprint: str | None
    metrics: dict[str, float]
    started: int
    ended: int | None
    model_id: str | None
    members: tuple[Member, ...] = ()
    takeovers: tuple[Takeover, ...] = ()

    @property
    def has_inherited_best(self) -> bool:
        """Whether its best checkpoint is one that it took over, which other settings led to."""
        last = self.takeovers[-1].examples if self.takeovers else -1
        return self.metrics.get("best/examples", 0) <= last


def search_runs(
    client: MlflowClient,
    experiment_ids: Sequence[str],
    filter_string: str,
    order_by: Sequence[str] = (),
) -> Iterator[Run]:
    """Yield all runs that fit MLflow's filter, however many pages they fill."""
    token = None
    while True:
        page = client.search_runs(
            list(experiment_ids),
            filter_string,
            max_results=_PAGE,
            order_by=list(order_by),
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def sweep_run(client: MlflowClient, experiment_ids: Sequence[str], name: str | None) -> Run | None:
    """Return the run of the sweep of that name, or of the newest; None if there is none."""
    return _newest_sweep(
        client,
        experiment_ids,
        "" if name is None else f" and tags.`sweep.name` = '{_quoted(name)}'",
    )


def running_sweep(client: MlflowClient, experiment_ids: Sequence[str]) -> str | None:
    """Return the name of the newest sweep that is running; None if there is none."""
    run = _newest_sweep(client, experiment_ids, " and attributes.status = 'RUNNING'")
    return None if run is None else run.data.tags.get("sweep.name")


def _newest_sweep(
    client: MlflowClient, experiment_ids: Sequence[str], condition: str
) -> Run | None:
    found = client.search_runs(
        list(experiment_ids),
        f"tags.`sweep.role` = 'sweep'{condition}",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def find_sweep(client: MlflowClient, experiment_ids: Sequence[str], name: str | None = None) -> Run:
    """Return the run of the sweep of that name, or of the newest.

    Raises:
        InputError: there is none, or its name was tampered with.
    """
    run = sweep_run(client, experiment_ids, name)
    if run is not None:
        # A folder has this name, and anybody who can write to the store may have set it.
        if not _FOLDER.fullmatch(run.data.tags.get("sweep.name", "")):
            raise InputError(f"the run {run.info.run_id} bears a name that no sweep can have")
        return run
    if name is None:
        raise InputError("there is no sweep here yet: python -m sweeps.launch")
    raise InputError(f"there is no sweep {name!r}{_hint(client, experiment_ids, name)}")


def _hint(client: MlflowClient, experiment_ids: Sequence[str], name: str) -> str:
    runs = search_runs(client, experiment_ids, "tags.`sweep.role` = 'sweep'")
    newest_first = sorted(runs, key=lambda run: -run.info.start_time)
    names = [run.data.tags.get("sweep.name", "") for run in newest_first]
    if close := get_close_matches(name, names, n=1):
        return f": did you mean {close[0]}?"
    return f"; the newest is {names[0]}" if names else "; python -m sweeps.launch makes one"


def trials_of(client: MlflowClient, sweep: Run, status: str | None = None) -> list[TrialRecord]:
    """Return a sweep's trials by number, then by name its finalists, its refit and the others.

    Args:
        client: client of the store.
        sweep: the sweep's run.
        status: only the runs of this MLflow status; None: all.
    """
    with_status = "" if status is None else f" and attributes.status = '{status}'"
    runs = search_runs(
        client,
        [sweep.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{sweep.info.run_id}'{with_status}",
    )
    return in_order(trial_record(run) for run in runs if run.data.tags.get("sweep.role") in ROLES)


def in_order(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the runs of a sweep by role, and those of a role by number or name."""
    return sorted(trials, key=lambda trial: (ROLES.index(trial.role), trial.key))


def intermediate_values(client: MlflowClient, run_id: str, objective: str) -> dict[int, float]:
    """Return a trial's values of a metric by training examples seen, in their order."""
    history = client.get_metric_history(run_id, objective)
    return {metric.step: metric.value for metric in sorted(history, key=lambda m: m.step)}


def artifact_text(client: MlflowClient, run_id: str, file: str) -> str:
    """Return a text that is kept as an artifact of a run.

    Raises:
        InputError: it isn't there, or can't be had.
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return Path(client.download_artifacts(run_id, file, scratch)).read_text("utf-8")
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the run {run_id} has no {file} to read: {reason}") from error


def finished_trials(
    client: MlflowClient, sweep: Run, dataset_fingerprint: str, objective: Objective
) -> list[PastTrial]:
    """Return the trials of a sweep that ended well, for another sweep to start from.

    Raises:
        InputError: the sweep saw other data or had another objective, so that its values don't
            compare.
    """
    from sweeps.search.warm_start import PastTrial

    name = sweep.data.tags["sweep.name"]
    went_by = sweep.data.params.get("objective")
    if went_by != objective:
        raise InputError(
            f"the sweep {name} went by {went_by}, this one goes by {objective}: give --objective "
            f"{went_by}, or start from another sweep"
        )
    seen = sweep.data.params.get("dataset_fingerprint")
    if seen != dataset_fingerprint:
        raise InputError(
            f"the sweep {name} saw other data ({sweep.data.params.get('dataset')}, fingerprint "
            f"{str(seen)[:12]}): its trials can't be told to a search on {dataset_fingerprint[:12]}"
        )
    return [
        PastTrial(
            source=trial.run_id,
            settings=trial.parameters,
            outcome=trial.outcome,
            value=trial.metrics.get(best_key(objective)),
            intermediate_values=intermediate_values(client, trial.run_id, objective),
            costs={n: trial.metrics[m] for n, m in METRICS.items() if m in trial.metrics},
        )
        for trial in trials_of(client, sweep)
        if trial.role == "trial" and trial.outcome in RANKED
    ]


def best_trials(trials: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Return the search's trials that have a best checkpoint, the best first.

    Of equals the one with the lower number is first.
    """
    return _ranked(trials, "trial", objective, best_key(objective))


class Configured(Protocol):
    """What has hyperparameters, by their names."""

    @property
    def parameters(self) -> dict[str, Any]:
        """All that its training depends on."""


ConfiguredT = TypeVar("ConfiguredT", bound=Configured)


def differing_settings(
    ranked: Sequence[ConfiguredT], names: Sequence[str], count: int
) -> list[ConfiguredT]:
    """Return the best trials that differ in more than numbers such as the learning rate.

    Args:
        ranked: trials, the best first.
        names: hyperparameters of which any two that are returned differ in one.
        count: how many are wanted; fewer are returned where there are not so many.
    """
    seen: set[tuple[str, ...]] = set()
    found: list[ConfiguredT] = []
    for trial in ranked:
        shape = tuple(repr(trial.parameters.get(name)) for name in names)
        if shape not in seen and len(found) < count:
            seen.add(shape)
            found.append(trial)
    return found


def best_finalists(trials: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Return the finalists that have a best checkpoint, the best on validation first.

    With an n-gram branch they go by the log-loss of the whole model, which foretells the order on
    other texts better than any accuracy does (docs/decisions/0024-search-compares-rnns.md). Macro
    F1, of which log-loss says little where labels are rare, they go by with their RNNs alone: the
    branch is the same in all of them. Without a branch they go by the objective.
    """
    own = f"best/{recurrent_name(objective)}"
    finalists = _ranked(trials, "finalist", objective, own)
    if objective != "valid/f1" and all(own in finalist.metrics for finalist in finalists):
        finalists.sort(key=lambda finalist: finalist.metrics[best_key("valid/loss")])
    return finalists


def _ranked(
    trials: Sequence[TrialRecord], role: str, objective: Objective, name: str
) -> list[TrialRecord]:
    """Return the runs of a role by a metric, by the objective of those that lack it."""
    key = best_key(objective)
    able = [
        trial
        for trial in trials
        if trial.role == role and trial.outcome in RANKED and key in trial.metrics
    ]
    return sorted(
        able,
        key=lambda trial: (
            -merit(objective, trial.metrics.get(name, trial.metrics[key])),
            trial.has_inherited_best,
            trial.key,
        ),
    )


def chosen_run(
    trials: Sequence[TrialRecord], objective: Objective, limits: Sequence[Limit] = ()
) -> TrialRecord | None:
    """Return the run that validation chose: the best finalist, else the best trial, if any.

    Args:
        trials: all that a sweep ran.
        objective: what the best goes by, the first of several.
        limits: that the chosen one keeps.
    """
    ranked = [
        *within_limits(best_finalists(trials, objective), limits),
        *within_limits(best_trials(trials, objective), limits),
    ]
    return ranked[0] if ranked else None


def within_limits(trials: Sequence[TrialRecord], limits: Sequence[Limit]) -> list[TrialRecord]:
    """Return the runs that keep limits, in their order.

    A limit of the seconds is one of the search's trials: what is trained longer afterwards has the
    model that they led to.
    """
    return [trial for trial in trials if is_within(trial.metrics, limits_of(trial, limits))]


def limits_of(trial: TrialRecord, limits: Sequence[Limit]) -> list[Limit]:
    """Return the limits that a run is to keep: a trial of the search all, others their model's."""
    return [limit for limit in limits if trial.role == "trial" or limit.is_of_model]


def nearest_run(
    trials: Sequence[TrialRecord], objective: Objective, limits: Sequence[Limit]
) -> TrialRecord | None:
    """Return the trial of the search that exceeds limits least; of equals the best."""
    ranked = best_trials(trials, objective)
    return min(ranked, key=lambda trial: excess(trial.metrics, limits), default=None)


def front_of(trials: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    """Return the Pareto front of the search's trials, the best by the first objective first.

    All their values count, not those of their first evaluations: a trial that was stopped has
    spent less time than it would have, so by the seconds only completed ones are compared.
    """
    whole = SECONDS in objectives.further
    able = [
        trial
        for trial in best_trials(trials, objectives.first)
        if trial.outcome == "completed" or not whole
    ]
    return pareto_front(able, lambda trial: objectives.point(trial.metrics))


def registered_run(
    trials: Sequence[TrialRecord], chosen: TrialRecord, limits: Sequence[Limit] = ()
) -> TrialRecord:
    """Return the run that is scored on the test split: the chosen one, its refit or ensemble.

    A refit has no validation of its own, so it stands with the metrics of what was chosen. Of
    several ensembles around what was chosen, as after more trials, it is the best on validation.

    Args:
        trials: all that a sweep ran.
        chosen: by validation.
        limits: a refit that does not keep them, as its n-grams are more, is passed over.
    """
    completed = within_limits([each for each in trials if each.outcome == "completed"], limits)
    number = trial_number(chosen)
    ensembles = [t for t in completed if t.role == "ensemble" and trial_number(t) == number]
    if ensembles:
        return min(ensembles, key=lambda trial: trial.metrics["best/valid/loss"])
    key = refit_key(chosen)
    for trial in completed:
        if trial.role == "refit" and trial.key == key:
            judged = {
                n: value for n, value in chosen.metrics.items() if n.startswith("best/valid/")
            }
            return replace(trial, metrics={**judged, **trial.metrics})
    return chosen


def trial_number(run: TrialRecord) -> int:
    """Return the number of the trial whose settings a trial, a finalist or its refit has."""
    return run.key if isinstance(run.key, int) else int(run.key.rpartition("-")[2])


def finalist_key(number: int) -> str:
    """Return the key of the run that trains a trial's settings to the budget of a finalist."""
    return f"finalist-{number:03d}"


def refit_key(run: TrialRecord) -> str:
    """Return the key of the run that trains a finalist's or trial's settings on all but test."""
    own = "-trial" if run.role == "trial" else ""
    return f"refit{own}-{trial_number(run):03d}"


def leaderboard(trials: Sequence[TrialRecord], objective: Objective) -> pd.DataFrame:
    """Return all that a sweep ran as a table: the ranked first, then those without a rank.

    Columns: rank (from 1; empty for what has none), trial, role, outcome, the metrics of the best
    checkpoint, test metrics where there are any, seconds, the hyperparameters, run_id, model_id.
    """
    ranked = best_trials(trials, objective)
    ranks = {trial.run_id: rank for rank, trial in enumerate(ranked, start=1)}
    rest = [trial for trial in trials if trial.run_id not in ranks]
    once = ("best/", "test/", "parameters/", "seconds/", "latency/")
    rows = [
        {
            "rank": ranks.get(trial.run_id),
            "trial": trial.key,
            "role": trial.role,
            "outcome": trial.outcome or "running",
            **{name: value for name, value in trial.metrics.items() if name.startswith(once)},
            **trial.parameters,
            "run_id": trial.run_id,
            "model_id": trial.model_id,
        }
        for trial in [*ranked, *rest]
    ]
    table = pd.DataFrame(rows, columns=_columns(rows))
    if rows:
        table["rank"] = table["rank"].astype("Int64")
    return table


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    first = ["rank", "trial", "role", "outcome"]
    last = ["run_id", "model_id"]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in first + last))
    metrics = [name for name in names if "/" in name]
    others = [name for name in names if "/" not in name]
    return [*first, *metrics, *others, *last]


def trial_record(run: Run) -> TrialRecord:
    """Return what MLflow has of a trial, or of another run of a sweep."""
    tags = run.data.tags
    role = tags["sweep.role"]
    taken = read_takeovers(tags)
    models = run.outputs.model_outputs if run.outputs else []
    if tags.get(MODEL_TAG) == REMOVED:
        models = []
    return TrialRecord(
        key=int(tags["sweep.trial"]) if role == "trial" else tags[f"sweep.{role}"],
        run_id=run.info.run_id,
        role=role,
        name=run.info.run_name,
        # It is set just before the run is closed; until then a kill may come between.
        outcome=None if run.info.status == "RUNNING" else tags.get("sweep.outcome"),
        parameters={**hyperparameters(run.data.params), **(taken[-1].settings if taken else {})},
        dataset_fingerprint=run.data.params.get("dataset_fingerprint"),
        metrics=run.data.metrics,
        started=run.info.start_time,
        ended=run.info.end_time,
        model_id=models[-1].model_id if models else None,
        members=read_members(run.data.params),
        takeovers=taken,
    )


def _quoted(name: str) -> str:
    if "'" in name or "\\" in name:
        raise InputError(f"there is no sweep {name!r}")
    return name
