from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from sentiment.bundle import Bundle
from sentiment.datasets import DataConfig, Dataset, load_dataset
from sentiment.errors import InputError
from sentiment.metrics import score
from sentiment.model_store import version_of_alias
from sentiment.record import create_run, log_bundle
from sweeps import promote as command
from sweeps import registry
from sweeps.gate import judge, mcnemar
from sweeps.registry import Move

Store = tuple[MlflowClient, str]


@pytest.fixture(autouse=True)
def only_store(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """See to it that nothing lands in the default store of the current folder."""
    folder = tmp_path_factory.mktemp("current")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A file of 400 short reviews that differ, and the data set that it makes."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    words = ["great", "bad", "film", "this", "is"]
    random = np.random.default_rng(0)
    texts = sorted({" ".join(random.choice(words, 6)) for _ in range(420)})[:400]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for text in texts:
            good = text.split().count("great") >= text.split().count("bad")
            writer.writerow([text, int(good)])
    return path, load_dataset(DataConfig(data=str(path)))


def accuracy_of(bundle: Path, dataset: Dataset) -> float:
    split = dataset.splits["test"]
    return score(Bundle.load(bundle).log_probabilities(split.texts), split.labels).accuracy


@pytest.fixture(scope="module")
def better_and_worse(
    make_bundle: Callable[[int], Path], reviews: tuple[Path, Dataset]
) -> tuple[Path, Path]:
    """Two tiny models of which the first is clearly the better one."""
    ranked = sorted(map(make_bundle, range(8)), key=lambda one: accuracy_of(one, reviews[1]))
    assert accuracy_of(ranked[-1], reviews[1]) - accuracy_of(ranked[0], reviews[1]) > 0.2
    return ranked[-1], ranked[0]


def train(store: Store, bundle: Path, dataset: Dataset) -> tuple[str, str]:
    """Log a model as a run would that trained it; return the run's id and the model's."""
    client, experiment_id = store
    parameters = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint}
    run_id = create_run(client, experiment_id, "x", tags={}, parameters=parameters)
    return run_id, log_bundle(client, run_id, bundle, name="x", metrics={}, step=1)


def win(
    store: Store, bundle: Path, reviews: tuple[Path, Dataset], sweep: str, error: float = 0.0
) -> int:
    """Register a model as the winner of a sweep, its test accuracy recorded with an error."""
    path, dataset = reviews
    run_id, model_id = train(store, bundle, dataset)
    version = registry.register_winner(
        store[0],
        "sentiment",
        model_id=model_id,
        run_id=run_id,
        sweep=sweep,
        data=DataConfig(data=str(path)),
        dataset=dataset,
        test={"test/accuracy": accuracy_of(bundle, dataset) + error},
        description=f"winner of {sweep}",
    )
    return int(version.version)


def alias(store: Store, name: str) -> int | None:
    version = version_of_alias(store[0], "sentiment", name)
    return int(version.version) if version else None


def promote(store: Store, reviews: tuple[Path, Dataset], *arguments: str) -> int:
    uri = store[0].tracking_uri
    return command.main(["--tracking-uri", uri, "--data", str(reviews[0]), *arguments])


def test_winner_becomes_the_challenger(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    assert win(store, better_and_worse[1], reviews, "first") == 1
    assert win(store, better_and_worse[0], reviews, "second") == 2
    assert alias(store, "challenger") == 2
    assert alias(store, "champion") is None
    version = client.get_model_version("sentiment", "2")
    assert version.tags["sweep.name"] == "second"
    assert version.tags["dataset_fingerprint"] == reviews[1].fingerprint
    assert version.description == "winner of second"
    candidate = registry.find_candidate(client, "sentiment")
    assert candidate.version == 2
    model = client.get_logged_model(candidate.model_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "sentiment", "version": "2"}]
    assert registry.find_candidate(client, "sentiment", sweep="first").version == 1
    assert registry.find_candidate(client, "sentiment", version=1).version == 1
    assert registry.find_candidate(client, "sentiment", run_id=candidate.run_id) == candidate


def test_candidates_that_are_not_there(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    with pytest.raises(InputError, match=r"registered yet: python -m sweeps\.launch"):
        registry.find_candidate(client, "sentiment")
    win(store, better_and_worse[0], reviews, "first")
    with pytest.raises(InputError, match="no version 7; its versions are 1"):
        registry.find_candidate(client, "sentiment", version=7)
    with pytest.raises(InputError, match="no version of the sweep second"):
        registry.find_candidate(client, "sentiment", sweep="second")
    with pytest.raises(InputError, match="there is no such run"):
        registry.find_candidate(client, "sentiment", run_id="0" * 32)
    with pytest.raises(InputError, match="no quotes"):
        registry.find_candidate(client, "it's")


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
    win(store, better, reviews, "second")
    assert promote(store, reviews, "--dry-run") == 0
    assert alias(store, "champion") == 1
    assert promote(store, reviews, "--yes", "--significant", "--min-gain", "0.1") == 0
    assert (alias(store, "champion"), alias(store, "previous")) == (2, 1)

    shown = capsys.readouterr().out
    assert f"{accuracy_of(better, reviews[1]):.4f}" in shown
    first, second = registry.moves(store[0], "sentiment")
    assert (first.before, first.after, second.before, second.after) == (None, 1, 1, 2)
    assert second.figures["test/accuracy"] == accuracy_of(better, reviews[1])
    assert second.figures["champion/test/accuracy"] == accuracy_of(worse, reviews[1])
    tags = store[0].get_model_version("sentiment", "2").tags
    assert float(tags["promotion.test/accuracy"]) == accuracy_of(better, reviews[1])
    assert promote(store, reviews) == 0
    assert "is the champion already" in capsys.readouterr().out


def test_worse_model_is_refused(
    store: Store,
    better_and_worse: tuple[Path, Path],
    reviews: tuple[Path, Dataset],
    capsys: pytest.CaptureFixture[str],
) -> None:
    better, worse = better_and_worse
    win(store, better, reviews, "first")
    promote(store, reviews)
    win(store, worse, reviews, "second")
    assert promote(store, reviews, "--yes") == 1
    assert alias(store, "champion") == 1
    assert "refused: its gain over the champion is -" in capsys.readouterr().err


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


@pytest.mark.parametrize("gain", ["nan", "inf", "-inf"])
def test_gain_that_is_no_number_is_refused(gain: str) -> None:
    with pytest.raises(InputError, match=f"--min-gain {gain}: give a finite number"):
        command.main([f"--min-gain={gain}"])


def test_wrong_option_of_the_recorded_data_is_told(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    win(store, better_and_worse[0], reviews, "first")
    uri = store[0].tracking_uri
    with pytest.raises(InputError, match=r"--validation-share 7\.0: input should be less"):
        command.main(["--tracking-uri", uri, "--validation-share", "7"])


def test_model_that_was_deleted_is_told(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    better, worse = better_and_worse
    client = store[0]
    win(store, worse, reviews, "first")
    promote(store, reviews)
    win(store, better, reviews, "second")
    client.delete_logged_model(registry.find_candidate(client, "sentiment", version=1).model_id)
    with pytest.raises(InputError, match=r"model of the champion \(version 1\) can't be had"):
        promote(store, reviews)
    client.delete_logged_model(registry.find_candidate(client, "sentiment").model_id)
    with pytest.raises(InputError, match="model of version 2 can't be had"):
        promote(store, reviews)


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
    assert capsys.readouterr().out.splitlines()[-1] == (
        f'next: python -m sentiment.predict {flag} "This film is great"'
    )
    assert promote(store, reviews, "--run", run_id, "--model-name", "films") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"next: python -m sentiment.predict --model models:/films@champion {flag} "
        '"This film is great"'
    )


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


def test_run_that_is_not_registered_is_promoted_by_its_id(
    store: Store, better_and_worse: tuple[Path, Path], reviews: tuple[Path, Dataset]
) -> None:
    run_id, _ = train(store, better_and_worse[0], reviews[1])
    with pytest.raises(InputError, match=r"reviews\.csv: give it again by --data"):
        command.main(["--tracking-uri", store[0].tracking_uri, "--run", run_id])
    assert promote(store, reviews, "--run", run_id, "--dry-run") == 0
    assert registry.all_versions(store[0], "sentiment") == []
    assert promote(store, reviews, "--run", run_id) == 0
    version = version_of_alias(store[0], "sentiment", "champion")
    assert version is not None
    assert version.run_id == run_id


def test_rollback_goes_back_move_by_move(
    store: Store, make_bundle: Callable[[int], Path], reviews: tuple[Path, Dataset]
) -> None:
    client = store[0]
    before = None
    for number in (1, 2, 3):
        win(store, make_bundle(0), reviews, f"sweep-{number}")
        registry.promote(client, "sentiment", number, before, {"test/accuracy": 0.5})
        before = number
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


def test_champion_that_moved_meanwhile(
    store: Store, make_bundle: Callable[[int], Path], reviews: tuple[Path, Dataset]
) -> None:
    win(store, make_bundle(0), reviews, "first")
    win(store, make_bundle(1), reviews, "second")
    registry.promote(store[0], "sentiment", 1, None, {})
    with pytest.raises(InputError, match="has moved meanwhile, to version 1"):
        registry.promote(store[0], "sentiment", 2, None, {})


@given(st.lists(st.sampled_from([1, 2, 3, None]), max_size=12))
def test_rollbacks_undo_promotions(steps: list[int | None]) -> None:
    history: list[Move] = []
    expected: list[int] = []
    for step in steps:
        present = expected[-1] if expected else None
        if step is None:
            if len(expected) < 2:
                continue
            expected.pop()
            history.append(Move("rollback", "", present, expected[-1], {}))
        elif step != present:
            expected.append(step)
            history.append(Move("promote", "", present, step, {}))
    assert registry.champions(history) == expected


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
    better = Bundle.load(better_and_worse[0])
    split = reviews[1].splits["test"]
    verdict = judge(better, better, split, recorded={})
    assert verdict.refusals == ()
    assert verdict.gain == 0
    verdict = judge(better, better, split, recorded={}, significant=True)
    assert verdict.refusals == ("its gain of +0.0000 may be chance (p = 1.000)",)
