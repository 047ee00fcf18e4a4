"""Warm start: what a sweep takes from the earlier one that `--warm-start` names.

Of a sweep on the same data the sampler learns from all trials. Values on other data don't compare,
but good settings often stay good: the best of these are tried first (Feurer et al. 2015,
"Initializing Bayesian hyperparameter optimization via meta-learning").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment.data.datasets import Dataset
from sentiment.errors import InputError
from sentiment.tracking.store import read_store
from sentiment.wording import counted
from sweeps.config import SweepSettings
from sweeps.pipeline.context import SweepContext
from sweeps.search.warm_start import PastTrial
from sweeps.space.space import SearchSpace
from sweeps.tracking.queries import (
    Configured,
    best_trials,
    differing_settings,
    find_sweep,
    finished_trials,
    trials_of,
)

TRANSFERRED = 4
"""Settings of a sweep on other data that are tried first, at most."""


def past_trials(context: SweepContext) -> list[PastTrial]:
    """Return the trials of an earlier sweep on the same data; none without one.

    Raises:
        InputError: there is no such sweep, or it had another objective.
    """
    settings = context.settings
    if settings.warm_start is None:
        return []
    client, sweep = _find(settings, context.uri)
    if saw_other_data(sweep, context.dataset):
        return []
    try:
        return finished_trials(client, sweep, context.dataset.fingerprint, settings.objective)
    except InputError as error:
        raise _refused(settings, error) from None


def with_best_settings(
    space: SearchSpace, settings: SweepSettings, uri: str, dataset: Dataset
) -> tuple[SearchSpace, str | None]:
    """Return a space that begins with the best settings of an earlier sweep on other data.

    Args:
        space: what is searched.
        settings: of the sweep.
        uri: of the store.
        dataset: the data of this sweep.

    Returns:
        The space, as it is where there is no such sweep or it saw the same data; and a line for the
        user, None then.

    Raises:
        InputError: there is no such sweep, or none of its settings lie in the space.
    """
    if settings.warm_start is None:
        return space, None
    client, sweep = _find(settings, uri)
    if not saw_other_data(sweep, dataset):
        return space, None
    name, data = sweep.data.tags["sweep.name"], sweep.data.params.get("dataset")
    objective: Any = sweep.data.params.get("objective", settings.objective)
    begun = starting_from(space, best_trials(trials_of(client, sweep), objective))
    found = len(begun.enqueued) - len(space.enqueued)
    if not found:
        raise _refused(
            settings,
            f"the sweep {name} saw other data ({data}), so its best settings would be tried "
            "first, but none of them lie in this space: leave it out",
        )
    line = (
        f"warm start: the best {counted(found, 'setting')} of {name}, on other data ({data}), "
        "are tried first"
    )
    return begun, line


def starting_from(space: SearchSpace, ranked: Sequence[Configured]) -> SearchSpace:
    """Return a space that begins with the best settings that lie in it.

    Args:
        space: what is searched; what it enqueues by itself comes after them.
        ranked: trials on other data, the best first; of those that differ in numbers alone the best
            counts.
    """
    within = [trial for trial in ranked if space.locate(trial.parameters)]
    best = differing_settings(within, space.discrete, TRANSFERRED)
    found = [space.locate(trial.parameters) for trial in best]
    return replace(space, enqueued=(*filter(None, found), *space.enqueued))


def saw_other_data(sweep: Run, dataset: Dataset) -> bool:
    """Whether a sweep is known to have seen other data, or other splits of it."""
    seen = sweep.data.params.get("dataset_fingerprint")
    return seen is not None and not dataset.is_known_as(seen)


def _find(settings: SweepSettings, uri: str) -> tuple[MlflowClient, Run]:
    client = read_store(uri)
    experiment = client.get_experiment_by_name(settings.experiment)
    ids = [experiment.experiment_id] if experiment else []
    try:
        return client, find_sweep(client, ids, settings.warm_start)
    except InputError as error:
        raise _refused(settings, error) from None


def _refused(settings: SweepSettings, reason: object) -> InputError:
    return InputError(f"--warm-start {settings.warm_start}: {reason}")
