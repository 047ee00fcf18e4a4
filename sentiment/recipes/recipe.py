"""Recipes: known configurations, written as differences from one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentiment.config import Config, unknown_name
from sentiment.errors import InputError
from sentiment.installation import PACKAGE
from sentiment.io.yaml_numbers import load_yaml

_FOLDER = PACKAGE / "recipes"
_SHARED = "tutorial"


@dataclass(frozen=True)
class Recipe:
    """A known configuration.

    Attributes:
        name: what `--recipe` takes.
        description: one line: the system and the accuracy reported for it.
        settings: hyperparameters by name.
        validation_share: share of the training reviews held back, where it is the recipe's own.
        baseline: whether it is a system of a tutorial, for sweeps to be compared with.
    """

    name: str
    description: str
    settings: dict[str, Any]
    validation_share: float | None = None
    baseline: bool = True

    @property
    def config(self) -> Config:
        """The recipe's settings, with the defaults for the rest."""
        return Config.from_flat(self.settings)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship."""
    files = (path.name for path in _FOLDER.iterdir() if path.name.endswith(".yaml"))
    return sorted(file.removesuffix(".yaml") for file in files)


def load_recipe(name: str) -> Recipe:
    """Read a recipe, over the one that it is based on.

    Raises:
        InputError: there is no recipe of that name.
    """
    names = recipe_names()
    if name not in names:
        raise InputError(f"--recipe {name}: {unknown_name('recipe', name, names)}")
    written = load_yaml((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    base = load_recipe(written["base"]) if "base" in written else None
    share = written.get("validation_share", base.validation_share if base else None)
    settings = {**(base.settings if base else {}), **written["settings"]}
    return Recipe(name, written["description"], settings, share, written.get("baseline", True))


def whole_recipes() -> list[Recipe]:
    """Return the recipes of whole systems: all but the one that only holds what some share."""
    return [load_recipe(name) for name in recipe_names() if name != _SHARED]


def baseline_recipes() -> list[Recipe]:
    """Return the recipes of the tutorials' systems."""
    return [recipe for recipe in whole_recipes() if recipe.baseline]
