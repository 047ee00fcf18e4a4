"""How much each hyperparameter matters, judged from trials that compare.

Trials that a scheduler stopped have seen a part of the training that others have seen; values
after a quarter of an epoch and after two do not compare. So importances are taken among
trials of one budget, and by two of Optuna's evaluators, which ask different questions.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import create_trial

from sweeps.analysis.sweep_data import Budget, SweepData

LEAST_TRIALS = 10
"""Fewer trials of one budget are too few to judge many hyperparameters."""
BEST_SHARE = 0.25
"""The share of trials that PED-ANOVA sets apart from the rest."""

_SEED = 0  # of fANOVA's forest: the same record gives the same figures


@dataclass(frozen=True)
class Importances:
    """Importances of hyperparameters among trials of one budget.

    Attributes:
        budget: which trials.
        variance: share of the variance of the values that each explains alone (fANOVA, Hutter et
            al. 2014, ICML); of those that are searched in every trial. They sum to 1.
        best: how much the best quarter's values of each differ from all trials' (PED-ANOVA,
            Watanabe et al. 2023, IJCAI), conditional ones included. They sum to 1.
    """

    budget: Budget
    variance: dict[str, float]
    best: dict[str, float]

    @property
    def conditional(self) -> list[str]:
        """Hyperparameters that only some trials have, so that fANOVA leaves them out."""
        return [name for name in self.best if name not in self.variance]


def importances(record: SweepData, budget: Budget) -> Importances | None:
    """Return the importances among the trials of a budget; None where they can't be
    estimated.

    They can't for fewer than `LEAST_TRIALS`, for values that are all the same, and where all
    settings are.
    """
    searched = {trial.key: record.settings_of(trial) for trial in record.trials}
    values = {key: value for key, value in budget.values.items() if searched[key]}
    settings = {key: searched[key] for key in values}
    varied = _varied(settings.values())
    if len(values) < LEAST_TRIALS or len(set(values.values())) < 2 or not varied:
        return None
    study = _study(record, settings, values)
    is_varied_in_all = any(all(name in each for each in settings.values()) for name in varied)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Its trees can't be grown where each setting that all trials have is the same in all.
        fanova = FanovaImportanceEvaluator(seed=_SEED)
        variance = _shares(study, fanova) if is_varied_in_all else {}
        best = _shares(study, PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE))
    return Importances(budget, variance, best)


def _varied(settings: Collection[Mapping[str, object]]) -> list[str]:
    """Return the hyperparameters of which trials have different values."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [n for n in names if len({repr(each[n]) for each in settings if n in each}) > 1]


def _shares(study: optuna.Study, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    found = get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _study(
    record: SweepData,
    settings: Mapping[int | str, Mapping[str, object]],
    values: Mapping[int | str, float],
) -> optuna.Study:
    """Return a study in memory of these trials as completed ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = record.space.distributions()
    study = optuna.create_study(direction="maximize" if record.sign > 0 else "minimize")
    study.add_trials(
        [
            create_trial(
                params=dict(settings[key]),
                distributions={name: distributions[name] for name in settings[key]},
                value=value,
            )
            for key, value in values.items()
        ]
    )
    return study
