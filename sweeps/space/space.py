"""A space file -> what a sweep searches: choices, ranges, conditions, and the values it fixes.

A space file is YAML. Each key is a hyperparameter (a field of `sentiment.config`), and its entry
is a choice, a range, or a bare value that fixes it:

    base: cpu                                    # start from a shipped space
    cell: {choice: [gru, lstm]}
    hidden_dim: {int: [32, 256], step: 32}
    learning_rate: {float: [1e-4, 1e-2], log: true}
    optimizer: {choice: [adam, sgd]}
    momentum: {float: [0, 0.95], when: {optimizer: sgd}}
    pooling: max
    batch_size: null                             # drop what the base says

Everything is checked when it is read: keys against the fields, every value and bound against its
field's type, and each two settings that may meet in a trial against one another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations as pairs_of
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError

from sentiment.config import SECTION_OF, Config, fields, fingerprint, unknown_name
from sentiment.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Scalar = None | bool | int | float | str

SHIPPED: tuple[str, ...] = ("cpu", "gpu")
_SHIPPED_FOLDER = Path(__file__).parent

BY_FLAG: dict[str, str] = {
    "epochs": "--max-epochs",
    "evaluations_per_epoch": "--max-epochs",
    "early_evaluations": "--max-epochs",
    "objective": "--objective",
    "precision": "--precision",
    "seed": "--seed",
}
"""Settings that are the sweep's and not a trial's: a flag gives them, a space may not."""

NOT_RANGES: tuple[str, ...] = (
    "tokenizer",
    "language",
    "lowercase",
    "strip_markup",
    "embedding",
    "embedding_dim",
    "lower_case_backup",
)
"""Each value of these needs a corpus or vectors of its own, built before the first trial."""

# Each two values of two choices are checked against one another.
_LONGEST_CHOICE = 100


@dataclass(frozen=True)
class Condition:
    """Holds in the trials in which the choice `parent` took one of `values`."""

    parent: str
    values: tuple[Scalar, ...]

    def holds(self, taken: Mapping[str, Scalar]) -> bool:
        """Say whether the condition holds, given the values taken so far."""
        return self.parent in taken and taken[self.parent] in self.values


@dataclass(frozen=True)
class Choice:
    """One of some values, in no order."""

    values: tuple[Scalar, ...]
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class IntRange:
    """An integer from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class FloatRange:
    """A number from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    when: tuple[Condition, ...] = ()


Dimension = Choice | IntRange | FloatRange


@dataclass(frozen=True)
class Space:
    """What a sweep searches (`dimensions`, parents first) and what it fixes (`fixed`).

    A hyperparameter in neither has its default. Two spaces are equal if they say the same, in
    whatever order and under whatever name.
    """

    dimensions: dict[str, Dimension]
    fixed: dict[str, Scalar]
    name: str = field(default="space", compare=False)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Space:
        """Read a shipped space by its name, or a space file by its path.

        Raises:
            InputError: there is no such space, or something in the file is wrong.
        """
        if str(name_or_path) in SHIPPED:
            path, source = _SHIPPED_FOLDER / f"{name_or_path}.yaml", f"space {name_or_path}"
        else:
            path, source = Path(name_or_path), str(name_or_path)
        space = cls.from_mapping(_read(path, source), source)
        return replace(space, name=path.stem)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str = "space") -> Space:
        """Build a space from the contents of a space file; `source` opens each error message.

        Raises:
            InputError: something in the mapping is wrong.
        """
        if not isinstance(mapping, Mapping):
            raise InputError(
                f"{source}: not a space; write a line `name: {{choice: [a, b]}}` "
                "for each hyperparameter"
            )
        dimensions: dict[str, Dimension] = {}
        fixed: dict[str, Scalar] = {}
        entries = dict(mapping)
        based = "base" in entries
        if based:
            base = entries.pop("base")
            if base not in SHIPPED:
                raise InputError(f"{source}: {unknown_name('base', str(base), SHIPPED)}")
            shipped = cls.load(base)
            dimensions, fixed = dict(shipped.dimensions), dict(shipped.fixed)
        inherited = set(dimensions) - set(entries)

        for name, entry in entries.items():
            _check_name(name, source)
            was_there = name in dimensions or name in fixed
            dimensions.pop(name, None)
            fixed.pop(name, None)
            where = f"{source}: {name}"
            if entry is None:
                if not was_there and NoneType not in _kinds(name):
                    what = "the base has no such entry" if based else "there is no base"
                    raise InputError(f"{where}: null drops an entry of the base, and {what}")
            elif isinstance(entry, Mapping):
                dimensions[name] = _dimension(name, entry, where)
            else:
                fixed[name] = _typed(name, entry, where)

        for name in set(dimensions) - inherited:
            dimensions[name] = _with_typed_conditions(name, dimensions, f"{source}: {name}")
        dimensions, _ = _settle(_parents_first(dimensions, source), fixed, source)
        return cls._checked(dimensions, fixed, source)

    @classmethod
    def _checked(
        cls,
        dimensions: Mapping[str, Dimension],
        fixed: Mapping[str, Scalar],
        source: str,
        name: str = "space",
    ) -> Space:
        space = cls(_parents_first(dimensions, source), dict(fixed), name)
        space._check_pairs(source)
        return space

    def fix(self, values: Mapping[str, Any], source: str = "--set") -> Space:
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
            _check_name(name, source)
            value = _typed(name, given, f"{source} {name}")
            dimension = dimensions.pop(name, None)
            fixed.pop(name, None)
            if dimension is not None and dimension.when:
                dimensions[name] = Choice((value,), dimension.when)
                conditional[name] = value
            elif value is not None:
                fixed[name] = value
        dimensions, never = _settle(_parents_first(dimensions, source), fixed, source)
        for name, value in conditional.items():
            if name in never or not dimensions[name].when:
                dimensions.pop(name, None)
                if value is not None:
                    fixed[name] = value
        return self._checked(dimensions, fixed, source, self.name)

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Let Optuna choose, and return the fixed and the chosen values.

        Parents are asked for before what depends on them; what is not active in this trial is
        neither asked for nor returned.
        """
        taken: dict[str, Scalar] = {}
        for name, dimension in self.dimensions.items():
            if not all(condition.holds(taken) for condition in dimension.when):
                continue
            match dimension:
                case Choice(choices):
                    taken[name] = trial.suggest_categorical(name, choices)
                case IntRange(low, high, log, step):
                    taken[name] = trial.suggest_int(name, low, high, step=step, log=log)
                case FloatRange(low, high, log):
                    taken[name] = trial.suggest_float(name, low, high, log=log)
        return {**self.fixed, **taken}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each searched hyperparameter."""
        from optuna import distributions as optuna

        found: dict[str, BaseDistribution] = {}
        for name, dimension in self.dimensions.items():
            match dimension:
                case Choice(choices):
                    found[name] = optuna.CategoricalDistribution(choices)
                case IntRange(low, high, log, step):
                    found[name] = optuna.IntDistribution(low, high, log=log, step=step)
                case FloatRange(low, high, log):
                    found[name] = optuna.FloatDistribution(low, high, log=log)
        return found

    def locate(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the searched and active ones of a trial's settings, or None if it lies outside.

        `settings` are hyperparameters as they were recorded, as values or as text; one that is
        missing had its default. A trial lies outside if a value is not in its range, if one that
        is fixed here differs, or if a value can't be read. The sweep's own settings (`BY_FLAG`)
        don't count, and neither do names that are no hyperparameter.
        """
        recorded: dict[str, Scalar] = {}
        for name in SECTION_OF:
            given = settings.get(name, _default(name))
            if given == "None" and NoneType in _kinds(name):
                given = None
            try:
                recorded[name] = _adapter(name).validate_python(given)
            except ValidationError:
                return None
        taken: dict[str, Scalar] = {}
        for name, dimension in self.dimensions.items():
            if all(condition.holds(taken) for condition in dimension.when):
                if not _contains(dimension, recorded[name]):
                    return None
                taken[name] = recorded[name]
        for name in SECTION_OF:
            if name in self.dimensions or name in BY_FLAG:
                continue
            if recorded[name] != self.fixed.get(name, _default(name)):
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
            active = [
                all(condition.holds(taken) for condition in dimension.when) for taken in found
            ]
            found = [
                {**taken, **choice}
                for taken, is_active in zip(found, active, strict=True)
                for choice in ([{name: value} for value in dimension.values] if is_active else [{}])
            ]
        resting = {name: self.fixed.get(name, _default(name)) for name in names}
        settings = [{name: taken.get(name, resting[name]) for name in names} for taken in found]
        return list({tuple(each.values()): each for each in settings}.values())

    def to_mapping(self) -> dict[str, Any]:
        """Return the whole space as the contents of a space file without `base`."""
        return {name: _entry(each) for name, each in self.dimensions.items()} | dict(self.fixed)

    def to_yaml(self) -> str:
        """Return the whole space as a space file: reading it gives an equal space."""
        return yaml.dump(
            self.to_mapping(),
            Dumper=_Dumper,
            sort_keys=False,
            default_flow_style=None,
            allow_unicode=True,
            width=100,
        )

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over all that the space says."""
        return fingerprint(self.to_mapping())

    def _check_pairs(self, source: str) -> None:
        """Build a configuration of each two settings that may meet, so that no trial fails on it.

        The settings' own checks look at two fields at a time (a momentum and its optimizer), so
        pairs are enough. Of a range and of a choice of numbers the two ends stand for all.
        """
        for settings in self._pairwise():
            try:
                Config.from_flat({**self.fixed, **settings})
            except InputError as error:
                raise InputError(
                    f"{source}: a trial would be refused: {error}; make one depend on the other "
                    "with `when`, or leave it out"
                ) from None

    def _pairwise(self) -> Iterator[dict[str, Scalar]]:
        yield self._completed({})
        ends = {name: _ends(dimension) for name, dimension in self.dimensions.items()}
        for name, values in ends.items():
            for value in values:
                yield self._completed({name: value})
        for one, other in pairs_of(ends, 2):
            for first in ends[one]:
                for second in ends[other]:
                    yield self._completed({one: first, other: second})

    def _completed(self, wanted: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the settings of a trial that has the wanted values, if they can meet in one."""
        wanted = dict(wanted)
        for name, dimension in reversed(self.dimensions.items()):
            if name in wanted:
                for condition in dimension.when:
                    wanted.setdefault(condition.parent, condition.values[0])
        taken: dict[str, Scalar] = {}
        for name, dimension in self.dimensions.items():
            if all(condition.holds(taken) for condition in dimension.when):
                taken[name] = wanted.get(name, _ends(dimension)[0])
        return taken


def _check_name(name: Any, source: str) -> None:
    """Refuse what is no hyperparameter, or one that the whole sweep has."""
    if name not in SECTION_OF:
        raise InputError(f"{source}: {unknown_name('hyperparameter', str(name), SECTION_OF)}")
    if name in BY_FLAG:
        raise InputError(f"{source}: {name}: all trials share it; give it with {BY_FLAG[name]}")


def _dimension(name: str, entry: Mapping[Any, Any], where: str) -> Dimension:
    """Read `{choice: …}`, `{int: …}` or `{float: …}`."""
    allowed = {"choice": (), "int": ("log", "step"), "float": ("log",)}
    kinds = [kind for kind in allowed if kind in entry]
    if len(kinds) != 1:
        raise InputError(f"{where}: write one of choice, int and float, not {len(kinds)} of them")
    kind = kinds[0]
    keys = (kind, *allowed[kind], "when")
    for key in entry:
        if key not in keys:
            raise InputError(f"{where}: {unknown_name(f'key beside {kind}', str(key), keys)}")
    when = _conditions(entry.get("when", {}), where)
    if kind == "choice":
        return _choice(name, entry["choice"], when, where)
    if name in NOT_RANGES:
        raise InputError(
            f"{where}: each value needs a corpus or vectors of its own: "
            "write {choice: […]} or one value"
        )
    number: type = int if kind == "int" else float
    if number not in _kinds(name):
        fitting = {bool: "choice", int: "int or choice", float: "float or choice"}
        what = next((fitting[each] for each in _kinds(name) if each in fitting), "choice")
        raise InputError(f"{where}: {kind} does not fit this setting: write {what}")
    low, high = _bounds(name, entry[kind], where)
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}: log is true or false, not {log!r}")
    if log and low <= 0:
        raise InputError(f"{where}: a log range can't start at {low}: start above 0, or drop log")
    if kind == "float":
        return FloatRange(float(low), float(high), log, when)
    return _int_range(int(low), int(high), log, entry.get("step", 1), when, where)


def _choice(name: str, given: Any, when: tuple[Condition, ...], where: str) -> Choice:
    if not isinstance(given, list | tuple):
        raise InputError(f"{where}: choice is a list of values, not {given!r}")
    if not given:
        raise InputError(f"{where}: the choice is empty: give it a value at least")
    if len(given) > _LONGEST_CHOICE:
        raise InputError(
            f"{where}: {len(given):,} values to choose from: give {_LONGEST_CHOICE} at most, or a "
            "range"
        )
    values = tuple(_typed(name, value, where) for value in given)
    for position, value in enumerate(values):
        if value in values[:position]:
            raise InputError(f"{where}: {value!r} stands twice in the choice: drop one of the two")
    return Choice(values, when)


def _bounds(name: str, given: Any, where: str) -> tuple[int | float, int | float]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise InputError(f"{where}: a range is [low, high], not {given!r}")
    low, high = (_typed(name, bound, where) for bound in given)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise InputError(f"{where}: the bounds of a range are numbers, not {given!r}")
    if low > high:
        raise InputError(
            f"{where}: the lower bound {low} is above the upper bound {high}: swap them"
        )
    return low, high


def _int_range(
    low: int, high: int, log: bool, step: Any, when: tuple[Condition, ...], where: str
) -> IntRange:
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise InputError(f"{where}: step is an integer of at least 1, not {step!r}")
    if log and step != 1:
        raise InputError(f"{where}: a log range has no step: drop one of the two")
    if (high - low) % step:
        reached = high - (high - low) % step
        raise InputError(
            f"{where}: steps of {step} from {low} don't reach {high}: end at {reached}"
        )
    return IntRange(low, high, log, step, when)


def _conditions(given: Any, where: str) -> tuple[Condition, ...]:
    """Read `when`; the values are checked once all parents are known."""
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: when is {{other: value}}, not {given!r}")
    return tuple(
        Condition(parent, tuple(values) if isinstance(values, list | tuple) else (values,))
        for parent, values in given.items()
    )


def _with_typed_conditions(name: str, dimensions: Mapping[str, Dimension], where: str) -> Dimension:
    """Check an entry's conditions against their parents."""
    dimension = dimensions[name]
    checked = []
    for condition in dimension.when:
        parent = dimensions.get(condition.parent)
        if parent is None and condition.parent not in SECTION_OF:
            choices = [other for other, each in dimensions.items() if isinstance(each, Choice)]
            hint = unknown_name("hyperparameter", str(condition.parent), choices)
            raise InputError(f"{where}: when: {hint}")
        if not isinstance(parent, Choice):
            what = "not searched" if parent is None else "a range"
            raise InputError(
                f"{where}: when: {condition.parent} is {what}: "
                "a condition looks at a searched choice"
            )
        if not condition.values:
            raise InputError(f"{where}: when: {condition.parent} is given no value: name one")
        values = tuple(
            _typed(condition.parent, value, f"{where}: when: {condition.parent}")
            for value in condition.values
        )
        for value in values:
            if value not in parent.values:
                raise InputError(
                    f"{where}: when: {value!r} is none of the choices of {condition.parent}: "
                    f"{', '.join(map(repr, parent.values))}"
                )
        checked.append(Condition(condition.parent, values))
    return replace(dimension, when=tuple(checked))


def _parents_first(dimensions: Mapping[str, Dimension], source: str) -> dict[str, Dimension]:
    """Order dimensions so that each comes after those its conditions look at."""
    ordered: dict[str, Dimension] = {}
    waiting = dict(dimensions)
    while waiting:
        ready = [
            name
            for name, dimension in waiting.items()
            if not any(condition.parent in waiting for condition in dimension.when)
        ]
        if not ready:
            raise InputError(
                f"{source}: the conditions of {', '.join(sorted(waiting))} go in a circle: "
                "drop one `when`"
            )
        # One at a time, so that a space keeps the order of its file as far as it can.
        ordered[ready[0]] = waiting.pop(ready[0])
    return ordered


def _settle(
    dimensions: Mapping[str, Dimension], fixed: Mapping[str, Scalar], source: str
) -> tuple[dict[str, Dimension], set[str]]:
    """Drop conditions that are decided and dimensions that are never active.

    A condition on a choice stays, even if it holds for all its values: the choice may yet be fixed.

    Args:
        dimensions: parents first.
        fixed: values that decide conditions; a name in neither has its default.
        source: opens the error messages.

    Returns:
        The dimensions left, and the names of those never active.

    Raises:
        InputError: a condition looks at what has become a range.
    """
    kept: dict[str, Dimension] = {}
    never: set[str] = set()
    for name, dimension in dimensions.items():
        open_conditions = []
        for condition in dimension.when:
            parent = kept.get(condition.parent)
            if parent is None:
                value = fixed.get(condition.parent, _default(condition.parent))
                if condition.parent in never or value not in condition.values:
                    never.add(name)
                continue
            if not isinstance(parent, Choice):
                raise InputError(
                    f"{source}: {name} of the base depends on {condition.parent}, which is now a "
                    f"range: write {name} anew, or `{name}: null`"
                )
            values = tuple(value for value in condition.values if value in parent.values)
            if values:
                open_conditions.append(Condition(condition.parent, values))
            else:
                never.add(name)
        if name not in never:
            kept[name] = replace(dimension, when=tuple(open_conditions))
    return kept, never


def _typed(name: str, value: Any, where: str) -> Scalar:
    """Return the value as its field's type holds it."""
    if not isinstance(value, bool | int | float | str | NoneType):
        raise InputError(
            f"{where}: {value!r} is not a plain value: write a number, a word, true or false"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {value} is not a finite number: write one")
    # Pydantic would take `yes` for true and true for 1; in a space file either is a slip.
    if value is not None and isinstance(value, bool) != (bool in _kinds(name)):
        hint = "write true or false" if bool in _kinds(name) else "put a word in quotes"
        raise InputError(f"{where}: {value!r} does not fit this setting: {hint}")
    try:
        typed: Scalar = _adapter(name).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(f"{where}: {value!r}: {reason[:1].lower()}{reason[1:]}") from None
    if isinstance(typed, float) and not math.isfinite(typed):
        raise InputError(f"{where}: {value} is not a finite number: write one")
    return typed


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    """Return pydantic's check of one field."""
    found = fields()[name]
    checked: Any = Annotated[found.annotation, found]
    return TypeAdapter(checked)


@cache
def _kinds(name: str) -> tuple[type, ...]:
    """Return the types that a field admits; a Literal's are those of its values."""
    annotation = fields()[name].annotation
    members = (annotation,) if get_origin(annotation) in (None, Literal) else get_args(annotation)
    return tuple(
        kind
        for member in members
        for kind in (
            (type(value) for value in get_args(member))
            if get_origin(member) is Literal
            else (member,)
        )
    )


def _default(name: str) -> Scalar:
    default: Scalar = fields()[name].default
    return default


def _ends(dimension: Dimension) -> tuple[Scalar, ...]:
    """Return the values that stand for all of a dimension."""
    if not isinstance(dimension, Choice):
        return dimension.low, dimension.high
    numbers = [
        value
        for value in dimension.values
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    others = [value for value in dimension.values if value not in numbers]
    return (*others, min(numbers), max(numbers)) if numbers else tuple(others)


def _contains(dimension: Dimension, value: Scalar) -> bool:
    if isinstance(dimension, Choice):
        return value in dimension.values
    if not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    return isinstance(dimension, FloatRange) or (value - dimension.low) % dimension.step == 0


def _entry(dimension: Dimension) -> dict[str, Any]:
    """Return a dimension as it stands in a space file."""
    match dimension:
        case Choice(values):
            entry: dict[str, Any] = {"choice": list(values)}
        case IntRange(low, high, log, step):
            entry = {"int": [low, high]} | ({"log": True} if log else {})
            entry |= {"step": step} if step != 1 else {}
        case FloatRange(low, high, log):
            entry = {"float": [low, high]} | ({"log": True} if log else {})
    if dimension.when:
        entry["when"] = {each.parent: list(each.values) for each in dimension.when}
    return entry


class _Loader(yaml.SafeLoader):
    """YAML without surprises: `1e-3` is a number, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value!r} stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: a text that looks like a number goes in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# YAML 1.1 wants a dot and a signed exponent in a float, and takes 1e-3 for text.
for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def _read(path: Path, source: str) -> Any:
    """Parse a space file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}: not UTF-8 at byte {error.start}: save the file as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(
            f"--space {source}: {reason}; give a YAML file or a shipped space: "
            f"{' or '.join(SHIPPED)}"
        ) from None
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise InputError(f"{source}:{line} {error.problem or 'the YAML is broken'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "the YAML is broken"
        raise InputError(f"{source}: can't be read: {reason}") from None
