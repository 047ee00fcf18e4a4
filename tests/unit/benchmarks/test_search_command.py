"""The benchmark of search on the curves that are committed: tables, JSON, the picture."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import optuna
import pytest

from benchmarks import search
from benchmarks.recorded_curves import CURVES, read
from benchmarks.search_curves import drawn_at_random
from sentiment.errors import InputError

FILE = CURVES / "rotten-tomatoes.jsonl.gz"


def test_the_arms_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "search.png"
    flags = ["--seeds", "2", "--trials", "14", "--workers", "2", "--picture", str(picture)]
    flags += ["--surrogate", "random"]
    search.main(["--curves", str(FILE), *flags, "--json"])
    found = json.loads(capsys.readouterr().out)["rotten-tomatoes"]["2"]
    # There are no other data to start from.
    assert list(found) == [arm.name for arm in search.ARMS if not arm.warm_start]
    full, asha = found["random, full budgets"], found["random, ASHA"]
    assert full["completed"] == 14
    assert asha["completed"] < 14
    assert asha["minutes"] < full["minutes"]
    assert 0 <= found["ours"]["regret"]["mean"] < 0.1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_surrogate_of_the_first_half_knows_no_suggestions() -> None:
    trainings = read(FILE)[1]
    drawn = drawn_at_random(trainings)
    assert {each.number for each in drawn} == set(range(120))
    assert len(drawn) == len(trainings) / 2


@pytest.mark.parametrize(("name", "examples"), [("rotten-tomatoes", 5970), ("imdb-25k", 17500)])
def test_the_committed_curves_are_whole(name: str, examples: int) -> None:
    recorded, trainings = read(CURVES / f"{name}.jsonl.gz")
    assert (recorded.dataset, recorded.examples, recorded.epochs) == (name, examples, 1.5)
    assert {len(each.curve) for each in trainings} == {9}
    assert len({each.number for each in trainings}) >= 100


def test_a_warm_start_is_compared_where_there_are_other_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(CURVES / f"{name}.jsonl.gz") for name in ("imdb-25k", "rotten-tomatoes")]
    flags = ["--seeds", "1", "--trials", "6", "--workers", "2", "--surrogate", "random"]
    search.main(["--curves", *files, *flags, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"imdb-25k", "rotten-tomatoes"}
    for arms in found.values():
        assert list(arms["2"]) == [arm.name for arm in search.ARMS]
        assert arms["2"]["ours, `--warm-start` from other data"] != arms["2"]["ours"]


def test_suggestions_are_timed_in_each_storage_which_keeps_no_study(tmp_path: Path) -> None:
    problem = search.load_problems([str(CURVES / "rotten-tomatoes.jsonl.gz")])["rotten-tomatoes"]
    database = f"sqlite:///{tmp_path}/own.db"
    found = search.time_suggestions(problem, database, trials=50)
    assert list(found) == ["memory", "SQLite", "sqlite"]
    for by_trials in found.values():
        assert list(by_trials) == [50]
        mean, most = by_trials[50]
        assert 0 < mean < 1_000
        assert most > 0
    assert optuna.get_all_study_names(database) == []


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        search.main(["--curves", str(tmp_path / "none.jsonl.gz")])
    damaged = tmp_path / "damaged.jsonl.gz"
    damaged.write_bytes(gzip.compress(b'{"number": 1}\n'))
    with pytest.raises(InputError, match=r"damaged.jsonl.gz: not written by"):
        search.main(["--curves", str(damaged)])
    with pytest.raises(InputError, match="--seeds 0: give a number from 1"):
        search.main(["--seeds", "0"])
    with pytest.raises(InputError, match="--storage: it is read for --suggestions alone"):
        search.main(["--storage", "sqlite:///study.db"])
    with pytest.raises(InputError, match="--picture: it shows 2 workers"):
        search.main(["--workers", "8", "--picture", "x.png"])
