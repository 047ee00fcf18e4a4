"""All commands under one name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sentiment.errors import InputError
from sweeps.__main__ import COMMANDS, main


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main([]) == 0
    shown = capsys.readouterr().out
    for name, (_, what) in COMMANDS.items():
        assert f"  {name} " in shown and what in shown
    assert max(map(len, shown.splitlines())) <= 90


def test_a_misspelt_command_is_answered_with_the_likeliest() -> None:
    with pytest.raises(InputError, match="unknown command 'lanch': did you mean launch"):
        main(["lanch"])


def test_a_command_has_its_own_arguments_and_status() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", "predict", "--nonsense"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--nonsense" in done.stderr
