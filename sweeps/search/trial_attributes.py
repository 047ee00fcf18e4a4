"""Names of attributes that a trial has in Optuna's study."""

TRIAL_NUMBER = "trial"
"""User attribute: the search's own number of a trial."""
FIXED = "fixed_params"
"""Optuna's system attribute of a trial that was enqueued."""
