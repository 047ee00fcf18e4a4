from __future__ import annotations

import math
import pickle
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from ray.tune.search import Searcher
from toy_search import BUDGET, evaluation, quality, run_alone, search_over, study_in
from toy_space import TOY

from sentiment.errors import InputError
from sweeps.config import SAMPLERS
from sweeps.execution.stoppers import TimeBudget
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.study import make_study
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


# What every sampler must do


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_contract_trials_are_numbered_and_complete(sampler):
    study = study_in(None, sampler=sampler)
    configs = run_alone(search_over(study, 14, base={"epochs": 2.0, "sweep": "toy"}))
    assert [config["trial"] for config in configs] == list(range(14))
    assert [config["seed"] for config in configs] == list(range(7, 21))
    for config, trial in zip(configs, study.trials, strict=True):
        assert config["pooling"] == "max"
        assert (config["epochs"], config["sweep"]) == (2.0, "toy")
        assert ("momentum" in config) == (config["optimizer"] == "sgd")
        assert TOY.locate(config) == trial.params
        assert trial.user_attrs["trial"] == config["trial"]
    assert Counter(trial.state for trial in study.trials) == {
        TrialState.COMPLETE: 10,
        TrialState.PRUNED: 4,
    }


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_contract_a_seed_makes_the_search_repeat(sampler):
    runs = [run_alone(search_over(study_in(None, sampler=sampler, seed=s), 12)) for s in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_contract_a_resumed_search_draws_nothing_twice(sampler, storage):
    first = run_alone(search_over(study_in(storage, sampler=sampler), 4))
    second = run_alone(search_over(study_in(storage, sampler=sampler), 8))
    assert [config["trial"] for config in second] == [4, 5, 6, 7]
    rates = [config["learning_rate"] for config in first + second]
    assert len(set(rates)) == 8


def test_tpe_learns():
    best = {}
    for sampler in ("tpe", "random"):
        scores = []
        for seed in range(3):
            configs = run_alone(search_over(study_in(None, sampler=sampler, seed=seed), 50))
            scores.append(sum(quality(config) for config in configs[-10:]) / 10)
        best[sampler] = sum(scores) / 3
    assert best["tpe"] > best["random"] + 0.05


# What the study is told


def told(study: optuna.Study) -> optuna.trial.FrozenTrial:
    (trial,) = study.trials
    return trial


def test_a_full_trial_counts_with_its_best_evaluation():
    study = study_in(None)
    search = search_over(study, 1)
    search.suggest("a")
    search.on_trial_result("a", evaluation(0.6, 100))
    search.on_trial_result("a", evaluation(0.8, 200))
    search.on_trial_complete("a", evaluation(0.7, 300, finished=True))
    trial = told(study)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.8)
    assert trial.intermediate_values == {100: 0.6, 200: 0.8, 300: 0.7}


def test_the_best_loss_is_the_smallest():
    study = make_study(None, "toy", "valid/loss", TOY)
    search = OptunaSearcher(study, TOY, metric="valid/loss", max_trials=1, budget=BUDGET, seed=1)
    assert search.mode == "min"
    search.suggest("a")
    search.on_trial_result("a", {"valid/loss": 0.3, "examples": 100})
    search.on_trial_complete("a", {"valid/loss": 0.4, "examples": 200, "finished": True})
    assert told(study).value == 0.3


def test_a_trial_at_its_budget_is_full_whoever_stopped_it():
    study = study_in(None)
    search = search_over(study, 1)
    search.suggest("a")
    search.on_trial_complete("a", evaluation(0.7, BUDGET, done=True))
    assert told(study).state == TrialState.COMPLETE


def test_a_stopped_trial_is_pruned_with_its_evaluations():
    study = study_in(None)
    search = search_over(study, 1)
    search.suggest("a")
    search.on_trial_result("a", evaluation(0.8, 100))
    search.on_trial_complete("a", evaluation(0.7, 200, done=True))
    trial = told(study)
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.7)
    assert trial.intermediate_values == {100: 0.8, 200: 0.7}


def test_evaluations_that_are_told_together_are_reported_each():
    study = study_in(None)
    search = search_over(study, 1)
    search.suggest("a")
    search.on_trial_result("a", evaluation(0.7, 200, earlier=[evaluation(0.6, 100)]))
    last = evaluation(0.8, BUDGET, finished=True, earlier=[evaluation(0.9, 300)])
    search.on_trial_complete("a", last)
    trial = told(study)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.9)
    assert trial.intermediate_values == {100: 0.6, 200: 0.7, 300: 0.9, BUDGET: 0.8}


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (None, True),
        (evaluation(0.7, 100), True),
        (None, False),
        ({}, False),
        (evaluation(math.nan, BUDGET, finished=True), False),
        (evaluation(math.inf, BUDGET, finished=True), False),
    ],
)
def test_a_trial_without_a_result_fails(result, error):
    study = study_in(None)
    search = search_over(study, 1)
    search.suggest("a")
    search.on_trial_complete("a", result, error=error)
    assert (told(study).state, told(study).value) == (TrialState.FAIL, None)


def test_repeated_news_change_nothing(recwarn):
    study = study_in(None)
    search = search_over(study, 1)
    search.suggest("a")
    for value in (0.6, 0.9):
        search.on_trial_result("a", evaluation(value, 100))
    search.on_trial_complete("a", evaluation(0.5, 200, finished=True))
    before = told(study)
    search.on_trial_complete("a", evaluation(0.99, 300, finished=True))
    search.on_trial_complete("a", error=True)
    search.on_trial_result("a", evaluation(0.99, 300))
    search.on_trial_result("unknown", evaluation(0.99, 300))
    search.on_trial_complete("unknown", error=True)
    assert told(study) == before
    assert before.value == 0.6
    assert before.intermediate_values == {100: 0.6, 200: 0.5}
    assert not recwarn.list


def test_somebody_else_may_have_ended_the_trial():
    study = study_in(None)
    search = search_over(study, 1)
    search.suggest("a")
    study.tell(0, state=TrialState.FAIL)
    search.on_trial_complete("a", error=True)
    assert told(study).state == TrialState.FAIL


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1) | st.just(math.nan), st.integers(1, BUDGET - 1)), max_size=8
    ),
    st.sampled_from(["finished", "stopped", "error"]),
)
def test_any_course_ends_in_one_state(evaluations, end):
    study = study_in(None, sampler="random")
    search = search_over(study, 1)
    search.suggest("a")
    for value, examples in evaluations:
        search.on_trial_result("a", evaluation(value, examples))
    last = evaluation(*evaluations[-1], finished=end == "finished") if evaluations else None
    search.on_trial_complete("a", last, error=end == "error")
    first: dict[int, float] = {}
    for value, examples in evaluations:
        if math.isfinite(value):
            first.setdefault(examples, value)
    trial = told(study)
    assert trial.intermediate_values == first
    if not first or end == "error":
        assert trial.state == TrialState.FAIL
    elif end == "finished":
        assert (trial.state, trial.value) == (TrialState.COMPLETE, max(first.values()))
    else:
        assert (trial.state, trial.value) == (TrialState.PRUNED, first[max(first)])


def test_stopping_and_closing():
    study = study_in(None)
    search = search_over(study, 10)
    search.suggest("a")
    search.suggest("b")
    search.on_trial_result("a", evaluation(0.6, 100))
    search.stop()
    assert search.suggest("c") == Searcher.FINISHED
    search.on_trial_result("a", evaluation(0.7, 200))
    search.close()
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED, TrialState.FAIL]
    assert study.trials[0].value == 0.7
    assert [trial.user_attrs["ended_by"] for trial in study.trials] == ["time budget"] * 2
    assert [trial.outcome for trial in search.ended()] == ["out_of_time"] * 2


def test_the_time_budget_ends_what_runs_at_its_next_evaluation():
    study = study_in(None)
    search = search_over(study, 9)
    for name in "abcd":
        search.suggest(name)
    early = TimeBudget(time.monotonic() + 60, search)
    assert not early("a", evaluation(0.5, 100))
    assert search.suggest("e") != Searcher.FINISHED
    budget = TimeBudget(time.monotonic() - 1, search)
    assert not budget.stop_all()
    assert search.suggest("f") == Searcher.FINISHED
    last = {
        "a": evaluation(0.6, 200),
        "b": evaluation(0.7, BUDGET, finished=True),
        "c": {"failure": "Traceback …", "examples": 0},
    }
    for name, result in last.items():
        assert budget(name, result)
        search.on_trial_complete(name, result)
    # The scheduler had stopped this one before the time was up.
    search.on_trial_complete("d", evaluation(0.4, 100))
    search.close()
    assert [search.ran_out(name) for name in "abcde"] == [True, False, False, False, True]
    outcomes = ["out_of_time", "completed", "failed", "stopped_early", "out_of_time"]
    assert [trial.outcome for trial in search.ended()] == outcomes
    states = ["PRUNED", "COMPLETE", "FAIL", "PRUNED", "FAIL"]
    assert [trial.state.name for trial in study.trials] == states
    assert study.trials[0].intermediate_values == {200: 0.6}
    assert [t.user_attrs.get("ended_by") for t in study.trials] == [
        "time budget", None, None, None, "time budget",
    ]  # fmt: skip


def test_a_trial_that_starts_again_after_a_kill_is_no_longer_out_of_time(storage):
    study = study_in(storage)
    search = search_over(study, 1)
    search.suggest("a")
    search.on_trial_result("a", evaluation(0.5, 100))
    # The kill came after the attribute, and before the trial was told.
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "ended_by", "time budget")
    again = search_over(study_in(storage), 1)
    again.suggest("b")
    again.on_trial_complete("b", evaluation(0.4, 200))
    assert [trial.outcome for trial in again.ended()] == ["stopped_early"]


# What a reader of the study finds


def test_trials_name_their_runs_once_these_are_made(storage):
    runs = {0: "run-0"}
    study = study_in(storage)
    search = search_over(study, 3, run_of=runs.get)
    for name in "abc":
        search.suggest(name)

    def found():
        return [trial.user_attrs.get("mlflow_run_id") for trial in study.get_trials()]

    assert found() == ["run-0", None, None]
    runs[1] = "run-1"
    search.on_trial_result("b", evaluation(0.5, 100))
    assert found() == ["run-0", "run-1", None]
    runs[2] = "run-2"
    search.on_trial_complete("c", error=True)
    assert found() == ["run-0", "run-1", "run-2"]
    # A sweep that is resumed goes on in the runs that it has.
    search_over(study_in(storage), 3, run_of=runs.get).suggest("d")
    assert found()[0] == "run-0"


def test_the_base_must_not_contradict_the_space():
    with pytest.raises(InputError, match="dropout is searched"):
        search_over(study_in(None), 1, base={"dropout": 0.1})


# Nothing of the study in Ray's files


def test_ray_can_pickle_the_search_without_its_study(storage, tmp_path):
    study = study_in(storage)
    search = search_over(study, 2)
    search.suggest("a")
    assert len(pickle.dumps(search)) < 200
    folder = tmp_path / "snapshots"
    folder.mkdir()
    search.save_to_dir(str(folder), "now")
    search.save(str(folder / "file"))
    search.restore_from_dir(str(folder))
    search.restore(str(folder / "file"))
    assert list(folder.iterdir()) == []
    assert search.suggest("b") != Searcher.FINISHED


# Interruptions


def test_interrupted_trials_come_first_and_keep_their_settings(storage):
    search = search_over(study_in(storage), 5)
    configs = [search.suggest(trial_id) for trial_id in "abc"]
    search.on_trial_result("a", evaluation(0.6, 100))
    search.on_trial_complete("b", evaluation(0.9, BUDGET))
    del search

    study = study_in(storage)
    again = search_over(study, 5)
    assert again.suggest("d") == configs[0]
    assert again.suggest("e") == configs[2]
    assert again.suggest("f")["trial"] == 3
    again.on_trial_result("d", evaluation(0.65, 100))
    again.on_trial_complete("d", evaluation(0.7, 200))
    trial = study.trials[0]
    assert trial.intermediate_values == {100: 0.6, 200: 0.7}
    assert trial.user_attrs["ray_trial"] == "d"
    assert again.suggest("g")["trial"] == 4
    assert again.suggest("h") == Searcher.FINISHED


def test_a_trial_killed_before_it_had_a_number_is_the_next_one(storage):
    study = study_in(storage)
    study.enqueue_trial({"cell": "gru", "hidden_dim": 64})
    study.enqueue_trial({"cell": "lstm", "hidden_dim": 96})
    search_over(study, 3).suggest("a")
    study.ask()
    study = study_in(storage)
    again = search_over(study, 3)
    suggested = [again.suggest(each) for each in "bcd"]
    assert [config["trial"] for config in suggested] == [0, 1, 2]
    assert [config["hidden_dim"] for config in suggested[:2]] == [64, 96]
    assert again.suggest("e") == Searcher.FINISHED
    assert len(study.trials) == 3


def test_a_trial_killed_before_it_had_a_number_fails_where_none_is_wanted(storage):
    search_over(study_in(storage), 1).suggest("a")
    study_in(storage).ask()
    study = study_in(storage)
    again = search_over(study, 1)
    assert again.suggest("b")["trial"] == 0
    assert again.suggest("c") == Searcher.FINISHED
    again.close()
    assert study.trials[1].state == TrialState.FAIL


def test_a_trial_killed_while_it_was_suggested_is_completed(storage):
    trial = study_in(storage).ask()
    trial.set_user_attr("trial", 0)
    cell = trial.suggest_categorical("cell", ["gru", "lstm"])
    config = search_over(study_in(storage), 1).suggest("a")
    assert config["cell"] == cell
    assert TOY.locate(config) is not None


def test_a_killed_process_loses_nothing_it_told(storage):
    code = f"""
        import os, signal, sys
        sys.path.append({str(Path(__file__).parents[3] / "support")!r})
        from {Path(__file__).stem} import search_over, study_in, evaluation
        search = search_over(study_in({storage!r}), 9)
        for number in range(3):
            search.suggest(str(number))
            search.on_trial_result(str(number), evaluation(0.5, 100))
        search.on_trial_complete("0", evaluation(0.6, 200))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=Path(__file__).parent, check=False
    )
    assert ended.returncode == -9
    study = study_in(storage)
    assert [trial.state for trial in study.trials] == [
        TrialState.PRUNED,
        TrialState.RUNNING,
        TrialState.RUNNING,
    ]
    assert study.trials[1].intermediate_values == {100: 0.5}
    search = search_over(study, 4)
    assert [search.suggest(each)["trial"] for each in "abc"] == [1, 2, 3]


# Trials that fail, and what is known of those that ended


def test_a_trial_that_fails_is_suggested_again_with_what_it_had(tmp_path):
    study = study_in(None)
    search = search_over(study, 2, attempts=RetryTracker(Storage(tmp_path), retries=1))
    first, second = search.suggest("a"), search.suggest("b")
    search.on_trial_result("a", evaluation(0.5, 100))
    # Nothing is left to do, unless one of those running fails.
    assert search.suggest("c") is None
    search.on_trial_complete("a", error=True)
    assert search.suggest("d") == first
    assert search.known_values("d") == {100: 0.5}
    search.on_trial_complete("b", evaluation(0.6, BUDGET, finished=True))
    search.on_trial_complete("d", error=True)
    assert search.suggest("e") == Searcher.FINISHED
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    ended = search.ended()
    assert [(trial.number, trial.outcome) for trial in ended] == [(0, "failed"), (1, "completed")]
    assert [trial.config for trial in ended] == [first, second]
    assert ended[0].values == {100: 0.5}


def test_a_failure_that_would_only_repeat_itself_is_final(tmp_path):
    study = study_in(None)
    search = search_over(study, 1, attempts=RetryTracker(Storage(tmp_path), retries=5))
    search.suggest("a")
    search.on_trial_complete("a", {"failure": "Traceback …", "examples": 0, "done": True})
    assert search.suggest("b") == Searcher.FINISHED
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_none_is_left_running_when_time_is_up(tmp_path):
    study = study_in(None)
    search = search_over(study, 3, attempts=RetryTracker(Storage(tmp_path), retries=1))
    for name in "abc":
        search.suggest(name)
    search.on_trial_result("a", evaluation(0.5, 100))
    for name in "ab":
        search.on_trial_complete(name, error=True)
    search.stop()
    search.on_trial_complete("c", error=True)
    search.close()
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL]
    outcomes = [trial.outcome for trial in search.ended()]
    assert outcomes == ["out_of_time", "out_of_time", "failed"]


def test_it_knows_which_trials_were_enqueued():
    study = study_in(None)
    study.enqueue_trial({"cell": "gru"})
    search = search_over(study, 2)
    for trial_id in ("first", "second"):
        search.suggest(trial_id)
    assert [search.is_enqueued(trial_id) for trial_id in ("first", "second", "unknown")] == [
        True,
        False,
        False,
    ]
