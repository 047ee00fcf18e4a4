"""Names of registered models, of the alias that answers, and the flags that name them."""

from __future__ import annotations

import re
import shlex

MODEL_NAME = "sentiment"
"""The registered model's default name."""
CHAMPION = "champion"
"""The alias of the model that answers; only a promotion moves it."""

_ALIAS = re.compile(r"(?:models:/(?P<name>[^/@]+)@)?(?P<alias>(?(name)[^/@]+|[\w-]+))")
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def alias_of(reference: str | None) -> tuple[str, str] | None:
    """Return the registered model and the alias that a reference names; None if it names neither.

    Args:
        reference: `models:/NAME@ALIAS`, or an alias of the registered model `sentiment`; None is
            the champion.
    """
    if reference is None:
        return MODEL_NAME, CHAMPION
    match = _ALIAS.fullmatch(reference)
    if match is None or is_run_id(reference):
        return None
    return match["name"] or MODEL_NAME, match["alias"]


def is_run_id(reference: str) -> bool:
    """Whether a reference is the id of a run."""
    return _RUN_ID.fullmatch(reference) is not None


def champion_of(name: str) -> str:
    """Return the URI of the champion of a registered model."""
    return f"models:/{name}@{CHAMPION}"


def model_name_flag(name: str) -> str:
    """Return what a command must be given to take a registered model: nothing, or a flag."""
    return "" if name == MODEL_NAME else f" --model-name {shlex.quote(name)}"
