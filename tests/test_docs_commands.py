"""The commands that README.md and docs/ show: each one's parser takes it, and has their flags."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from sentiment import cli
from sentiment.errors import InputError
from sweeps.pipeline.flags import read_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_OURS = re.compile(r"\bpython -m ((?:benchmarks|sentiment|sweeps)\.\w+)(.*)")
_AFTER = re.compile(r"\s(?:[#<>|]|&&)\s?.*| …")  # comments, redirections, what may follow
_NUMBER = re.compile(r"(?<=--version) N$")
_OTHER_PROGRAM = re.compile(r"(?:\w+=\S+ )*(?:docker|kubectl|mlflow|optuna-dashboard|ray|sbatch)\b")
OTHER_FLAGS = {"--build-arg", "--publish", "--shm-size", "--extra-index-url"}
"""Flags in a sentence about another program: three of docker's, and one of pip's."""


def shown(page: Path) -> Iterator[str]:
    """Yield the commands of a page: in its consoles, and in code within its sentences."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line.removeprefix("$ ")
    for code in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        yield " ".join(code.split())


COMMANDS = sorted(
    {
        (found[1], _NUMBER.sub(" 2", _AFTER.sub("", re.sub(r"[][]", "", found[2])).strip()))
        for page in PAGES
        for command in shown(page)
        if (found := _OURS.search(command))
    }
)
MAKE = sorted(
    {
        found[1]
        for page in PAGES
        for command in shown(page)
        if (found := re.match(r"make ([a-z-]+)", command))
    }
)


@cache
def parser_of(module: str) -> cli.Parser:
    """The parser of a command, with all of its flags."""
    used = []

    class Parsed(Exception):  # noqa: N818 - not an error
        """The parser is complete, and the command must not run."""

    def parse_args(self: cli.Parser, *arguments: object) -> None:
        used.append(self)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(cli.Parser, "parse_args", parse_args)
        importlib.import_module(module).main([])
    return used[0]


@pytest.mark.parametrize(("module", "arguments"), COMMANDS)
def test_a_command_is_taken(
    module: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = parser_of(module)
    if arguments == "--help-all":
        assert "--help-all" in parser.format_help()
        return
    parsed = parser.parse_args(shlex.split(arguments))
    if module == "sweeps.launch":
        read_settings(parsed)


@pytest.mark.parametrize("target", MAKE)
def test_make_has_the_target(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_flag_is_one_of_a_command(page: Path) -> None:
    modules = {module for module, _ in COMMANDS}
    known = {flag for module in modules for flag in parser_of(module)._option_string_actions}
    flags = {
        flag
        for code in shown(page)
        if not _OTHER_PROGRAM.match(code)
        for flag in re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]*)", code)
    }
    assert flags - known - OTHER_FLAGS == set()


def test_a_flag_that_is_not_there_is_noticed() -> None:
    with pytest.raises(InputError, match="did you mean --trials"):
        parser_of("sweeps.launch").parse_args(["--trails", "3"])
