"""Measurements behind `docs/benchmarks.md`; each module is a command."""
