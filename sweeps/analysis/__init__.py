"""Figures computed from a record: importance, significance, comparisons, seed replicates."""
