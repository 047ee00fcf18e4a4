"""The forms of files that docs/data.md shows: each is made and read."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment import cli
from sentiment.data.datasets import load_dataset

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`(--data .+?)`[,\s]", PAGE.partition("### Other forms")[2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made,) = re.findall(r"^\$ python - <<'END'\n(import csv, gzip.+?)\nEND$", PAGE, re.M | re.S)
    folder = tmp_path_factory.mktemp("page")
    subprocess.run([sys.executable, "-c", made], cwd=folder, check=True)
    return folder


def test_every_file_is_shown(folder: Path) -> None:
    assert len(COMMANDS) == 19
    shown = {re.findall(r"forms/(\w+)", command)[0] for command in COMMANDS}
    assert shown == {path.name.partition(".")[0] for path in (folder / "forms").iterdir()} - {
        "test"  # beside train
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_form_is_read(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    parser = cli.Parser(prog="x")
    cli.add_data_arguments(parser)
    dataset = load_dataset(cli.data_config(parser.parse_args(shlex.split(command))))
    texts = [text for split in dataset.splits.values() for text in split.texts]
    assert 140 <= len(texts) <= 203
    assert len(dataset.label_names) == 3 - ("join" not in command)
    assert all("order" in text or len(text) < 15 for text in texts)
