from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from winners import Store, alias, fewer_reviews, train, win

from sentiment.data.datasets import Dataset
from sweeps.config import SweepSettings
from sweeps.launch import make_challenger
from sweeps.registry import versions
from sweeps.registry.challenger import move_challenger, registered_winner, validation_of

Reviews = tuple[Path, Dataset]

pytestmark = pytest.mark.usefixtures("only_store")


def test_it_moves_to_what_is_better_on_validation_alone(
    store: Store, make_bundle: Callable[[int], Path], reviews: Reviews
) -> None:
    first = win(store, make_bundle(0), reviews, "first", valid=0.8)
    assert first.challenger.sentence() == ", alias challenger"
    assert alias(store, "challenger") == 1
    worse = win(store, make_bundle(1), reviews, "second", valid=0.7)
    assert alias(store, "challenger") == 1
    assert (worse.version, worse.challenger.moved, worse.challenger.is_winner) == (2, False, False)
    assert worse.challenger.sentence() == (
        "; the alias challenger stays at version 1: valid/accuracy 0.7000 is not above its 0.8000"
    )
    win(store, make_bundle(1), reviews, "like the first", valid=0.8)
    assert alias(store, "challenger") == 1
    better = win(store, make_bundle(2), reviews, "third", valid=0.9)
    assert alias(store, "challenger") == 4
    assert better.challenger.sentence() == (
        ", alias challenger, which was at version 1: valid/accuracy 0.9000, before 0.8000"
    )
    assert better.challenger.plain() == {
        "version": 4,
        "before": 1,
        "moved": True,
        "reason": "better",
        "valid/accuracy": 0.9,
        "before/valid/accuracy": 0.8,
    }


def test_less_loss_is_better(
    store: Store, make_bundle: Callable[[int], Path], reviews: Reviews
) -> None:
    win(store, make_bundle(0), reviews, "first", valid=0.8, objective="valid/loss")
    worse = win(store, make_bundle(1), reviews, "second", valid=0.7, objective="valid/loss")
    assert worse.challenger.sentence() == (
        "; the alias challenger stays at version 1: valid/loss 0.3000 is not below its 0.2000"
    )
    win(store, make_bundle(2), reviews, "third", valid=0.9, objective="valid/loss")
    assert alias(store, "challenger") == 3


def test_a_challenger_of_other_data_gives_way_and_that_is_told(
    store: Store, make_bundle: Callable[[int], Path], reviews: Reviews, tmp_path: Path
) -> None:
    win(store, make_bundle(0), fewer_reviews(reviews, tmp_path), "first", valid=0.9)
    other = win(store, make_bundle(1), reviews, "second", valid=0.7)
    assert alias(store, "challenger") == 2
    assert other.challenger.sentence() == (
        ", alias challenger, which was at version 1: that was trained on other data (other.csv), "
        "so valid/accuracy does not compare (0.7000 here, 0.9000 there)"
    )


def test_it_is_forced(store: Store, make_bundle: Callable[[int], Path], reviews: Reviews) -> None:
    win(store, make_bundle(0), reviews, "first", valid=0.8)
    forced = win(store, make_bundle(1), reviews, "second", valid=0.7, as_challenger=True)
    assert alias(store, "challenger") == 2
    assert forced.challenger.sentence() == (
        ", alias challenger, which was at version 1: valid/accuracy 0.7000, before 0.8000 "
        "(--as-challenger)"
    )


def test_validation_of_versions_from_before_is_that_of_their_runs(
    store: Store, make_bundle: Callable[[int], Path], reviews: Reviews
) -> None:
    client = store[0]
    win(store, make_bundle(0), reviews, "first", valid=0.8)
    for name in ("best/valid/accuracy", "best/valid/loss"):
        client.delete_model_version_tag("sentiment", "1", name)
    version = client.get_model_version("sentiment", "1")
    assert validation_of(client, version, "valid/accuracy") == 0.8
    assert win(store, make_bundle(1), reviews, "second", valid=0.7).challenger.before == 1
    assert alias(store, "challenger") == 1
    # A version made by hand has none: there is nothing to compare with.
    run_id, model_id = train(store, make_bundle(2), reviews[1])
    tags = {"dataset_fingerprint": reviews[1].fingerprint}
    versions.register(
        client, "sentiment", model_id=model_id, run_id=run_id, tags=tags, description=""
    )
    client.set_registered_model_alias("sentiment", "challenger", "3")
    state = win(store, make_bundle(3), reviews, "third", valid=0.6).challenger
    assert state.reason == "unknown"
    assert state.sentence() == (
        ", alias challenger, which was at version 3: valid/accuracy 0.6000, before not recorded"
    )


def test_a_registration_is_repeated_and_looked_up_without_a_move(
    store: Store, make_bundle: Callable[[int], Path], reviews: Reviews
) -> None:
    client = store[0]
    win(store, make_bundle(0), reviews, "first", valid=0.8)
    first = client.get_model_version("sentiment", "1")
    again = move_challenger(client, "sentiment", first, "valid/accuracy")
    assert (again.moved, again.is_winner) == (False, True)
    assert again.sentence() == ", alias challenger"
    win(store, make_bundle(1), reviews, "second", valid=0.9)
    known = registered_winner(client, "sentiment", first, "valid/accuracy")
    assert known.challenger.sentence() == "; the alias challenger stays at version 2"
    client.delete_registered_model_alias("sentiment", "challenger")
    known = registered_winner(client, "sentiment", first, "valid/accuracy")
    assert known.challenger.sentence() == "; there is no challenger"
    assert alias(store, "challenger") is None


def test_a_sweep_with_nothing_left_to_do_is_made_the_challenger(
    store: Store,
    make_bundle: Callable[[int], Path],
    reviews: Reviews,
    capsys: pytest.CaptureFixture[str],
) -> None:
    win(store, make_bundle(0), reviews, "first", valid=0.8)
    win(store, make_bundle(1), reviews, "second", valid=0.7)
    settings = SweepSettings(trials=1, name="second", tracking_uri=store[0].tracking_uri)
    assert make_challenger(settings, as_json=False) == 0
    assert alias(store, "challenger") == 2
    assert capsys.readouterr().out == (
        "no trial was left to do; version 2 of sentiment, alias challenger, which was at "
        "version 1: valid/accuracy 0.7000, before 0.8000 (--as-challenger)\n"
    )
    assert make_challenger(replace(settings, name="first"), as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sweep"] == "first"
    assert told["challenger"]["version"] == 1
    assert alias(store, "challenger") == 1
