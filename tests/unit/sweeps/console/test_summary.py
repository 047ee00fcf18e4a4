"""What a sweep says when it starts and after it has ended, on the terminal and in MLflow."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sweeps.config import SweepSettings
from sweeps.console.summary import SweepResult, print_result, start_line
from sweeps.registry.challenger import ChallengerState, RegisteredWinner
from sweeps.reporting.notes import Subject, ended_sweep
from sweeps.search.flatness import Flatness
from sweeps.search.rungs import plan_rungs
from sweeps.space.space import SearchSpace
from sweeps.tracking.members import Member
from sweeps.tracking.queries import TrialRecord
from sweeps.tracking.retention import Removed

TEXTS = 1000
SETTINGS = SweepSettings(
    trials=30,
    data=DataConfig(dataset="rotten-tomatoes"),
    max_epochs=4.0,
    scheduler="fifo",
    time_budget=20,
)
TEST = {"test/accuracy": 0.7, "test/f1": 0.7, "test/loss": 0.6}


def trial(number: int, outcome: str, trained: float, best_at: float, value: float) -> TrialRecord:
    metrics = {
        "epoch": trained,
        "best/examples": best_at * TEXTS,
        "best/valid/accuracy": value,
        "parameters/total": 2_513_097,
        "seconds/total": 28.4,
    }
    name = f"{number:03d} bilstm-2×128 word2vec rmsprop"
    parameters = Config().flat()
    return TrialRecord(
        number, f"run-{number}", "trial", name, outcome, parameters, "f00", metrics, 0, 1, None
    )


TRIALS = [
    trial(0, "completed", 4.0, 2.5, 0.75),
    trial(1, "out_of_time", 1.0, 0.19, 0.7),
    trial(2, "out_of_time", 1.0, 1.0, 0.65),
]
FIRST = ChallengerState(2, None, "first", "valid/accuracy", 0.75)
RESULT = SweepResult(
    name="first",
    run_id="f" * 32,
    trials=TRIALS,
    winner=TRIALS[0],
    test=TEST,
    registered=RegisteredWinner(
        2, ChallengerState(2, None, "first", "valid/accuracy", 0.75, None), 1
    ),
    champion=None,
    seconds=36.4,
    asked=30,
    time_budget=20,
    confirmation=None,
    removed=Removed(1, 12_000_000, 2),
)


def printed(
    result: SweepResult = RESULT,
    width: int = 80,
    terminal: bool = True,
    settings: SweepSettings = SETTINGS,
) -> list[str]:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, force_terminal=terminal)
    console.no_color = True
    print_result(console, result, settings, "sqlite:///mlflow.db", "1", TEXTS)
    text = console.file.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_result_fits_the_terminal(width):
    *lines, link = printed(width=width)
    assert link.startswith("  http://127.0.0.1:5000/#/experiments/1/runs?")
    assert all(len(line) <= width for line in lines)
    assert "…" not in "\n".join(lines)
    row = next(line for line in lines if line.startswith("000"))
    assert row.split()[4:7] == ["0.7500", "4.00", "2.50"]
    assert row.endswith("completed")
    assert next(line for line in lines if line.startswith("001")).endswith("out of time")
    assert ("2,513,097" in row) == (width >= 100)


def test_a_log_has_each_statement_in_a_line():
    lines = printed(width=120, terminal=False)
    assert lines[0] == (
        "sweep first ended after 36 seconds: 1 completed, 0 stopped early, 2 out of time, 0 failed"
    )
    assert lines[1] == (
        "The time budget of 20 seconds ended the search: 2 trials ended at an evaluation before "
        "their full length, 27 of 30 trials did not run."
    )
    assert "  python -m sweeps.launch --resume first --time-budget 20" in lines
    heading = next(line for line in lines if line.startswith("trial "))
    assert heading.split() == ["trial", "valid/accuracy", "epochs", "trained", "best", "epoch",
                               "parameters", "seconds", "outcome"]  # fmt: skip
    assert "removed the models of 1 trial, 12 MB; 2 are kept" in lines


def test_no_word_of_a_budget_that_was_not_used_up():
    whole = replace(RESULT, asked=3, trials=[replace(each, outcome="completed") for each in TRIALS])
    text = "\n".join(printed(whole))
    assert "time budget" not in text
    assert "out of time" not in text
    assert whole.summary()["not_run"] == 0


def test_an_ensemble_is_told_by_its_members():
    members = (Member(0, "000 lstm", 0.75, 0.5, 0.7), Member(1, "001 gru", 0.25, 0.6, 0.6))
    winner = replace(
        TRIALS[0],
        key="ensemble-aa-000",
        name="ensemble of 2 models",
        role="ensemble",
        metrics={**TRIALS[0].metrics, "best/valid/loss": 0.45},
        members=members,
    )
    whole = replace(RESULT, winner=winner)
    text = "\n".join(printed(whole, width=200, terminal=False))
    assert "ensemble of 2 models: on validation loss 0.4500, accuracy 0.7500; 75% trial 000" in text
    assert "test split, scored once, of the ensemble of 2 models: accuracy 0.7000" in text
    assert [each["key"] for each in whole.summary()["winner"]["members"]] == [0, 1]


def test_plain_values_tell_what_did_not_run():
    plain = RESULT.summary()
    assert plain["outcomes"] == {"completed": 1, "out_of_time": 2}
    assert (plain["trials"], plain["not_run"], plain["time_budget"]) == (30, 27, 20)


def next_of(champion: int | None) -> list[str]:
    lines = printed(replace(RESULT, champion=champion), width=120)
    end = next(at for at, line in enumerate(lines) if line.startswith("all trials in MLflow"))
    return [line.strip() for line in lines[lines.index("next:") + 1 : end]]


def test_a_model_of_own_texts_is_asked_for_one_of_them():
    settings = replace(SETTINGS, data=DataConfig(data=("reviews.csv",)), model_name="reviews")
    text = "\n".join(printed(width=120, settings=settings))
    assert 'python -m sentiment.predict --model-name reviews "a text of your own"' in text


def test_the_champion_is_asked_after_a_promotion():
    *_, promote, ask = next_of(None)
    assert promote.split("  ")[0] == "python -m sweeps.promote"
    assert promote.endswith("make it the champion")
    assert ask.startswith('python -m sentiment.predict "This film is great"')
    assert ask.endswith("then ask the champion")
    *_, promote, ask = next_of(1)
    assert promote.endswith("replace version 1 as champion")
    assert ask.endswith("ask the champion, version 1")
    present = next_of(2)
    assert not any("sweeps.promote" in line for line in present)
    assert present[-1].endswith("ask the champion, this model")


def test_commands_stay_whole_in_a_narrow_terminal():
    lines = printed(width=60)
    at = lines.index("  python -m sweeps.promote")
    assert lines[at + 1] == "      make it the champion"


def test_the_start_says_what_is_left():
    assert start_line("first", SETTINGS, "abc") == (
        "sweep first: 30 trials; time budget of the search: 20 seconds; run abc"
    )
    plain = replace(SETTINGS, trials=1, time_budget=None)
    assert start_line("first", plain, "abc") == "sweep first: 1 trial; run abc"
    assert start_line("first", SETTINGS, "abc", ended=3).startswith(
        "sweep first: resumed, 3 of 30 trials have ended; time budget"
    )
    assert start_line("first", SETTINGS, "abc", ended=3, search_over=True) == (
        "sweep first: resumed, 3 of 30 trials have ended; its time budget has ended the search, "
        "--time-budget gives it more; run abc"
    )


def test_the_description_says_what_the_budget_cut_short():
    splits = {name: SimpleNamespace(texts=["x"] * TEXTS) for name in ("train", "valid", "test")}
    dataset = SimpleNamespace(
        name="tiny", splits=splits, label_names=("neg", "pos"), fingerprint="f" * 64
    )
    subject = Subject(
        name="first",
        run_id="f" * 32,
        experiment_id="1",
        settings=SETTINGS,
        dataset=dataset,
        space=SearchSpace.from_mapping({"cell": {"choice": ["gru", "lstm"]}}),
        rungs=plan_rungs(4, TEXTS),
        command="python -m sweeps.launch",
        commit=None,
        threads=1,
    )
    text = ended_sweep(subject, TRIALS, TRIALS[0], TEST, 2, None)
    assert "A search of 30 trials" in text
    assert "1 completed, 0 stopped early, 2 out of time, 0 failed. The time budget of 20" in text
    assert "27 of 30 trials did not run." in text
    assert "none is stopped early (fifo). The search as a whole had 20 seconds." in text
    assert "| trial | valid/accuracy | epochs trained | best epoch | parameters |" in text
    assert "| 0.7000 | 1.00 | 0.19 | 2,513,097 | 28 | out of time |" in text


def several(latencies: tuple[float, ...], limit: str) -> tuple[SweepResult, SweepSettings]:
    """Return a result and the settings of a search for accuracy and latency."""
    trials = [
        replace(each, metrics={**each.metrics, "latency/single_text_ms": latency})
        for each, latency in zip(TRIALS, latencies, strict=True)
    ]
    settings = replace(SETTINGS, further_objectives=("latency",), limit=(f"latency={limit}",))
    result = replace(RESULT, trials=trials, objectives=settings.objectives)
    return result, settings


def test_the_front_is_shown_and_is_in_the_json():
    result, settings = several((6.0, 4.0, 4.5), "5ms")
    lines = printed(result, settings=settings, width=120)
    place = lines.index("the Pareto front of valid/accuracy and latency, 2 trials:")
    assert "6 ms" in lines[place + 2] and " no " in lines[place + 2]
    assert "4 ms" in lines[place + 3] and " yes " in lines[place + 3]
    plain = result.summary()
    assert [each["trial"] for each in plain["front"]] == [0, 1]
    assert plain["limits"] == ["latency=5ms"]
    assert "front" not in RESULT.summary()


def test_without_a_trial_within_the_limits_the_summary_names_the_nearest():
    result, settings = several((6.0, 4.0, 4.5), "1ms")
    lines = printed(replace(result, winner=None), settings=settings, terminal=False)
    assert (
        "no trial is within latency=1ms, so nothing is registered; the nearest is "
        f"{TRIALS[1].name}: latency 4 ms, valid/accuracy 0.7000"
    ) in lines
    assert any("--warm-start first" in line for line in lines)


def test_a_flat_search_says_what_ended_it():
    flat = replace(RESULT, flatness=Flatness("valid/accuracy", 36, 0.0012, 0.0021), asked=50)
    lines = printed(flat, terminal=False)
    assert any(line.startswith("The search was flat after 36 of 50 trials") for line in lines)
    assert any(line.endswith("--resume first --trials 50") for line in lines)
    assert flat.summary()["flat"]["trials"] == 36
