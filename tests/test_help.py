"""The help of every command: short, complete, and with examples that the command accepts."""

from __future__ import annotations

import importlib
import re
import shlex
from typing import Any

import pytest

from sentiment import cli

COMMANDS = (
    "sentiment.evaluate",
    "sentiment.export",
    "sentiment.predict",
    "sentiment.prepare",
    "sentiment.train",
    "sweeps.clean",
    "sweeps.launch",
    "sweeps.promote",
    "sweeps.report",
    "sweeps.serve",
    "sweeps.ui",
)
_FLAG = re.compile(r"^  (?:-h, )?(--[a-z0-9-]+)", re.MULTILINE)
SCREEN = (80, 24)


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    """The name of a command's module."""
    return str(request.param)


@pytest.fixture
def parser(command: str, monkeypatch: pytest.MonkeyPatch) -> cli.Parser:
    """The parser of a command, with all of its flags."""
    used = []
    parse = cli.Parser.parse_args

    def parse_args(self: cli.Parser, *arguments: Any) -> Any:
        used.append(self)
        return parse(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(cli.Parser, "parse_args", parse_args)
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(command).main(["--help"])
    assert ended.value.code == 0
    return used[-1]


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str], parser: cli.Parser) -> None:
    shown = capsys.readouterr().out
    assert shown == parser.format_help()
    lines = shown.splitlines()
    assert len(lines) <= SCREEN[1]
    assert max(map(len, lines)) <= SCREEN[0]
    assert "None" not in shown
    assert "--help-all" in shown


def test_help_all_shows_every_flag_once_by_subject(
    command: str, parser: cli.Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(command).main(["--help-all"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= SCREEN[0]
    flags = _FLAG.findall(shown)
    assert sorted(flags) == sorted(
        next(name for name in each.option_strings if name.startswith("--"))
        for each in parser._actions
        if each.option_strings
    )
    assert set(_FLAG.findall(parser.format_help())) <= set(flags)
    assert "None" not in shown


def test_every_flag_is_explained_by_itself(parser: cli.Parser) -> None:
    for each in parser._actions:
        assert each.help, each.dest
        # Not a rest of a sentence that begins with the flag's name.
        assert not re.match(r"(of|or|and|for|by|to|also)\b(?! imdb:)", each.help), each.help


def test_examples_are_commands_that_the_parser_takes(command: str, parser: cli.Parser) -> None:
    head, _, examples = parser.format_help().partition("\nexamples:\n")
    assert head
    lines = examples.splitlines()
    assert lines
    for line in lines:
        words = shlex.split(re.split(r" [<>] ", line)[0])
        assert words[:3] == ["python", "-m", command]
        parser.parse_args(words[3:])


def test_flags_that_are_not_common_are_in_help_all_alone() -> None:
    parser = cli.Parser(prog="x", common=("--often",), examples=("x --often 2",))
    group = parser.add_argument_group("rest")
    group.add_argument("--often", type=int, default=1, help="a number")
    group.add_argument("--seldom", nargs="+", metavar="WORD", help="words")
    parser.add_argument("what", nargs="*", metavar="X", help="a thing")
    assert parser.format_help().splitlines() == [
        "usage: x [option ...] [X ...]",
        "",
        "  X              a thing",
        "  --often OFTEN  a number (default: 1)",
        "  --help-all     show all flags, by subject",
        "",
        "examples:",
        "  x --often 2",
    ]
    assert "rest:\n  --often OFTEN      a number (default: 1)\n  --seldom WORD ...  words" in (
        parser.format_all()
    )


def test_a_parser_without_common_flags_shows_all() -> None:
    parser = cli.Parser(prog="x")
    parser.add_argument("--seldom", help="a word")
    assert "--seldom" in parser.format_help()
    assert "--help-all" not in parser.format_help()
