"""The search space of a sweep: choices, ranges, conditions, and the values it fixes.

`sweeps.space.parser` describes the space files that it is read from. Everything is checked when a
space is made, each two settings that may meet in a trial against one another included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sentiment.config import SECTION_OF, fingerprint
from sentiment.recipes.recipe import load_recipe, recipe_names
from sweeps.space import space_yaml
from sweeps.space.conditions import parents_first, simplify
from sweeps.space.dimensions import (
    Choice,
    Dimension,
    FloatRange,
    Scalar,
    contains,
    distribution,
    is_active,
    suggest,
)
from sweeps.space.enqueued import ENQUEUE, check_enqueued, fitting, parse_enqueued
from sweeps.space.hyperparameters import (
    BY_FLAG,
    PRETRAINING,
    adapter_of,
    check_name,
    default_of,
    to_typed,
    types_of,
)
from sweeps.space.pairs import check_pairs
from sweeps.space.parser import parse_space, read_yaml, space_path
from sweeps.space.prior import PRIOR, Belief, check_prior, fitting_prior, parse_prior

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial


@dataclass(frozen=True)
class SearchSpace:
    """What a sweep searches (`dimensions`, parents first) and what it fixes (`fixed`).

    A hyperparameter in neither has its default. Two spaces are equal if they say the same, in
    whatever order and under whatever name, whatever is `enqueued`: tried first, or believed to be
    good: `prior`.
    """

    dimensions: dict[str, Dimension]
    fixed: dict[str, Scalar]
    name: str = field(default="space", compare=False)
    enqueued: tuple[dict[str, Scalar], ...] = field(default=(), compare=False)
    prior: Mapping[str, Belief] = field(default_factory=dict, compare=False)

    @classmethod
    def load(cls, name_or_path: str | Path) -> SearchSpace:
        """Read a shipped space by its name, or a space file by its path.

        Raises:
            InputError: there is no such space, or something in the file is wrong.
        """
        path, source = space_path(name_or_path)
        space = cls.from_mapping(read_yaml(path, source), source)
        return replace(space, name=path.stem)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str = "space") -> SearchSpace:
        """Build a space from the contents of a space file; `source` opens each error message.

        Raises:
            InputError: something in the mapping is wrong.
        """
        dimensions, fixed, enqueued, prior = parse_space(mapping, source)
        return replace(cls._checked(dimensions, fixed, source), enqueued=enqueued, prior=prior)

    @classmethod
    def _checked(
        cls,
        dimensions: dict[str, Dimension],
        fixed: dict[str, Scalar],
        source: str,
        name: str = "space",
    ) -> SearchSpace:
        check_pairs(dimensions, fixed, source)
        return cls(dimensions, fixed, name)

    def fix(self, values: Mapping[str, Any], source: str = "--set") -> SearchSpace:
        """Return the space with hyperparameters fixed.

        A condition that is decided by that goes: what can't be active any more leaves the space,
        what is always active becomes unconditional. A conditional hyperparameter whose condition
        stays open is fixed in the trials in which it is active.

        Raises:
            InputError: a name is unknown or the sweep's own, a value does not fit, or two
                settings exclude one another.
        """
        dimensions, fixed = dict(self.dimensions), dict(self.fixed)
        conditional: dict[str, Scalar] = {}
        for name, given in values.items():
            check_name(name, source)
            value = to_typed(name, given, f"{source} {name}")
            dimension = dimensions.pop(name, None)
            fixed.pop(name, None)
            if dimension is not None and dimension.when:
                dimensions[name] = Choice((value,), dimension.when)
                conditional[name] = value
            elif value is not None:
                fixed[name] = value
        dimensions, never = simplify(parents_first(dimensions, source), fixed, source)
        for name, value in conditional.items():
            if name in never or not dimensions[name].when:
                dimensions.pop(name, None)
                if value is not None:
                    fixed[name] = value
        fixed_space = self._checked(dimensions, fixed, source, self.name)
        still = (fitting(each, dimensions) for each in self.enqueued)
        return replace(
            fixed_space,
            enqueued=tuple(each for each in still if each),
            prior=fitting_prior(self.prior, dimensions),
        )

    def believe(self, path: str | None, source: str = "--prior") -> SearchSpace:
        """Return the space with the beliefs of a YAML file in place of its own; None: with these.

        Args:
            path: the file.
            source: opens each error message.

        Raises:
            InputError: there is no such file, or a belief is not of what is searched.
        """
        if path is None:
            return self
        where = f"{source} {path}"
        beliefs = parse_prior(read_yaml(Path(path), path, source), where)
        return replace(self, prior=check_prior(beliefs, self.dimensions, where))

    def enqueue(self, names: Sequence[str], source: str = "--enqueue") -> SearchSpace:
        """Return the space with more settings that are tried first, before those of its own.

        Args:
            names: recipes, whose searched settings are taken, or YAML files of settings.
            source: opens each error message.

        Raises:
            InputError: there is no such recipe or file, or settings lie outside the space.
        """
        found: list[dict[str, Scalar]] = []
        for name in names:
            where = f"{source} {name}"
            if name in recipe_names():
                searched = {
                    each: value
                    for each, value in load_recipe(name).settings.items()
                    if each in self.dimensions
                }
                given: Any = searched
            else:
                given = read_yaml(Path(name), name, source)
            found += [
                check_enqueued(each, self.dimensions, self.fixed, where)
                for each in parse_enqueued(given, where)
            ]
        return replace(self, enqueued=(*found, *self.enqueued))

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Let Optuna choose, and return the fixed and the chosen values.

        Parents are asked for before what depends on them; what is not active in this trial is
        neither asked for nor returned.
        """
        taken: dict[str, Scalar] = {}
        for name, dimension in self.dimensions.items():
            if is_active(dimension, taken):
                taken[name] = suggest(dimension, name, trial)
        return {**self.fixed, **taken}

    @property
    def discrete(self) -> list[str]:
        """Names of the searched hyperparameters that are choices or whole numbers."""
        return [n for n, each in self.dimensions.items() if not isinstance(each, FloatRange)]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each searched hyperparameter."""
        return {name: distribution(each) for name, each in self.dimensions.items()}

    def locate(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the searched and active ones of a trial's settings, or None if it lies outside.

        `settings` are hyperparameters as they were recorded, as values or as text; one that is
        missing had its default. A trial lies outside if a value is not in its range, if one that
        is fixed here differs, or if a value can't be read. The sweep's own settings (`BY_FLAG`)
        don't count, and neither do names that are no hyperparameter.
        """
        recorded: dict[str, Scalar] = {}
        for name in SECTION_OF:
            given = settings.get(name, default_of(name))
            if given == "None" and NoneType in types_of(name):
                given = None
            try:
                recorded[name] = adapter_of(name).validate_python(given)
            except ValidationError:
                return None
        taken: dict[str, Scalar] = {}
        for name, dimension in self.dimensions.items():
            if is_active(dimension, taken):
                if not contains(dimension, recorded[name]):
                    return None
                taken[name] = recorded[name]
        for name in SECTION_OF:
            if name in self.dimensions or name in BY_FLAG:
                continue
            if recorded[name] != self.fixed.get(name, default_of(name)):
                return None
        return taken

    def values(self, name: str) -> list[Any]:
        """Return all values that a choice or fixed hyperparameter may take in a trial.

        The default is among them if the choice is conditional.

        Raises:
            ValueError: `name` is searched over a range.
        """
        return [settings[name] for settings in self.combinations([name])]

    def combinations(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return all settings of some choices or fixed hyperparameters that trials may have.

        Raises:
            ValueError: one of them is searched over a range.
        """
        needed = set(names)
        for name, dimension in reversed(self.dimensions.items()):
            if name in needed:
                needed.update(condition.parent for condition in dimension.when)
        found: list[dict[str, Scalar]] = [{}]
        for name, dimension in self.dimensions.items():
            if name not in needed:
                continue
            if not isinstance(dimension, Choice):
                raise ValueError(f"{name} is searched over a range")
            choices = [{name: value} for value in dimension.values]
            found = [
                {**taken, **choice}
                for taken in found
                for choice in (choices if is_active(dimension, taken) else [{}])
            ]
        resting = {name: self.fixed.get(name, default_of(name)) for name in names}
        settings = [{name: taken.get(name, resting[name]) for name in names} for taken in found]
        return list({tuple(each.values()): each for each in settings}.values())

    @property
    def pretrains(self) -> bool:
        """Whether trials may start from pretrained layers."""
        return any(value != "none" for value in self.values(PRETRAINING))

    def to_mapping(self) -> dict[str, Any]:
        """Return the whole space as the contents of a space file without `base`."""
        return space_yaml.to_mapping(self.dimensions, self.fixed)

    def to_yaml(self) -> str:
        """Return the whole space as a space file: reading it gives an equal space."""
        first: dict[str, Any] = {}
        if self.enqueued:
            first[ENQUEUE] = [dict(each) for each in self.enqueued]
        if self.prior:
            first[PRIOR] = {name: each.to_mapping() for name, each in self.prior.items()}
        return space_yaml.dump(self.to_mapping() | first)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over all that the space says."""
        return fingerprint(self.to_mapping())
