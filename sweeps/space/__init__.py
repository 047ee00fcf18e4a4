"""The search space: YAML files, ranges and conditions, the shipped spaces."""
