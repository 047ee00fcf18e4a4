"""Sweeps over the settings of `sentiment`: search, schedule, record, promote."""
