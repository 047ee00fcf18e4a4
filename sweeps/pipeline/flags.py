"""The flags of a sweep's settings: added to a parser, and read from what was parsed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_origin, get_type_hints

from sentiment import cli
from sentiment.config import SECTION_OF, Config, likeliest, parse_assignments
from sentiment.data.config import flag
from sentiment.errors import InputError
from sweeps.config import TRIALS, Flag, SweepSettings
from sweeps.objectives import Objectives


def add_flags(parser: argparse._ArgumentGroup, group: str) -> None:
    """Add the flags of a group, one a setting.

    Args:
        parser: receives the flags.
        group: their `Flag.group`.
    """
    hints = get_type_hints(SweepSettings)
    for setting, described in _flags():
        if described.group != group:
            continue
        kinds = (hints[setting.name], *get_args(hints[setting.name]))
        if bool in kinds:
            switch = argparse.BooleanOptionalAction if setting.default else "store_true"
            parser.add_argument(
                flag(setting.name), action=switch, default=setting.default, help=described.help
            )
            continue
        if described.is_repeated:
            parser.add_argument(
                flag(setting.name),
                action="append",
                metavar=described.metavar,
                help=described.help,
            )
            continue
        if get_origin(hints[setting.name]) is tuple:
            parser.add_argument(
                flag(setting.name),
                nargs="+",
                default=setting.default,
                metavar=described.metavar,
                help=described.help,
            )
            continue
        number = next((kind for kind in (int, float) if kind in kinds), str)
        parser.add_argument(
            flag(setting.name),
            type=str if described.is_time else number,
            # None where it must be known whether the flag was given.
            default=None if setting.default is MISSING else setting.default,
            metavar=described.metavar,
            help=described.help,
        )


def default_arguments() -> argparse.Namespace:
    """Return what a parser of all settings makes of an empty command line."""
    parser = argparse.ArgumentParser(add_help=False)
    every = parser.add_argument_group()
    for group in get_args(get_type_hints(Flag)["group"]):
        add_flags(every, group)
    every.add_argument("--language")
    cli.add_set_argument(every)
    cli.add_data_arguments(parser)
    cli.add_store_arguments(parser)
    return parser.parse_args([])


def read_settings(args: argparse.Namespace) -> SweepSettings:
    """Return the settings, checked as far as that needs neither data, devices nor store.

    Args:
        args: what a parser with all flags, and those of data and store, has parsed.

    Raises:
        InputError: a flag's value is wrong.
    """
    for setting, described in _flags():
        if described.is_repeated:
            continue
        value = getattr(args, setting.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{flag(setting.name)} {value}: give a finite number")
        if described.least is not None and value is not None and value < described.least:
            raise InputError(f"{flag(setting.name)} {value}: give {described.least} or more")
        if described.above is not None and value is not None and not value > described.above:
            raise InputError(f"{flag(setting.name)} {value}: give more than {described.above}")
        if setting.name in SECTION_OF and described.choices is None and value is not None:
            _check_hyperparameter(setting.name, value)
    overrides: dict[str, Any] = parse_assignments(args.set)
    if args.language is not None:
        overrides["language"] = args.language
    data = cli.data_config(args)
    values = {
        setting.name: _value(args, setting.name, each)
        for setting, each in _flags()
        if not each.is_repeated
    }
    if values["trials"] is None:
        values["trials"] = TRIALS
    objectives = Objectives.parse(args.objective or [SweepSettings.objective], args.limit or ())
    values |= {"objective": objectives.first, "limit": tuple(map(str, objectives.limits))}
    _check_several(objectives, values)
    return SweepSettings(
        **values,
        further_objectives=objectives.further,
        data=data,
        overrides=overrides,
        tracking_uri=args.tracking_uri,
        experiment=args.experiment,
    )


def _check_several(objectives: Objectives, values: Mapping[str, Any]) -> None:
    """Raise an InputError where several objectives, or one, don't go with other settings."""
    sampler = values["sampler"]
    if objectives.further and sampler == "cmaes":
        raise InputError("--sampler cmaes: it has one objective; use tpe, nsga2, gp or random")
    if not objectives.further and sampler == "nsga2":
        raise InputError("--sampler nsga2: it is for several objectives; add one, or use tpe")
    if sampler == "nsga2" and values["warm_start"] is not None:
        raise InputError(
            "--warm-start with --sampler nsga2: its population is of this sweep's trials alone; "
            "use tpe, or gp"
        )
    if objectives.further and values["until_flat"]:
        raise InputError(
            "--until-flat: it judges the best by one objective, and a front has no best; leave it "
            "out, or give a --time-budget"
        )
    of_model = [limit for limit in objectives.limits if limit.is_of_model]
    if of_model and values["ensemble"] > 1:
        raise InputError(
            f"--ensemble {values['ensemble']}: an ensemble costs what its members cost together, "
            f"which --limit {of_model[0]} can't hold for; leave one of the two out"
        )


def seconds_of(name: str, text: str | None) -> float | None:
    """Read `90`, `90s`, `30m` or `2h` as seconds.

    Args:
        name: the setting's name.
        text: the flag's value; None if it was not given.

    Raises:
        InputError: it is not a time above 0.
    """
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in "smh" and text else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"{flag(name)} {text}: give a time such as 90 (seconds), 30m or 2h")
    return seconds


def _flags() -> Iterator[tuple[Field[Any], Flag]]:
    """Yield the settings that have a flag here, in the order of the help."""
    for setting in fields(SweepSettings):
        if "flag" in setting.metadata:
            yield setting, setting.metadata["flag"]


def _check_hyperparameter(name: str, value: Any) -> None:
    """Check a setting that trials get as the hyperparameter of the same name."""
    try:
        Config.from_flat({name: value})
    except InputError as error:
        raise InputError(str(error).replace(f"{name}={value}", f"{flag(name)} {value}")) from None


def _value(args: argparse.Namespace, name: str, described: Flag) -> Any:
    """Return the value of a setting."""
    value = getattr(args, name)
    if described.is_time:
        return seconds_of(name, value)
    if described.choices is not None and value not in described.choices:
        shown = name.replace("_", "-")
        close = likeliest(value, described.choices)
        raise InputError(f"--{shown} {value}: there is no such {shown}; {close}")
    return tuple(value) if isinstance(value, list) else value
