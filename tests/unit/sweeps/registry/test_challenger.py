from __future__ import annotations

from pathlib import Path

import pytest
from winners import Registry, fewer_reviews

from sweeps.config import SweepSettings
from sweeps.pipeline.resume import CompleteError
from sweeps.pipeline.start import end_complete
from sweeps.registry import versions
from sweeps.registry.challenger import move_challenger, registered_winner, validation_of


def test_it_moves_to_what_is_better_on_validation_alone(registry: Registry) -> None:
    first = registry.win(registry.make_bundle(0), "first", valid=0.8)
    assert first.challenger.sentence() == ", alias challenger"
    assert registry.alias("challenger") == 1
    worse = registry.win(registry.make_bundle(1), "second", valid=0.7)
    assert registry.alias("challenger") == 1
    assert (worse.version, worse.challenger.moved, worse.challenger.is_winner) == (2, False, False)
    assert worse.challenger.sentence() == (
        "; the alias challenger stays at version 1: valid/accuracy 0.7000 is not above its 0.8000"
    )
    registry.win(registry.make_bundle(1), "like the first", valid=0.8)
    assert registry.alias("challenger") == 1
    better = registry.win(registry.make_bundle(2), "third", valid=0.9)
    assert registry.alias("challenger") == 4
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


def test_less_loss_is_better(registry: Registry) -> None:
    registry.win(registry.make_bundle(0), "first", valid=0.8, objective="valid/loss")
    worse = registry.win(registry.make_bundle(1), "second", valid=0.7, objective="valid/loss")
    assert worse.challenger.sentence() == (
        "; the alias challenger stays at version 1: valid/loss 0.3000 is not below its 0.2000"
    )
    registry.win(registry.make_bundle(2), "third", valid=0.9, objective="valid/loss")
    assert registry.alias("challenger") == 3


def test_a_challenger_of_other_data_gives_way_and_that_is_told(
    registry: Registry, tmp_path: Path
) -> None:
    registry.win(
        registry.make_bundle(0),
        "first",
        reviews=fewer_reviews(registry.reviews, tmp_path),
        valid=0.9,
    )
    other = registry.win(registry.make_bundle(1), "second", valid=0.7)
    assert registry.alias("challenger") == 2
    assert other.challenger.sentence() == (
        ", alias challenger, which was at version 1: that was trained on other data (other.csv), "
        "so valid/accuracy does not compare (0.7000 here, 0.9000 there)"
    )


def test_it_is_forced(registry: Registry) -> None:
    registry.win(registry.make_bundle(0), "first", valid=0.8)
    forced = registry.win(registry.make_bundle(1), "second", valid=0.7, as_challenger=True)
    assert registry.alias("challenger") == 2
    assert forced.challenger.sentence() == (
        ", alias challenger, which was at version 1: valid/accuracy 0.7000, before 0.8000 "
        "(--as-challenger)"
    )


def test_validation_of_versions_from_before_is_that_of_their_runs(registry: Registry) -> None:
    client = registry.client
    registry.win(registry.make_bundle(0), "first", valid=0.8)
    for name in ("best/valid/accuracy", "best/valid/loss"):
        client.delete_model_version_tag("sentiment", "1", name)
    version = client.get_model_version("sentiment", "1")
    assert validation_of(client, version, "valid/accuracy") == 0.8
    assert registry.win(registry.make_bundle(1), "second", valid=0.7).challenger.before == 1
    assert registry.alias("challenger") == 1
    # A version made by hand has none: there is nothing to compare with.
    run_id, model_id = registry.train(registry.make_bundle(2))
    tags = {"dataset_fingerprint": registry.reviews[1].fingerprint}
    versions.register(
        client, "sentiment", model_id=model_id, run_id=run_id, tags=tags, description=""
    )
    client.set_registered_model_alias("sentiment", "challenger", "3")
    state = registry.win(registry.make_bundle(3), "third", valid=0.6).challenger
    assert state.reason == "unknown"
    assert state.sentence() == (
        ", alias challenger, which was at version 3: valid/accuracy 0.6000, before not recorded"
    )


def test_a_registration_is_repeated_and_looked_up_without_a_move(registry: Registry) -> None:
    client = registry.client
    registry.win(registry.make_bundle(0), "first", valid=0.8)
    first = client.get_model_version("sentiment", "1")
    again = move_challenger(client, "sentiment", first, "valid/accuracy")
    assert (again.moved, again.is_winner) == (False, True)
    assert again.sentence() == ", alias challenger"
    registry.win(registry.make_bundle(1), "second", valid=0.9)
    known = registered_winner(client, "sentiment", first, "valid/accuracy")
    assert known.challenger.sentence() == "; the alias challenger stays at version 2"
    client.delete_registered_model_alias("sentiment", "challenger")
    known = registered_winner(client, "sentiment", first, "valid/accuracy")
    assert known.challenger.sentence() == "; there is no challenger"
    assert registry.alias("challenger") is None


def test_a_sweep_with_nothing_left_to_do_is_made_the_challenger(registry: Registry) -> None:
    registry.win(registry.make_bundle(0), "first", valid=0.8)
    registry.win(registry.make_bundle(1), "second", valid=0.7)
    settings = SweepSettings(trials=1, name="second", tracking_uri=registry.client.tracking_uri)
    complete = CompleteError("it has 1 trial already", 0, settings, finished=True)
    line, state = end_complete(complete, as_challenger=True)
    assert registry.alias("challenger") == 2
    assert line == (
        "no trial was left to do; version 2 of sentiment, alias challenger, which was at "
        "version 1: valid/accuracy 0.7000, before 0.8000 (--as-challenger)"
    )
    assert state is not None and state.plain()["version"] == 2
    with pytest.raises(CompleteError, match="it has 1 trial already"):
        end_complete(complete, as_challenger=False)
    late = CompleteError("it has 1 trial already", 3, settings, finished=True)
    line, state = end_complete(late, as_challenger=False)
    assert (line, state) == ("the store has the whole record now; no trial was left to do", None)
    assert registry.alias("challenger") == 2
