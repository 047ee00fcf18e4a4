"""What all commands share: help that fits a screen, common flags, and the exit status."""

from __future__ import annotations

import argparse
import gc
import os
import re
import select
import shlex
import sys
import traceback
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from sentiment.installation import hidden_code

# Before the modules that would be another's.
if (_hidden := hidden_code(getattr(sys.modules["__main__"], "__spec__", None))) is not None:
    print(f"error: {_hidden}", file=sys.stderr)
    sys.exit(2)

# isort: split
from sentiment.config import Config
from sentiment.data.config import DataConfig, flag
from sentiment.errors import InputError, TrainingError
from sentiment.io.disk_errors import full_disk
from sentiment.io.encodings import check_utf8
from sentiment.io.environment import complete_environment
from sentiment.tracking.experiment import EXPERIMENT, EXPERIMENT_VARIABLE, default_experiment
from sentiment.tracking.provenance import redacted
from sentiment.tracking.registered_name import champion_of
from sentiment.tracking.store_errors import store_error

if TYPE_CHECKING:
    from sentiment.data.tables import Account

_NOT_OF_TYPE = re.compile(r"(?P<flag>[^:]+): invalid (?P<type>int|float) value: (?P<value>.+)")
_UNKNOWN = re.compile(r"unrecognized arguments: (?P<flag>--[^\s=]+)")
_LONGEST_MESSAGE = 2_000
_VARIABLES = ("MLFLOW_TRACKING_URI", "SENTIMENT_CACHE", "TMPDIR")
HELP_WIDTH = 80
"""Columns of help texts, however wide the terminal is."""
_KINDS = {"int": "whole number", "float": "number"}


class Help(argparse.HelpFormatter):
    """Shows defaults where there is one to show, one flag a line where it fits."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=27, width=HELP_WIDTH)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        shown = action.option_strings and action.default not in (
            None,
            False,
            [],
            argparse.SUPPRESS,
        )
        return f"{text} (default: %(default)s)" if shown and "default" not in text else text

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == argparse.ONE_OR_MORE:
            return f"{action.metavar or default_metavar} ..."
        return super()._format_args(action, default_metavar)


class Parser(argparse.ArgumentParser):
    """A parser whose help fits a screen, and whose errors are an InputError of one line.

    `--help` shows the flags that are named as common, and examples; `--help-all` shows all flags,
    by group.
    """

    def __init__(
        self, *, common: Sequence[str] | None = None, examples: Sequence[str] = (), **options: Any
    ) -> None:
        """Make a parser without arguments but those that show help.

        Args:
            common: the flags of `--help`, in this order, such as `--trials`; a flag that is not
                named here is shown by `--help-all` alone. None: `--help` shows all.
            examples: commands that work as they are written, shown below the flags.
            options: those of `argparse.ArgumentParser`.
        """
        super().__init__(**{"formatter_class": Help, **options, "add_help": False})
        self._common = common
        self._examples = examples
        self.add_argument("-h", "--help", action="help", help="show the most used flags")
        if common is not None:
            self.add_argument("--help-all", action=_HelpAll, help="show all flags, by subject")

    def format_help(self) -> str:
        """Return the text of `--help`: usage, subject, positional and common flags, examples.

        Raises:
            KeyError: a flag that is named as common was not added.
        """
        if self._common is None:
            return self.format_all()
        by_flag = {flag: each for each in self._actions for flag in each.option_strings}
        shown = [by_flag[flag] for flag in (*self._common, "--help-all")]
        return self._format([(None, [*self._positional, *shown])])

    def format_all(self) -> str:
        """Return the text of `--help-all`: usage, subject, every flag by group, examples."""
        return self._format([(group.title, group._group_actions) for group in self._action_groups])

    def _format(self, sections: Iterable[tuple[str | None, Sequence[argparse.Action]]]) -> str:
        names = [f"[{each.metavar} ...]" for each in self._positional]
        formatter = self._get_formatter()
        usage = self.usage or " ".join(["%(prog)s [option ...]", *names])
        formatter.add_usage(usage, self._actions, [])
        formatter.add_text(self.description)
        for title, actions in sections:
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        examples = ["", "examples:", *(f"  {line}" for line in self._examples), ""]
        return formatter.format_help() + ("\n".join(examples) if self._examples else "")

    @property
    def _positional(self) -> list[argparse.Action]:
        return [each for each in self._actions if not each.option_strings]

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments, which must be UTF-8, in a working folder whose name is.

        Names of files are among them. What is not UTF-8 would fail where it is recorded, after
        the work.

        Raises:
            InputError: an argument, or the working folder's name, is not UTF-8, or what
                `argparse` finds wrong.
        """
        parsed = super().parse_args(args, namespace)
        for argument in sys.argv[1:] if args is None else args:
            check_utf8(argument, "the argument")
        for variable in _VARIABLES:
            check_utf8(os.environ.get(variable, ""), f"the environment's {variable}")
        try:
            folder = Path.cwd()
        except FileNotFoundError:
            raise InputError("the working folder is no longer there; change to another") from None
        check_utf8(str(folder), "the working folder's name")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments, in place of printing all flags.

        Raises:
            InputError: always.
        """
        # What the user typed is part of it, line breaks included.
        line = " ".join(message.split()).removeprefix("argument ")
        if found := _NOT_OF_TYPE.fullmatch(line):
            line = f"{found['flag']} {found['value']}: not a {_KINDS[found['type']]}"
        if found := _UNKNOWN.match(line):
            # Without the dashes, which all of them share.
            flags = [flag.lstrip("-") for each in self._actions for flag in each.option_strings]
            if close := get_close_matches(found["flag"].lstrip("-"), flags, n=1):
                raise InputError(f"{line}: did you mean --{close[0]}?")
        raise InputError(f"{line}; see {self.prog} --help")


class _HelpAll(argparse.Action):
    """`--help-all`: prints all flags and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        assert isinstance(parser, Parser)
        print(parser.format_all(), end="")
        parser.exit()


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each field of `DataConfig`."""
    group = parser.add_argument_group("data")
    for name, field in DataConfig.model_fields.items():
        text = (field.description or "").replace("%", "%%")
        kinds = (field.annotation, *typing.get_args(field.annotation))
        metavar = name.rpartition("_")[2].upper()
        if bool in kinds:
            group.add_argument(flag(name), action="store_true", help=text)
        elif any(typing.get_origin(kind) is tuple for kind in kinds):
            # None, since argparse would add what is given to another default.
            default = f" (default: {' '.join(field.default)})" if field.default else ""
            group.add_argument(flag(name), action="append", metavar=metavar, help=text + default)
        else:
            group.add_argument(
                flag(name),
                type=next((kind for kind in (float, int) if kind in kinds), str),
                default=field.default,
                metavar=metavar,
                help=text,
            )


def data_config(args: argparse.Namespace) -> DataConfig:
    """Return the settings that the flags of `add_data_arguments` give.

    Raises:
        InputError: a value does not fit its field.
    """
    given = {name: getattr(args, name) for name in DataConfig.model_fields}
    return checked_data_config({name: value for name, value in given.items() if value is not None})


def data_flags(config: DataConfig) -> list[str]:
    """Return the arguments that differ from the defaults, as `data_config` reads them."""
    words: list[str] = []
    for name, value in config.model_dump(exclude_defaults=True).items():
        if value is True:
            words.append(flag(name))
        else:
            for each in value if isinstance(value, tuple | list) else [value]:
                words += [flag(name), str(each)]
    return words


def named_data(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `DataConfig` that the user gave, by name.

    The parser's default of `--dataset` must be None, so that the default data set can be named.
    """
    given = {name: (getattr(args, name), f.default) for name, f in DataConfig.model_fields.items()}
    return {
        name: value
        for name, (value, default) in given.items()
        if value is not None and (value != default or name == "dataset")
    }


def checked_data_config(values: Mapping[str, Any]) -> DataConfig:
    """Return the configuration of these values by field; the message names them as flags.

    Raises:
        InputError: a value does not fit its field, or there is no such field.
    """
    try:
        return DataConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        name = str(first["loc"][0]).replace("_", "-") if first["loc"] else "data"
        raise InputError(f"--{name} {first['input']}: {reason[:1].lower()}{reason[1:]}") from None


def as_typed(flag: str, value: Any) -> str:
    """Return a flag with a value that the parser made, as it is written on a command line."""
    if isinstance(value, bool):
        return flag if value else f"--no-{flag.removeprefix('--')}"
    return shlex.join([flag, *map(str, value)] if isinstance(value, list) else [flag, str(value)])


def add_set_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--set key=value …`, to be read by `parse_assignments`."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="fix hyperparameters, as in cell=gru dropout=0.3",
    )


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where in MLflow to record."""
    group = parser.add_argument_group("record")
    group.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: MLflow's own)")
    group.add_argument(
        "--experiment",
        metavar="NAME",
        default=default_experiment(),
        help=f"MLflow experiment (default: ${EXPERIMENT_VARIABLE}, or {EXPERIMENT})",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which saved model to load, and from which store."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--model",
        metavar="URI|RUN|DIR",
        help="a model's URI, a run's id or a folder (default: models:/sentiment@champion)",
    )
    model.add_argument(
        "--model-name",
        dest="model",
        type=champion_of,
        metavar="NAME",
        help="the champion of another registered model than sentiment",
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: the current folder's)"
    )


def predict_command(flags: str, data: DataConfig | None) -> str:
    """Return a command that classifies a text as those of the data are.

    Args:
        flags: which model and store, each behind a space.
        data: what the model was trained on; None: unknown.
    """
    films = data is not None and data.data is None
    text = "This film is great" if films else "a text of your own"
    return f'python -m sentiment.predict{flags} "{text}"'


def store_flag(tracking_uri: str | None) -> str:
    """Return what a further command must be given to find the same store: nothing, or a flag."""
    return "" if tracking_uri is None else f" --tracking-uri {shlex.quote(redacted(tracking_uri))}"


def tell_left_out(account: Account | None) -> None:
    """Print on standard error which rows of the user's files were left out, if any were."""
    if account is not None and account.left_out:
        print(f"note: {account}", file=sys.stderr)


def warn_of_padding(config: Config) -> None:
    """Warn on standard error that a model of `packing: padded` judges a text by its batch."""
    if config.model.packing == "padded":
        print(
            "note: this model has packing=padded, so its probabilities of a text depend on what "
            "else is in the batch",
            file=sys.stderr,
        )


def run(main: Callable[[list[str] | None], int | None]) -> NoReturn:
    """Run a command on the process's arguments and exit with its status.

    0: done; 1: the work failed; 2: the user's input is wrong; 130: interrupted. What a store
    raises becomes a line. Any other exception keeps its traceback, without the credentials in it,
    and ends with 1 too.
    """
    complete_environment()
    try:
        status = main(None) or 0
        sys.stdout.flush()
    except InputError as error:
        status = _fail(str(error), 2)
    except TrainingError as error:
        status = _fail(str(error), 1)
    except KeyboardInterrupt:
        status = _fail("interrupted", 130)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # Python flushes once more on its way out, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:  # noqa: BLE001 - printed in full
        if full := full_disk(error):
            status = _fail(f"{full}; free some room and start again", 1)
        elif refused := store_error(error):
            status = _fail(f"the store can't be used: {refused}", 1)
        else:
            print(redacted(traceback.format_exc()), end="", file=sys.stderr)
            status = 1
    # Python would look through all objects for cycles on its way out, which behind torch's import
    # costs up to half a second.
    gc.freeze()
    sys.exit(status)


def _fail(message: str, status: int) -> int:
    print(f"error: {_printable(message)}", file=sys.stderr)
    return status


def _printable(message: str) -> str:
    """Return a message that quotes what users gave, fit for a terminal."""
    shown = redacted(message[:_LONGEST_MESSAGE])
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in shown)
    return shown if len(message) <= _LONGEST_MESSAGE else f"{shown} …"


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe without a reader, as after `| head`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))
