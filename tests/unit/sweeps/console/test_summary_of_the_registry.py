"""What a sweep says of its winner's place in the registry."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from sweeps.config import SweepSettings
from sweeps.console.summary import SweepResult, print_result
from sweeps.registry.challenger import ChallengerState, RegisteredWinner
from sweeps.tracking.queries import TrialRecord
from sweeps.tracking.retention import Removed

BETTER = ChallengerState(2, 1, "better", "valid/accuracy", 0.8, 0.7)
WORSE = ChallengerState(2, 1, "not_better", "valid/accuracy", 0.6, 0.7)
TEST = {"test/accuracy": 0.75, "test/f1": 0.75, "test/loss": 0.5}


def trial(key: int | str, role: str, accuracy: float) -> TrialRecord:
    return TrialRecord(
        key=key,
        run_id=str(key),
        role=role,
        name=str(key),
        outcome="completed",
        parameters={},
        dataset_fingerprint="f",
        metrics={
            "best/valid/accuracy": accuracy,
            "best/valid/loss": 1 - accuracy,
            "best/examples": 100,
        },
        started=0,
        ended=1,
        model_id="m-1",
    )


def result(registered: RegisteredWinner | None, *others: TrialRecord) -> SweepResult:
    winner = trial(0, "trial", 0.8)
    return SweepResult(
        name="first",
        run_id="r",
        trials=[winner, *others],
        winner=winner,
        test=TEST,
        registered=registered,
        champion=None,
        seconds=60,
        asked=1,
        time_budget=None,
        confirmation=None,
        removed=Removed(0, 0, 1),
    )


def said(ended: SweepResult, **settings: str) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    given = replace(SweepSettings(trials=1), **settings)  # type: ignore[arg-type]
    print_result(console, ended, given, "sqlite:///mlflow.db", "1", 100)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_winner_that_is_the_challenger() -> None:
    lines = said(result(RegisteredWinner(2, BETTER, 1)))
    assert lines[4:6] == [
        "registered as version 2 of sentiment, alias challenger, which was at version 1: "
        "valid/accuracy 0.8000, before 0.7000",
        "next:",
    ]
    (promote,) = [line for line in lines if "sweeps.promote" in line]
    assert promote.split("  ")[1] == "python -m sweeps.promote"


def test_the_winner_that_is_not_the_challenger_is_promoted_by_its_number() -> None:
    ended = result(RegisteredWinner(2, WORSE, 3))
    lines = said(ended, model_name="my films", tracking_uri="http://localhost:5000")
    promote = (
        "python -m sweeps.promote --version 2 --model-name 'my films' "
        "--tracking-uri http://localhost:5000"
    )
    assert lines[4:8] == [
        "registered as version 2 of my films; the alias challenger stays at version 1: "
        "valid/accuracy 0.6000 is not above its 0.7000",
        f"to promote this one all the same: {promote}",
        "this test split was scored 3 times for models of my films: the more often it decides, "
        "the less its results hold for new texts",
        "next:",
    ]
    # What the gate may refuse is no next step.
    ended = replace(ended, champion=1)
    lines = said(ended, model_name="my films", tracking_uri="http://localhost:5000")
    assert not any("sweeps.promote" in line for line in lines[8:])
    plain = ended.summary()
    assert (plain["version"], plain["test_looks"]) == (2, 3)
    assert (plain["challenger"]["version"], plain["challenger"]["moved"]) == (1, False)


def test_the_winner_whose_version_was_removed() -> None:
    lines = said(result(None))
    assert "the winner's version of sentiment was removed; nothing is registered" in lines
    assert not any("sweeps.promote" in line for line in lines)
    assert result(None).summary()["version"] is None


def test_a_baseline_that_is_better_is_told() -> None:
    winner = RegisteredWinner(2, BETTER, 1)
    note = "note: the baseline {} is better on validation than the winner: valid/accuracy {}"
    better = trial("tfidf", "baseline", 0.9)
    assert any(
        line.startswith(note.format("tfidf", "0.9000, the winner's 0.8000"))
        for line in said(result(winner, trial("mlp", "baseline", 0.85), better))
    )
    assert not any("note" in line for line in said(result(winner, trial("x", "baseline", 0.8))))
    # A confirmation is the winner again, by other luck.
    assert not any("note" in line for line in said(result(winner, trial("s", "confirmation", 0.9))))
    by_loss = said(result(winner, better), objective="valid/loss")
    assert any("valid/loss 0.1000, the winner's 0.2000" in line for line in by_loss)
