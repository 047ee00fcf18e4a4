"""Descriptions keep what is essential, however many labels there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentiment.config import Config
from sentiment.data.datasets import DataConfig, Dataset, Split
from sweeps.config import SweepSettings
from sweeps.reporting.notes import (
    RUN_LIMIT,
    VERSION_LIMIT,
    Subject,
    ended_sweep,
    running_sweep,
    winners_version,
)
from sweeps.search.rungs import plan_rungs
from sweeps.space.space import SearchSpace
from sweeps.tracking.members import Member
from sweeps.tracking.queries import TrialRecord

LABELS = tuple(f"category number {i} of a hundred and thirty, with a long name" for i in range(130))
TEST = {"test/accuracy": 0.5, "test/f1": 0.4, "test/loss": 1.0}
COMMAND = "python -m sweeps.launch --data many.csv --trials 2"


def subject_of(choices: int = 3) -> Subject:
    split = Split(["a text"] * 400, np.arange(400) % 130)
    return Subject(
        name="many",
        run_id="a" * 32,
        experiment_id="1",
        settings=SweepSettings(trials=2, data=DataConfig(data="many.csv"), max_epochs=1.0),
        dataset=Dataset("many.csv", LABELS, {"train": split, "valid": split}, "f" * 64),
        space=SearchSpace.from_mapping(
            {
                "cell": {"choice": ["gru", "lstm"]},
                "batch_size": {"choice": list(range(1, choices + 1))},
            }
        ),
        rungs=plan_rungs(1.0, 400),
        command=COMMAND,
        commit="c" * 40,
        threads=1,
    )


def trial_of(number: int) -> TrialRecord:
    return TrialRecord(
        key=number,
        run_id=f"{number:032d}",
        role="trial",
        name=f"{number:03d} bilstm",
        outcome="completed",
        parameters=Config.from_flat({"cell": "gru"}).flat(),
        dataset_fingerprint=None,
        metrics={
            **{f"best/valid/{name}": 0.5 for name in ("accuracy", "f1", "loss")},
            "best/examples": 400,
            "parameters/total": 1000,
        },
        started=0,
        ended=1,
        model_id="m-1",
    )


def test_many_labels_leave_room_for_the_commands() -> None:
    subject, trials = subject_of(), [trial_of(0), trial_of(1)]
    text = ended_sweep(subject, trials, trials[0], TEST, 1, None, ["the winner is odd"])
    assert len(text) < RUN_LIMIT / 2
    for part in (COMMAND, "python -m sweeps.promote --sweep many", "python -m sentiment.train"):
        assert part in text
    assert "and 122 more" in text
    assert "**Warning:** the winner is odd." in text
    assert text.index(COMMAND) < text.index("### The best 2") < text.index("### What was searched")
    assert len(running_sweep(subject)) < RUN_LIMIT / 2


@pytest.mark.parametrize("length", [10, 1_200])
def test_what_does_not_fit_is_left_out_from_the_end(length: int) -> None:
    subject = subject_of(choices=100)
    trials = [replace(trial_of(number), name="x" * length) for number in range(5)]
    text = ended_sweep(subject, trials, trials[0], TEST, 1, None)
    assert len(text) <= RUN_LIMIT
    assert COMMAND in text
    assert "1, 2, 3" not in text or "and 80 more" in text
    assert ("does not fit here" in text) == (length > 1_000)
    version = winners_version(subject, trials[0], 2, TEST, None, ["y" * 4_000])
    assert len(version) <= VERSION_LIMIT
    assert version.startswith("Best of 2 trials on many.csv")


def test_an_ensemble_is_told_by_its_members() -> None:
    members = (Member(0, "000 bilstm", 0.75, 0.5, 0.6), Member(1, "001 gru", 0.25, 0.6, 0.5))
    winner = replace(
        trial_of(0), key="ensemble-aa-000", role="ensemble", name="ensemble of 2 models",
        parameters={}, members=members,
    )  # fmt: skip
    for text in (
        winners_version(subject_of(), winner, 2, TEST, None),
        ended_sweep(subject_of(), [trial_of(0), trial_of(1), winner], winner, TEST, 1, None),
    ):
        assert "It is an ensemble of 2 models: on validation loss 0.5000, accuracy 0.5000; " in text
        assert "25% trial 001 gru (alone 0.6000, 0.5000)" in text
        assert "python -m sentiment.train" not in text
