"""Names of registered models, of the alias that answers, and the flags that name them."""

from __future__ import annotations

import shlex

MODEL_NAME = "sentiment"
"""The registered model's default name."""
CHAMPION = "champion"
"""The alias of the model that answers; only a promotion moves it."""


def champion_of(name: str) -> str:
    """Return the URI of the champion of a registered model."""
    return f"models:/{name}@{CHAMPION}"


def model_name_flag(name: str) -> str:
    """Return what a command must be given to take a registered model: nothing, or a flag."""
    return "" if name == MODEL_NAME else f" --model-name {shlex.quote(name)}"
