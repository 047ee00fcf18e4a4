"""The members of an ensemble in its record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeps.tracking.members import (
    Member,
    ensemble_key,
    members_sentence,
    members_text,
    read_members,
)

MEMBERS = (
    Member("finalist-007", "finalist gru-1×32 glove adam", 0.75, 0.31, 0.87),
    Member(12, "012 lstm-1×16 glove sgd", 0.25, 0.4, 0.82),
)


def test_what_is_recorded_is_what_is_read() -> None:
    assert read_members({"members": members_text(MEMBERS)}) == MEMBERS
    assert read_members({"seed": "1"}) == ()


@pytest.mark.parametrize("text", ["", "7", "[7]", "{", '[{"key": 1}]', '[{"weight": "x"}]'])
def test_what_was_tampered_with_is_none(text: str) -> None:
    assert read_members({"members": text}) == ()


def test_the_key_tells_members_and_weights_apart() -> None:
    key = ensemble_key(MEMBERS, 7)
    assert key == ensemble_key(MEMBERS, 7)
    assert key.startswith("ensemble-") and key.endswith("-007")
    assert ensemble_key(MEMBERS[::-1], 7) != key
    assert ensemble_key((replace(MEMBERS[0], weight=0.5), MEMBERS[1]), 7) != key


def test_each_member_is_told_with_its_share() -> None:
    metrics = {"best/valid/loss": 0.3012, "best/valid/accuracy": 0.88}
    assert members_sentence(MEMBERS, metrics) == (
        "ensemble of 2 models: on validation loss 0.3012, accuracy 0.8800; 75% finalist 007 "
        "gru-1×32 glove adam (alone 0.3100, 0.8700); 25% trial 012 lstm-1×16 glove sgd (alone "
        "0.4000, 0.8200)"
    )
