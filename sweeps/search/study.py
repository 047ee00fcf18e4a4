"""Optuna's study of a sweep: opened or created, its trials by their number in the search.

Numbers: a trial of the search has its own number, counted from 0 and kept in the user attribute
`trial`. Optuna's number differs where an earlier sweep's trials were added first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from sentiment.config import Objective
from sentiment.errors import InputError
from sentiment.objective import direction_of
from sweeps.search.prior_sampler import PriorSampler
from sweeps.search.rdb_storage import add_attributes, open_study_storage
from sweeps.search.samplers import make_sampler
from sweeps.search.tpe import Cost
from sweeps.search.trial_attributes import FIXED, TRIAL_NUMBER
from sweeps.space.space import SearchSpace

RUN_ID = "mlflow_run_id"
"""User attribute: the trial's run, for readers of the study."""
ENDED_BY = "ended_by"
"""User attribute: what ended a trial that neither it nor the scheduler did."""
TIME_BUDGET = "time budget"
"""Value of `ENDED_BY`."""

_ENQUEUED = "enqueued"  # of a study: its first trials have been set


def make_study(
    storage_url: str | None,
    name: str,
    objective: Objective,
    space: SearchSpace,
    sampler: str = "tpe",
    seed: int = 1234,
    cost: Cost | None = None,
    guided: int = 0,
    further: Sequence[str] = (),
) -> Study:
    """Open a study, or create it.

    The storage is a database, by default an SQLite file: each step is a transaction, so that a
    killed process loses nothing it had reported and leaves no lock. A server's URL works alike.

    Args:
        storage_url: SQLAlchemy's, such as `sqlite:///sweeps.db`; None: in memory.
        name: of the study in the storage.
        objective: what the study's values are.
        space: what will be searched; a study that exists must have the same.
        sampler: see `make_sampler`.
        seed: of the sampler.
        cost: of a trial, for the sampler.
        guided: in how many of the first trials what the space's prior says counts.
        further: further objectives; with any the study is for a Pareto front.

    Raises:
        InputError: the storage can't be opened, the sampler does not fit, or the study in the
            storage has another objective or space.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fitting = fitting_sampler(sampler, space, seed, cost=cost, guided=guided)
    names = [objective, *further]
    study = optuna.create_study(
        storage=None if storage_url is None else open_study_storage(storage_url),
        study_name=name,
        sampler=fitting,
        directions=[direction_of(objective), *[StudyDirection.MINIMIZE] * len(further)],
        load_if_exists=True,
    )
    for key, value, flag in (
        ("objective", " ".join(names), "--objective"),
        ("space", space.fingerprint, "--space and --set"),
    ):
        before = study.user_attrs.get(key)
        if before is None:
            study.set_user_attr(key, value)
        elif before != value:
            raise InputError(
                f"sweep {name} was started with another {key}: "
                f"resume it with the same {flag}, or start a new one"
            )
    if study.metric_names is None:
        with warnings.catch_warnings():
            # Optuna calls it experimental; we pin its major version.
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(names)
    drawn = sum(TRIAL_NUMBER in trial.user_attrs for trial in study.get_trials(deepcopy=False))
    if drawn:
        study.sampler = fitting_sampler(sampler, space, seed, drawn, cost, guided)
    return study


def fitting_sampler(
    name: str,
    space: SearchSpace,
    seed: int,
    drawn: int = 0,
    cost: Cost | None = None,
    guided: int = 0,
) -> BaseSampler:
    """Return a sampler, behind what the space's prior says; arguments are those of `make_sampler`.

    Args:
        guided: in how many of the first trials the prior counts.
    """
    sampler = make_sampler(name, space, seed, drawn, cost)
    return PriorSampler(sampler, space.prior, seed, guided) if space.prior else sampler


def is_enqueued(study: Study, trial: Trial) -> bool:
    """Whether a running trial has settings that were enqueued."""
    return FIXED in study._storage.get_trial_system_attrs(trial._trial_id)


def enqueue_first(study: Study, space: SearchSpace) -> None:
    """Let a study begin with the settings that its space enqueues; a second call adds none.

    Args:
        study: the study.
        space: what is searched.
    """
    if not space.enqueued or study.user_attrs.get(_ENQUEUED):
        return
    for settings in space.enqueued:
        study.enqueue_trial(settings, skip_if_exists=True)
    study.set_user_attr(_ENQUEUED, True)


def numbered(trials: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """Return the trials of a study that are its search's own, by their numbers there."""
    own = (trial for trial in trials if TRIAL_NUMBER in trial.user_attrs)
    return {trial.user_attrs[TRIAL_NUMBER]: trial for trial in sorted(own, key=_number_of)}


def unnumbered(study: Study) -> list[Trial]:
    """Return the running trials that a process was suggesting when it died, the next ones now."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [Trial(study, each._trial_id) for each in running if TRIAL_NUMBER not in each.user_attrs]


def note_runs(study: Study, run_of: Callable[[int], str | None]) -> None:
    """Name the runs of trials that ended before these were made.

    Args:
        study: the study.
        run_of: of a trial's number, the id of its MLflow run.
    """
    unknown = {
        trial.number: run_of(number)
        for number, trial in numbered(study.get_trials(deepcopy=False)).items()
        if RUN_ID not in trial.user_attrs
    }
    found = {number: run_id for number, run_id in unknown.items() if run_id is not None}
    add_attributes(study, RUN_ID, found)


def _number_of(trial: FrozenTrial) -> int:
    return int(trial.user_attrs[TRIAL_NUMBER])
