"""What `prepare` builds, what the command says of it, and what all commands share."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from real_sweep import command_here

from sentiment import cli, prepare
from sentiment.config import Config
from sentiment.data.corpus import text_key
from sentiment.data.datasets import DataConfig
from sentiment.embeddings.sources import VectorSpec
from sentiment.errors import InputError, TrainingError
from sentiment.training.prepared_data import prepare as build

TOMATOES = DataConfig(dataset="rotten-tomatoes")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENTIMENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A file of the user's own, of three classes."""
    rows = [
        f"a {word} film number {number},{label}"
        for number in range(40)
        for word, label in (("good", "up"), ("bad", "down"), ("long", "level"))
    ]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["text,label", *rows]))
    return path


def test_every_configuration_finds_what_it_needs(reviews: Path, cache: Path) -> None:
    configs = [
        Config.from_flat({"tokenizer": "whitespace", **settings})
        for settings in (
            {"embedding": "random", "embedding_dim": 7, "hidden_dim": 9},
            {"embedding": "random", "embedding_dim": 8},
            {"embedding": "word2vec", "embedding_dim": 5, "max_length": 3},
            {"embedding": "word2vec", "embedding_dim": 6},
            {"embedding": "glove", "embedding_dim": 5},
            {"embedding": "glove", "tokenizer": "basic", "vocabulary_size": 3},
        )
    ]
    said: list[str] = []
    prepared = build(DataConfig(data=str(reviews)), configs, said.append)
    assert prepared.dataset.label_names == ("down", "level", "up")
    assert len(prepared.corpora) == 2
    assert {spec for _, spec in prepared.vectors} == {
        VectorSpec("random", 0),
        VectorSpec("word2vec", 5),
        VectorSpec("word2vec", 6),
        VectorSpec("glove", 0, lower_case_backup=True),
    }
    for config, dim in zip(configs, (None, None, 5, 6, 50, 50), strict=True):
        corpus, vectors = prepared.for_config(config)
        assert corpus is prepared.corpora[text_key(config.text)]
        if vectors is None:
            assert dim is None
        else:
            assert vectors.vectors.shape == (len(corpus.words), dim)
    assert said[-1].startswith("tokenizing 120 texts")
    again = build(DataConfig(data=str(reviews)), configs, said.append)
    for key, vectors in prepared.vectors.items():
        if vectors is not None:
            repeated = again.vectors[key]
            assert repeated is not None
            np.testing.assert_array_equal(vectors.vectors, repeated.vectors)
    built = [line for line in said if "rows read" not in line]
    assert len(built) == 3  # nothing was built the second time


def test_a_source_that_is_not_there_is_found_before_work_begins(cache: Path) -> None:
    said: list[str] = []
    with pytest.raises(InputError, match="did you mean glove"):
        build(TOMATOES, [Config(), Config.from_flat({"embedding": "glov"})], said.append)
    assert said == []
    assert not cache.exists()


def test_the_command_says_what_it_built(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare.main(["--dataset", "rotten-tomatoes", "--set", "vocabulary_size=5000", "min_count=2"])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == "tokenizing 8,530 texts on 1 core"
    assert lines[1].startswith("rotten-tomatoes, fingerprint bf8374a339e4")
    assert lines[2:-1] == [
        "train     5,970 texts      133,728 tokens  2,985 neg, 2,985 pos",
        "valid     1,280 texts       28,610 tokens  640 neg, 640 pos",
        "test      1,280 texts       27,921 tokens  640 neg, 640 pos",
        "vocabulary: 5,000 of 14,014 words of train, and <unk> and <pad>; "
        "commonest: . the , a and of to - 's is",
        "embedding: glove, 50d, for 99.8% of the vocabulary",
    ]
    assert lines[-1].startswith("ready after ")
    assert lines[-1].endswith(f" seconds, in {cache}")


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sentiment.prepare", *arguments],
        capture_output=True,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_help_fits_a_screen_and_shows_defaults() -> None:
    started = time.perf_counter()
    ended = command("--help", env={**os.environ, "COLUMNS": "100"})
    assert time.perf_counter() - started < 5  # far less on an idle machine
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) <= 24
    for flag in ("--dataset", "--data ", "--data-dir", "--text-column", "--validation-share"):
        assert flag in ended.stdout
    assert "(default: imdb-25k)" in " ".join(ended.stdout.split())
    assert "None" not in ended.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, sentiment.prepare as p\n"
        "try: p.main(['--help'])\n"
        "except SystemExit: print({'torch', 'pandas', 'spacy', 'gensim'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "imbd"], "error: --dataset: unknown data set 'imbd': did you mean imdb?"),
        (["--set", "embeding=glove"], "error: --set embeding=glove: unknown hyperparameter"),
        (["--set", "embedding=mine.vec"], "error: embedding=mine.vec: there is no such file"),
        (["--validation-share", "1.5"], "error: --validation-share 1.5: input should be less"),
        (["--validation-share", "much"], "error: --validation-share 'much': not a number"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--wings", "2"], "error: unrecognized arguments: --wings 2; see python -m sentiment."),
    ],
)
def test_wrong_input_ends_with_two(arguments: list[str], message: str, cache: Path) -> None:
    ended = command_here("sentiment.prepare", *arguments, cwd=cache.parent)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2
    assert ended.stdout == ""
    assert not cache.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "abc"], "--trials 'abc': not a whole number; see x --help"),
        (["--gain", "1,5"], "--gain '1,5': not a number; see x --help"),
        (["--trials"], "--trials: expected one argument; see x --help"),
        (["--trails", "3"], "unrecognized arguments: --trails 3: did you mean --trials?"),
        (["--gian=3"], "unrecognized arguments: --gian=3: did you mean --gain?"),
        (["--two\nlines"], "unrecognized arguments: --two lines; see x --help"),
        (["--split", "dev"], "--split: invalid choice: 'dev' (choose from 'train', 'test')"),
    ],
)
def test_wrong_arguments_are_told_in_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = cli.Parser(prog="x")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--gain", type=float)
    parser.add_argument("--split", choices=["train", "test"])
    with pytest.raises(InputError) as caught:
        parser.parse_args(arguments)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
    assert capsys.readouterr() == ("", "")
    assert parser.formatter_class is cli.Help


def test_names_that_are_not_utf8_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = cli.Parser(prog="x")
    parser.add_argument("--data")
    name = os.fsdecode(b"caf\xe9")
    with pytest.raises(InputError, match="the argument is not UTF-8; rename it"):
        parser.parse_args(["--data", name])
    for variable in ("MLFLOW_TRACKING_URI", "SENTIMENT_CACHE", "TMPDIR"):
        with monkeypatch.context() as patch, pytest.raises(InputError, match=variable):
            patch.setenv(variable, name)
            parser.parse_args([])
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match="the working folder's name is not UTF-8"):
        parser.parse_args([])
    folder.rmdir()
    with pytest.raises(InputError, match="the working folder is no longer there"):
        parser.parse_args([])


def test_flags_are_shown_as_they_are_typed() -> None:
    assert cli.as_typed("--set", ["cell=gru", "embedding=my vectors"]) == (
        "--set cell=gru 'embedding=my vectors'"
    )
    assert cli.as_typed("--baselines", True) == "--baselines"
    assert cli.as_typed("--seed", 7) == "--seed 7"
    assert cli.as_typed("--baseline", False) == "--no-baseline"


def test_values_of_any_source_become_the_configuration() -> None:
    assert cli.checked_data_config({"data": "d.csv"}) == DataConfig(data="d.csv")
    with pytest.raises(InputError, match=r"^--validation-share 7: input should be less"):
        cli.checked_data_config({"validation_share": 7})
    with pytest.raises(InputError, match="--wings 2"):
        cli.checked_data_config({"wings": 2})


def test_a_further_command_finds_the_store() -> None:
    assert cli.store_flag(None) == ""
    assert cli.store_flag("sqlite:///runs.db") == " --tracking-uri sqlite:///runs.db"
    assert cli.store_flag("sqlite:///my runs.db") == " --tracking-uri 'sqlite:///my runs.db'"
    assert "secret" not in cli.store_flag("http://me:secret@tracking:5000")


def test_flags_become_the_configuration() -> None:
    parser = argparse.ArgumentParser()
    cli.add_data_arguments(parser)
    cli.add_set_argument(parser)
    data = ["--data", "d.csv", "--split-column", "part", "--validation-share", ".3"]
    args = parser.parse_args([*data, "--set", "a=1", "b=2", "--set", "c=3"])
    assert cli.data_config(args) == DataConfig(
        data="d.csv", split_column="part", validation_share=0.3
    )
    assert args.set == ["a=1", "b=2", "c=3"]
    assert cli.data_config(parser.parse_args([])) == DataConfig()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("the file is empty"), 2, "error: the file is empty\n"),
        (TrainingError("the loss is nan"), 1, "error: the loss is nan\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_exit_status_of_errors(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: list[str] | None) -> None:
        assert argv is None
        raise error

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == status
    assert capsys.readouterr().err == message


def test_exit_status_of_a_command_that_ends_well_or_is_broken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(lambda argv: None)
    assert caught.value.code == 0
    with pytest.raises(SystemExit) as caught:
        cli.run(lambda argv: 3)
    assert caught.value.code == 3

    def broken(argv: list[str] | None) -> None:
        raise ZeroDivisionError("unforeseen http://user:secret@host/")

    with pytest.raises(SystemExit) as caught:
        cli.run(broken)
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "ZeroDivisionError: unforeseen http://" in told
    assert "secret" not in told


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code = (
        "from sentiment import cli\n"
        "def main(argv):\n"
        "    for number in range(1_000_000): print(number)\n"
        "cli.run(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_an_interrupt_ends_with_130() -> None:
    code = (
        "import time\nfrom sentiment import cli\n"
        "def main(argv):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "cli.run(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"error: interrupted\n"
    assert process.returncode == 130
