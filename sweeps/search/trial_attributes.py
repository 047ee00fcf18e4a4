"""Names of attributes that a trial has in Optuna's study, and what it had reached."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.trial import FrozenTrial

TRIAL_NUMBER = "trial"
"""User attribute: the search's own number of a trial."""
FIXED = "fixed_params"
"""Optuna's system attribute of a trial that was enqueued."""
EVALUATIONS = "evaluations"
"""User attribute of a trial of several objectives: their values by examples seen.

They stand in place of intermediate values, which Optuna refuses where there are several, and at
which its TPE fails.
"""
POPULATION = "population"
"""User attribute of a trial of a population: its last decided turn, and what it has taken over."""

Evaluations = dict[int, dict[str, float]]
"""By training examples seen, the objectives that were known there, by their names."""


def evaluations_of(trial: FrozenTrial, objective: str) -> Evaluations:
    """Return what a trial had reached at each of its evaluations.

    Args:
        trial: of a study of one objective or of several.
        objective: the first one.
    """
    several = trial.user_attrs.get(EVALUATIONS)
    if several is not None:
        return {int(step): dict(values) for step, values in several.items()}
    return {step: {objective: value} for step, value in trial.intermediate_values.items()}


def curve(evaluations: Mapping[int, Mapping[str, float]], objective: str) -> dict[int, float]:
    """Return an objective by examples seen."""
    return {step: values[objective] for step, values in evaluations.items()}
