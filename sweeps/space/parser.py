"""Parser of space files: YAML -> dimensions and fixed values, with every error worded.

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
    enqueue: [{cell: gru, learning_rate: 4e-3}]  # tried first; the sampler adds what is missing
    prior: {cell: gru}                           # believed to be good; see `sweeps.space.prior`

Keys are checked against the fields, every value and bound against its field's type, and every
condition against the choice that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, NamedTuple

import yaml

from sentiment.config import unknown_name
from sentiment.errors import InputError
from sentiment.io.yaml_numbers import NumberLoader
from sweeps.space.conditions import (
    parents_first,
    parse_conditions,
    simplify,
    validate_conditions,
)
from sweeps.space.dimensions import (
    Choice,
    Condition,
    Dimension,
    FloatRange,
    IntRange,
    Scalar,
)
from sweeps.space.enqueued import ENQUEUE, check_enqueued, fitting, parse_enqueued
from sweeps.space.hyperparameters import NOT_RANGES, check_name, to_typed, types_of
from sweeps.space.prior import PRIOR, Belief, check_prior, parse_prior

SHIPPED: tuple[str, ...] = ("cpu", "gpu", "pbt", "semi")
_SHIPPED_FOLDER = Path(__file__).parent

# Each two values of two choices are checked against one another.
_LONGEST_CHOICE = 100


class ParsedSpace(NamedTuple):
    """Contents of a space file.

    Attributes:
        dimensions: what is searched, parents first.
        fixed: values by name.
        enqueued: settings that a search tries first, each of them searched.
        prior: what is believed to be good.
    """

    dimensions: dict[str, Dimension]
    fixed: dict[str, Scalar]
    enqueued: tuple[dict[str, Scalar], ...] = ()
    prior: Mapping[str, Belief] = MappingProxyType({})


def space_path(name_or_path: str | Path) -> tuple[Path, str]:
    """Return the file of a shipped space or of the user's own, and its name in error messages."""
    if str(name_or_path) in SHIPPED:
        return _SHIPPED_FOLDER / f"{name_or_path}.yaml", f"space {name_or_path}"
    return Path(name_or_path), str(name_or_path)


def read_yaml(path: Path, source: str, flag: str = "--space") -> Any:
    """Read a space file, or one of settings.

    Args:
        path: the file.
        source: opens each error message.
        flag: that names the file.

    Raises:
        InputError: it can't be read, or is not UTF-8 or not YAML.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}: not UTF-8 at byte {error.start}: save the file as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        others = f"a shipped space: {', '.join(SHIPPED)}" if flag == "--space" else "a recipe"
        raise InputError(f"{flag} {source}: {reason}; give a YAML file or {others}") from None
    try:
        return yaml.load(text, _SpaceLoader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise InputError(f"{source}:{line} {error.problem or 'the YAML is broken'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "the YAML is broken"
        raise InputError(f"{source}: can't be read: {reason}") from None


def parse_space(mapping: Mapping[str, Any], source: str) -> ParsedSpace:
    """Parse the contents of a space file; `source` opens each error message.

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
    given = entries.pop(ENQUEUE, None)
    believed = entries.pop(PRIOR, None)
    inherited_first: tuple[dict[str, Scalar], ...] = ()
    based = "base" in entries
    if based:
        base = entries.pop("base")
        if base not in SHIPPED:
            raise InputError(f"{source}: {unknown_name('base', str(base), SHIPPED)}")
        path, shipped_source = space_path(base)
        shipped = parse_space(read_yaml(path, shipped_source), shipped_source)
        dimensions, fixed = dict(shipped.dimensions), dict(shipped.fixed)
        if ENQUEUE not in mapping:
            inherited_first = shipped.enqueued
    inherited = set(dimensions) - set(entries)

    for name, entry in entries.items():
        check_name(name, source)
        was_there = name in dimensions or name in fixed
        dimensions.pop(name, None)
        fixed.pop(name, None)
        where = f"{source}: {name}"
        if entry is None:
            if not was_there and NoneType not in types_of(name):
                what = "the base has no such entry" if based else "there is no base"
                raise InputError(f"{where}: null drops an entry of the base, and {what}")
        elif isinstance(entry, Mapping):
            dimensions[name] = _parse_dimension(name, entry, where)
        else:
            fixed[name] = to_typed(name, entry, where)

    for name in set(dimensions) - inherited:
        dimensions[name] = validate_conditions(name, dimensions, f"{source}: {name}")
    dimensions, _ = simplify(parents_first(dimensions, source), fixed, source)
    where = f"{source}: {ENQUEUE}"
    own = () if given is None else parse_enqueued(given, where)
    enqueued = (
        *(check_enqueued(each, dimensions, fixed, where) for each in own),
        *(fitting(each, dimensions) for each in inherited_first),
    )
    prior: dict[str, Belief] = {}
    if believed is not None:
        where = f"{source}: {PRIOR}"
        prior = check_prior(parse_prior(believed, where), dimensions, where)
    return ParsedSpace(dimensions, fixed, tuple(each for each in enqueued if each), prior)


def _parse_dimension(name: str, entry: Mapping[Any, Any], where: str) -> Dimension:
    """Parse `{choice: …}`, `{int: …}` or `{float: …}`."""
    allowed = {"choice": (), "int": ("log", "step"), "float": ("log",)}
    kinds = [kind for kind in allowed if kind in entry]
    if len(kinds) != 1:
        raise InputError(f"{where}: write one of choice, int and float, not {len(kinds)} of them")
    kind = kinds[0]
    keys = (kind, *allowed[kind], "when")
    for key in entry:
        if key not in keys:
            raise InputError(f"{where}: {unknown_name(f'key beside {kind}', str(key), keys)}")
    when = parse_conditions(entry.get("when", {}), where)
    if kind == "choice":
        return _parse_choice(name, entry["choice"], when, where)
    if name in NOT_RANGES:
        raise InputError(
            f"{where}: each value needs a corpus or vectors of its own: "
            "write {choice: […]} or one value"
        )
    number: type = int if kind == "int" else float
    if number not in types_of(name):
        fitting = {bool: "choice", int: "int or choice", float: "float or choice"}
        what = next((fitting[each] for each in types_of(name) if each in fitting), "choice")
        raise InputError(f"{where}: {kind} does not fit this setting: write {what}")
    low, high = _parse_bounds(name, entry[kind], where)
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}: log is true or false, not {log!r}")
    if log and low <= 0:
        raise InputError(f"{where}: a log range can't start at {low}: start above 0, or drop log")
    if kind == "float":
        return FloatRange(float(low), float(high), log, when)
    return _parse_int_range(int(low), int(high), log, entry.get("step", 1), when, where)


def _parse_choice(name: str, given: Any, when: tuple[Condition, ...], where: str) -> Choice:
    if not isinstance(given, list | tuple):
        raise InputError(f"{where}: choice is a list of values, not {given!r}")
    if not given:
        raise InputError(f"{where}: the choice is empty: give it a value at least")
    if len(given) > _LONGEST_CHOICE:
        raise InputError(
            f"{where}: {len(given):,} values to choose from: give {_LONGEST_CHOICE} at most, or a "
            "range"
        )
    values = tuple(to_typed(name, value, where) for value in given)
    for position, value in enumerate(values):
        if value in values[:position]:
            raise InputError(f"{where}: {value!r} stands twice in the choice: drop one of the two")
    return Choice(values, when)


def _parse_bounds(name: str, given: Any, where: str) -> tuple[int | float, int | float]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise InputError(f"{where}: a range is [low, high], not {given!r}")
    low, high = (to_typed(name, bound, where) for bound in given)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise InputError(f"{where}: the bounds of a range are numbers, not {given!r}")
    if low > high:
        raise InputError(
            f"{where}: the lower bound {low} is above the upper bound {high}: swap them"
        )
    return low, high


def _parse_int_range(
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


class _SpaceLoader(NumberLoader):
    """Loader that refuses a repeated key, instead of taking the last one."""

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
