from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sentiment.nn.rnn_choice import recurrence
from sentiment.tracking.provenance import (
    code_revision,
    command_line,
    is_alive,
    package_versions,
    process_tags,
    provenance_tags,
    redacted,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--tracking-uri http://me:pa55@host:5000/x", "--tracking-uri http://***@host:5000/x"),
        ("http://me:p@55@host", "http://***@host"),
        ("can't parse 'http://me:pa/55@host'", "can't parse 'http://***@host'"),
        (
            "http://host:5000/models/sentiment@champion",
            "http://host:5000/models/sentiment@champion",
        ),
        (
            "postgresql://db/x?user=me&password=pa55&a=1",
            "postgresql://db/x?user=me&password=***&a=1",
        ),
        (
            "--study-storage postgresql://me:p@55@db:5432/optuna?sslmode=require",
            "--study-storage postgresql://***@db:5432/optuna?sslmode=require",
        ),
        ("--storage s3://AKIA:a/b+c@bucket/sweeps", "--storage s3://***@bucket/sweeps"),
        (
            "s3://bucket/x?access_key=AKIA&secret_key=pa55&region=a",
            "s3://bucket/x?access_key=***&secret_key=***&region=a",
        ),
        (
            "https://bucket.s3/x?X-Amz-Credential=AKIA%2Fus&X-Amz-Signature=0a1b&a=1",
            "https://bucket.s3/x?X-Amz-Credential=***&X-Amz-Signature=***&a=1",
        ),
        ("gs://bucket/sweeps", "gs://bucket/sweeps"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("mail me@host.org", "mail me@host.org"),
        ("https://maps.org/x?key=AIza0&sig=a%2Fb&b=1", "https://maps.org/x?key=***&sig=***&b=1"),
        ("AWS_SECRET_ACCESS_KEY=a/b+c", "AWS_SECRET_ACCESS_KEY=***"),
        ("host=db password='pa 55' user=me", "host=db password=*** user=me"),
        ("--set dropout: write it as key=value", "--set dropout: write it as key=value"),
        (
            "sorted(trials, key=lambda trial: trial.key)",
            "sorted(trials, key=lambda trial: trial.key)",
        ),
        (
            "give postgresql://USER:PASSWORD@HOST/DATABASE",
            "give postgresql://USER:PASSWORD@HOST/DATABASE",
        ),
    ],
)
def test_credentials_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_command_line_names_the_module() -> None:
    code = "import runpy, sys; sys.argv = ['x', '--name', 'a b']; "
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code + "runpy.run_module('show', run_name='__main__', alter_sys=True)",
        ],
        env={**os.environ, "PYTHONPATH": _module_that_shows()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "python -m show --name 'a b'"


def _module_that_shows() -> str:
    import tempfile

    folder = Path(tempfile.mkdtemp())
    (folder / "show.py").write_text(
        "from sentiment.tracking.provenance import command_line\nprint(command_line())\n"
    )
    return str(folder)


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


def test_revision_of_a_checkout(tmp_path: Path) -> None:
    assert code_revision(tmp_path) is None
    _git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "-m", "first")
    found = code_revision(tmp_path)
    assert found is not None
    commit, clean = found
    assert len(commit) == 40
    assert clean
    (tmp_path / "code.py").write_text("2")
    assert code_revision(tmp_path) == (commit, False)
    # A package within someone's repository is not that repository.
    (tmp_path / "site-packages").mkdir()
    assert code_revision(tmp_path / "site-packages") is None


def test_versions_of_the_packages() -> None:
    versions = package_versions()
    for name in ("torch", "torchtext", "spacy", "optuna", "mlflow", "ray", "sentiment-sweeps"):
        assert versions[name] == metadata.version(name)
    assert "pytest" not in versions


def test_tags_fit_what_mlflow_takes() -> None:
    tags = provenance_tags("bfloat16")
    assert tags["provenance.precision"] == "bfloat16"
    assert tags["provenance.recurrence"] == recurrence()
    assert json.loads(tags["provenance.packages"]) == package_versions()
    assert tags["provenance.command"] == redacted(command_line())
    assert tags["provenance.cpu"]
    assert max(map(len, tags.values())) < 5000


def test_processes_that_live_and_that_are_dead() -> None:
    tags = process_tags()
    assert is_alive(tags) is True
    assert is_alive({**tags, "process.started": "1000000.00"}) is False  # the id was used again
    assert is_alive({**tags, "process.host": "elsewhere"}) is None
    assert is_alive({}) is None

    code = (
        "import json; from sentiment.tracking.provenance import process_tags as t; "
        "print(json.dumps(t()))"
    )
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert is_alive(json.loads(dead.stdout)) is False
