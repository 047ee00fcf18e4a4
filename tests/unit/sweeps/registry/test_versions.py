from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from winners import Store, accuracy_of, alias, fewer_reviews, promote, train, win

from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking.model_uri import version_of_alias
from sweeps import promote as command
from sweeps.analysis.significance import mcnemar
from sweeps.registry import versions
from sweeps.registry.quality_gate import Requirements, judge
from sweeps.registry.versions import AliasChange

pytestmark = pytest.mark.usefixtures("only_store")


def test_winner_becomes_the_challenger(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    assert win(store, better_and_worse[1], reviews, "first").version == 1
    assert win(store, better_and_worse[0], reviews, "second", valid=0.8).version == 2
    assert alias(store, "challenger") == 2
    assert alias(store, "champion") is None
    version = client.get_model_version("sentiment", "2")
    assert version.tags["sweep.name"] == "second"
    assert version.tags["dataset_fingerprint"] == reviews[1].fingerprint
    assert version.description == "winner of second"
    candidate = versions.find_candidate(client, "sentiment")
    assert candidate.version == 2
    model = client.get_logged_model(candidate.model_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "sentiment", "version": "2"}]
    assert versions.find_candidate(client, "sentiment", sweep="first").version == 1
    assert versions.find_candidate(client, "sentiment", version=1).version == 1
    assert versions.find_candidate(client, "sentiment", run_id=candidate.run_id) == candidate


def test_candidates_that_are_not_there(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    with pytest.raises(InputError, match=r"registered yet: python -m sweeps\.launch"):
        versions.find_candidate(client, "sentiment")
    win(store, better_and_worse[0], reviews, "first")
    with pytest.raises(InputError, match="no version 7; its versions are 1"):
        versions.find_candidate(client, "sentiment", version=7)
    with pytest.raises(InputError, match="no version of the sweep second"):
        versions.find_candidate(client, "sentiment", sweep="second")
    with pytest.raises(InputError, match="there is no such run"):
        versions.find_candidate(client, "sentiment", run_id="0" * 32)
    with pytest.raises(InputError, match="no quotes"):
        versions.find_candidate(client, "it's")


@pytest.mark.usefixtures("in_process")
def test_first_promotion_and_a_better_model(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    better, worse = better_and_worse
    win(store, worse, reviews, "first")
    assert promote(store, reviews) == 0
    assert alias(store, "champion") == 1
    assert alias(store, "previous") is None
    win(store, better, reviews, "second", valid=0.8)
    assert promote(store, reviews, "--dry-run") == 0
    assert alias(store, "champion") == 1
    assert promote(store, reviews, "--yes", "--significant", "--min-gain", "0.1") == 0
    assert (alias(store, "champion"), alias(store, "previous")) == (2, 1)

    shown = capsys.readouterr().out
    assert f"{accuracy_of(better, reviews[1]):.4f}" in shown
    first, second = versions.standing(store[0], "sentiment").moves.values()
    assert (first.before, first.after, second.before, second.after) == (None, 1, 1, 2)
    assert second.run == store[0].get_model_version("sentiment", "2").run_id
    assert second.figures["test/accuracy"] == accuracy_of(better, reviews[1])
    assert second.figures["champion/test/accuracy"] == accuracy_of(worse, reviews[1])
    tags = store[0].get_model_version("sentiment", "2").tags
    assert float(tags["promotion.test/accuracy"]) == accuracy_of(better, reviews[1])
    assert promote(store, reviews) == 0
    assert "is the champion already" in capsys.readouterr().out


@pytest.mark.usefixtures("in_process")
def test_worse_model_is_refused(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    better, worse = better_and_worse
    win(store, better, reviews, "first")
    promote(store, reviews)
    win(store, worse, reviews, "second", valid=0.8)
    assert promote(store, reviews, "--yes") == 1
    assert alias(store, "champion") == 1
    assert "refused: its gain over the champion is -" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_model_that_is_not_what_was_recorded_is_refused(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    win(store, better_and_worse[0], reviews, "first", error=0.01)
    assert promote(store, reviews, "--yes") == 1
    assert alias(store, "champion") is None
    assert "was recorded" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "5", "-2"])
def test_requirements_that_no_accuracy_can_meet_are_refused(value: str) -> None:
    given = float(value)
    with pytest.raises(InputError, match=f"--min-gain {given}: give a number from -1 to 1"):
        command.main([f"--min-gain={value}"])
    with pytest.raises(InputError, match=f"--min-accuracy {given}: give a share from 0 to 1"):
        command.main([f"--min-accuracy={value}"])


@pytest.mark.usefixtures("in_process")
def test_a_floor_holds_without_and_with_a_champion(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    better, worse = better_and_worse
    floor = accuracy_of(better, reviews[1])
    win(store, worse, reviews, "first")
    assert promote(store, reviews, "--min-accuracy", str(floor)) == 1
    reached = f"{accuracy_of(worse, reviews[1]):.4f}"
    assert f"refused: its accuracy is {reached}, less than {floor:.4f}" in capsys.readouterr().err
    assert promote(store, reviews) == 0
    # One of just the floor passes.
    win(store, better, reviews, "second", valid=0.8)
    assert promote(store, reviews, "--min-accuracy", str(floor + 0.001)) == 1
    assert alias(store, "champion") == 1
    assert promote(store, reviews, "--min-accuracy", str(floor)) == 0
    assert alias(store, "champion") == 2


def test_wrong_option_of_the_recorded_data_is_told(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    win(store, better_and_worse[0], reviews, "first")
    uri = store[0].tracking_uri
    with pytest.raises(InputError, match=r"--validation-share 7\.0: input should be less"):
        command.main(["--tracking-uri", uri, "--validation-share", "7"])


@pytest.mark.usefixtures("in_process")
def test_model_that_was_deleted_is_told(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    better, worse = better_and_worse
    client = store[0]
    win(store, worse, reviews, "first")
    promote(store, reviews)
    win(store, better, reviews, "second", valid=0.8)
    client.delete_logged_model(versions.find_candidate(client, "sentiment", version=1).model_id)
    with pytest.raises(InputError, match=r"model of the champion \(version 1\) can't be had"):
        promote(store, reviews)
    client.delete_logged_model(versions.find_candidate(client, "sentiment").model_id)
    with pytest.raises(InputError, match="model of version 2 can't be had"):
        promote(store, reviews)


@pytest.mark.usefixtures("in_process")
def test_next_command_finds_the_model(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = store[0].tracking_uri
    run_id, _ = train(store, better_and_worse[0], reviews[1])
    flag = f"--tracking-uri {uri}"
    assert promote(store, reviews, "--run", run_id) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "next:",
        f'  python -m sentiment.predict {flag} "This film is great"',
        f"  python -m sweeps.serve {flag}",
    ]
    assert promote(store, reviews, "--run", run_id, "--model-name", "films") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"  python -m sweeps.serve --model models:/films@champion {flag}"
    )


@pytest.mark.usefixtures("in_process")
def test_other_data_is_refused(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    win(store, better_and_worse[0], reviews, "first")
    uri = store[0].tracking_uri
    assert command.main(["--tracking-uri", uri, "--dry-run"]) == 0
    other = tmp_path / "other.csv"
    lines = reviews[0].read_text().splitlines()
    other.write_text("\n".join(lines[:-1]))
    assert command.main(["--tracking-uri", uri, "--data", str(other)]) == 1
    assert "is other data here" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_labels_that_an_earlier_version_took_as_written(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    tmp_path: Path,
) -> None:
    better, worse = better_and_worse
    path = tmp_path / "reviews.csv"
    path.write_text(re.sub(r",([01])$", r",\1.0", reviews[0].read_text(), flags=re.MULTILINE))
    dataset = load_dataset(DataConfig(data=str(path)))
    assert dataset.fingerprint == reviews[1].fingerprint
    assert dataset.former_fingerprint is not None
    old = replace(Bundle.load(worse), label_names=("0.0", "1.0")).save(tmp_path / "old")
    former = replace(dataset, fingerprint=dataset.former_fingerprint)
    win(store, old, (path, former), "first")
    uri = ["--tracking-uri", store[0].tracking_uri]
    assert command.main(uri) == 0
    win(store, better, (path, dataset), "second")
    assert command.main(uri) == 0
    assert alias(store, "champion") == 2


@pytest.mark.usefixtures("in_process")
def test_record_of_earlier_splits_says_so(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "twins.csv"
    header, *rows = reviews[0].read_text().splitlines()
    path.write_text("\n".join([header, *(twin for row in rows for twin in (row, f" {row}"))]))
    earlier = load_dataset(DataConfig(data=str(path)), version=1)
    win(store, better_and_worse[0], (path, earlier), "first")
    assert command.main(["--tracking-uri", store[0].tracking_uri]) == 1
    told = capsys.readouterr().err
    assert "refused: version 1 was made with version 1 of the splits of twins.csv" in told
    assert "train again" in told


@pytest.mark.usefixtures("in_process")
def test_run_that_is_not_registered_is_promoted_by_its_id(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    run_id, _ = train(store, better_and_worse[0], reviews[1])
    with pytest.raises(InputError, match=r"reviews\.csv: give it again by --data"):
        command.main(["--tracking-uri", store[0].tracking_uri, "--run", run_id])
    assert promote(store, reviews, "--run", run_id, "--dry-run") == 0
    assert versions.all_versions(store[0], "sentiment") == []
    assert promote(store, reviews, "--run", run_id) == 0
    version = version_of_alias(store[0], "sentiment", "champion")
    assert version is not None
    assert version.run_id == run_id


def make_champion(store: Store, version: int) -> None:
    client = store[0]
    stood = versions.standing(client, "sentiment")
    versions.promote(client, "sentiment", version, stood, {"test/accuracy": 0.5})


def test_rollback_goes_back_move_by_move(
    store: Store, make_bundle: Callable[[int], Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    for number in (1, 2, 3):
        win(store, make_bundle(0), reviews, f"sweep-{number}")
        make_champion(store, number)
    uri = ["--tracking-uri", client.tracking_uri]
    assert command.main([*uri, "--rollback", "--dry-run"]) == 0
    assert alias(store, "champion") == 3
    assert command.main([*uri, "--rollback"]) == 0
    assert (alias(store, "champion"), alias(store, "previous")) == (2, 1)
    assert command.main([*uri, "--rollback"]) == 0
    assert (alias(store, "champion"), alias(store, "previous")) == (1, None)
    with pytest.raises(InputError, match="no champion before"):
        command.main([*uri, "--rollback"])
    # A champion that was set by hand can be undone as well.
    client.set_registered_model_alias("sentiment", "champion", "3")
    assert command.main([*uri, "--rollback"]) == 0
    assert alias(store, "champion") == 1


def test_every_move_is_a_tag(
    store: Store, make_bundle: Callable[[int], Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    for number in (1, 2):
        win(store, make_bundle(0), reviews, f"sweep-{number}")
        make_champion(store, number)
    versions.rollback(client, "sentiment", versions.standing(client, "sentiment"))
    tags = client.get_registered_model("sentiment").tags
    moves = [json.loads(tags[key]) for key in sorted(tags) if key.startswith("champion.move.")]
    runs = {n: client.get_model_version("sentiment", str(n)).run_id for n in (1, 2)}
    assert [(m["kind"], m["from"], m["to"], m["run"]) for m in moves] == [
        ("promote", None, 1, runs[1]),
        ("promote", 1, 2, runs[2]),
        ("rollback", 2, 1, runs[1]),
    ]
    assert [m["figures"] for m in moves] == [{"test/accuracy": 0.5}, {"test/accuracy": 0.5}, {}]
    assert all(m["time"].endswith("+00:00") for m in moves)


def test_champion_that_moved_meanwhile(
    store: Store, make_bundle: Callable[[int], Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    win(store, make_bundle(0), reviews, "first")
    win(store, make_bundle(1), reviews, "second")
    before = versions.standing(client, "sentiment")
    versions.promote(client, "sentiment", 1, before, {})
    with pytest.raises(versions.ChampionMovedError, match="has moved meanwhile, to version 1"):
        versions.promote(client, "sentiment", 2, before, {})
    # Also when it has come back since: what was judged then may hold no more.
    here = versions.standing(client, "sentiment")
    make_champion(store, 2)
    versions.rollback(client, "sentiment", versions.standing(client, "sentiment"))
    assert alias(store, "champion") == 1
    with pytest.raises(versions.ChampionMovedError):
        versions.promote(client, "sentiment", 2, here, {})
    assert len(versions.standing(client, "sentiment").moves) == 3


def test_promotions_at_once_on_one_machine(
    store: Store, make_bundle: Callable[[int], Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    for number in (1, 2, 3, 4):
        win(store, make_bundle(0), reviews, f"sweep-{number}")
    code = """
import os, sys
from mlflow import MlflowClient
from sweeps.registry import versions
for version in (1, 2, 3, 4):
    if os.fork() == 0:
        client = MlflowClient(sys.argv[1])
        stood = versions.ChampionState(None, {})
        try:
            versions.promote(client, "sentiment", version, stood, {})
            print(version, flush=True)
        except versions.ChampionMovedError as error:
            print(error, file=sys.stderr, flush=True)
        os._exit(0)
for _ in range(4):
    os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, client.tracking_uri],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(versions.__file__).parents[2])},
    )
    (winner,) = done.stdout.split()
    told = f"the champion of 'sentiment' has moved meanwhile, to version {winner}: start again"
    assert done.stderr.splitlines() == [told] * 3
    assert alias(store, "champion") == int(winner)
    assert len(versions.standing(client, "sentiment").moves) == 1


class Interrupting(MlflowClient):
    """A client that lets another machine do something just before one of its own calls."""

    def __init__(self, uri: str, call: str, other: Callable[[], None]) -> None:
        super().__init__(uri)
        self._call, self._other = call, other

    def __getattribute__(self, name: str) -> Any:
        if name != "_call" and name == object.__getattribute__(self, "__dict__").get("_call"):
            self._call = ""
            self._other()
        return super().__getattribute__(name)


@pytest.mark.parametrize("call", ["set_registered_model_tag", "set_registered_model_alias"])
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_promotions_at_once_on_a_remote_store(
    store: Store,
    make_bundle: Callable[[int], Path],
    reviews: tuple[Path, Dataset],
    call: str,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a common lock, the one whose tag sorts first wins, if both claim the turn at once."""
    client = store[0]
    win(store, make_bundle(0), reviews, "first")
    win(store, make_bundle(1), reviews, "second")
    monkeypatch.setattr(versions, "one_at_a_time", lambda uri: nullcontext())
    names = iter(["a", "b"] if first == "ours" else ["b", "a"])
    monkeypatch.setattr(versions, "uuid4", lambda: SimpleNamespace(hex=next(names) * 8))
    before = versions.standing(client, "sentiment")
    won = []

    def promote(client: MlflowClient, version: int) -> None:
        try:
            versions.promote(client, "sentiment", version, before, {})
            won.append(version)
        except versions.ChampionMovedError:
            pass

    def rival() -> None:
        promote(MlflowClient(client.tracking_uri), 2)

    promote(Interrupting(client.tracking_uri, call, rival), 1)
    assert len(won) == 1
    assert alias(store, "champion") == won[0]
    (move,) = versions.standing(client, "sentiment").moves.values()
    assert move.after == won[0]


@pytest.mark.usefixtures("in_process")
def test_champion_of_other_data_is_compared_when_the_data_is_named(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    better, worse = better_and_worse
    win(store, worse, fewer_reviews(reviews, tmp_path), "first")
    uri = ["--tracking-uri", store[0].tracking_uri]
    assert command.main(uri) == 0
    win(store, better, reviews, "second", valid=0.8)
    assert command.main(uri) == 1
    told = capsys.readouterr()
    assert "refused: the champion was trained on other data, other.csv" in told.err
    assert "both are scored here on the test split of reviews.csv" in told.err
    assert f"{accuracy_of(worse, reviews[1]):.4f}" in told.out
    assert alias(store, "champion") == 1
    assert promote(store, reviews) == 0
    assert "note: the champion was trained on other data" in capsys.readouterr().out
    (*_, move) = versions.standing(store[0], "sentiment").moves.values()
    assert move.figures["champion/test/accuracy"] == accuracy_of(worse, reviews[1])


@given(st.lists(st.sampled_from([1, 2, 3, None]), max_size=12))
def test_rollbacks_undo_promotions(steps: list[int | None]) -> None:
    history: list[AliasChange] = []
    expected: list[int] = []
    for step in steps:
        present = expected[-1] if expected else None
        if step is None:
            if len(expected) < 2:
                continue
            expected.pop()
            history.append(AliasChange("rollback", "", present, expected[-1], "", {}))
        elif step != present:
            expected.append(step)
            history.append(AliasChange("promote", "", present, step, "", {}))
    assert versions.champions(history) == expected


def test_mcnemar_by_hand() -> None:
    # 9 texts that only the first gets right and 2 that only the second does:
    # twice the chance of 9 or more heads in 11 throws, 2 · (55 + 11 + 1) / 2^11.
    first = np.array([True] * 9 + [False] * 2 + [True] * 50)
    second = np.array([False] * 9 + [True] * 2 + [True] * 50)
    assert mcnemar(first, second) == pytest.approx(134 / 2048)
    assert mcnemar(second, first) == pytest.approx(134 / 2048)
    assert mcnemar(first, first) == 1.0


def test_gain_that_may_be_chance(
    better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    split = reviews[1].splits["test"]
    better = Bundle.load(better_and_worse[0]).log_probabilities(split.texts)
    verdict = judge(better, better, split.labels, recorded={})
    assert verdict.refusals == ()
    assert verdict.gain == 0
    significant = Requirements(significant=True)
    verdict = judge(better, better, split.labels, recorded={}, requirements=significant)
    assert verdict.refusals == ("its gain of +0.0000 may be chance (p = 1.000)",)
