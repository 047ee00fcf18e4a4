"""A search for several objectives: what is reported to Optuna, and resumption at any moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from toy_search import BUDGET, METRIC, evaluation, quality, search_over
from toy_space import TOY

from sentiment.errors import InputError
from sweeps.objectives import Objectives
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.preview import first_suggestions
from sweeps.search.prior_sampler import FROM_PRIOR, LEAST, is_refuted
from sweeps.search.samplers import make_sampler
from sweeps.search.study import make_study
from sweeps.search.tpe import STARTUP_TRIALS
from sweeps.search.trial_attributes import EVALUATIONS
from sweeps.search.warm_start import PastTrial, WarmStart, warm_start
from sweeps.space.space import SearchSpace
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.retry import RetryTracker

# A suggestion of the Gaussian process takes seconds.
SAMPLERS = ("tpe", "nsga2", pytest.param("gp", marks=pytest.mark.slow), "random")
OBJECTIVES = Objectives.parse([METRIC, "latency", "seconds"], ["latency=4ms"])


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def study_in(storage: str | None, sampler: str = "tpe", **more: Any) -> optuna.Study:
    return make_study(storage, "toy", METRIC, TOY, sampler, further=OBJECTIVES.further, **more)


def search(study: optuna.Study, trials: int, **more: Any) -> OptunaSearcher:
    return search_over(study, trials, objectives=OBJECTIVES, **more)


def latency_of(config: Mapping[str, Any]) -> float:
    """Fastest without dropout, which the quality is best without too, and as an rnn."""
    return {"rnn": 2.0, "gru": 3.0}.get(config["cell"], 5.0) + config["dropout"]


def reported(value: float, examples: int, latency: float, **more: Any) -> dict[str, Any]:
    facts = {"facts/latency/single_text_ms": latency, "facts/parameters/total": 10}
    return evaluation(value, examples, **{"seconds/total": examples / 100}, **facts, **more)


def run_alone(search: OptunaSearcher) -> list[dict[str, Any]]:
    """Stand in for Ray: one trial after the other, every third one stopped at its first rung."""
    configs: list[dict[str, Any]] = []
    while (config := search.suggest(f"ray-{len(configs)}")) != Searcher.FINISHED:
        trial_id, value = f"ray-{len(configs)}", quality(config)
        first = reported(value - 0.1, 100, latency_of(config))
        if len(configs) % 3 == 2:
            search.on_trial_complete(trial_id, first)
        else:
            search.on_trial_result(trial_id, first)
            last = reported(value, BUDGET, latency_of(config), finished=True)
            search.on_trial_complete(trial_id, last)
        configs.append(config)
    return configs


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_and_repeats(sampler: str) -> None:
    studies = [study_in(None, sampler) for _ in range(2)]
    runs = [run_alone(search(study, 20)) for study in studies]
    assert runs[0] == runs[1]
    trials = studies[0].trials
    assert Counter(trial.state for trial in trials) == {
        TrialState.COMPLETE: 14,
        TrialState.PRUNED: 6,
    }
    for config, trial in zip(runs[0], trials, strict=True):
        latency = latency_of(config)
        assert trial.constraints == {"latency": pytest.approx(latency / 4 - 1)}
        if trial.state == TrialState.COMPLETE:
            assert trial.values == [pytest.approx(quality(config)), latency, BUDGET / 100]
        else:
            assert trial.values is None
    assert studies[0].metric_names == [METRIC, "latency", "seconds"]
    assert 1 <= len(studies[0].best_trials) < 14


# The Gaussian process suggests once more what a scheduler stopped: it learns of no pruned trial.
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_resumed_search_continues_and_draws_nothing_twice(sampler: str, storage: str) -> None:
    first = run_alone(search(study_in(storage, sampler), 5))
    assert first_suggestions(
        TOY, sampler, 1234, 2, METRIC, before=study_in(storage, sampler).trials,
        objectives=OBJECTIVES,
    )  # fmt: skip
    second = run_alone(search(study_in(storage, sampler), 14))
    assert [config["trial"] for config in first + second] == list(range(14))
    apart = ("trial", "seed")
    drawn = [{n: v for n, v in each.items() if n not in apart} for each in first + second]
    assert len({str(settings) for settings in drawn}) == 14


def test_tpe_finds_more_of_the_front_than_chance() -> None:
    """By the share of the last trials that are within the limit, and their quality."""
    reached = {}
    for sampler in ("tpe", "random"):
        values = []
        for seed in range(3):
            configs = run_alone(search(study_in(None, sampler, seed=seed), 50))[-15:]
            values += [quality(config) if latency_of(config) <= 4 else 0.0 for config in configs]
        reached[sampler] = sum(values) / len(values)
    assert reached["tpe"] > reached["random"] + 0.1


def test_tpe_starts_from_a_latin_hypercube_too() -> None:
    configs = run_alone(search(study_in(None), STARTUP_TRIALS))
    cells = Counter(config["cell"] for config in configs)
    assert len(set(cells.values())) == 1


def test_an_interrupted_trial_knows_its_evaluations(storage: str) -> None:
    study = study_in(storage)
    before = search(study, 2)
    before.suggest("a")
    before.on_trial_result("a", {**reported(0.5, 200, 3.5), "earlier": [evaluation(0.4, 100)]})
    again = search(study_in(storage), 2)
    config = again.suggest("b")
    assert isinstance(config, dict)
    assert config["trial"] == 0
    assert again.known_values("b") == {100: 0.4, 200: 0.5}
    assert again.known_evaluations("b") == {
        100: {METRIC: 0.4, "latency": 3.5},
        200: {METRIC: 0.5, "latency": 3.5, "seconds": 2.0},
    }
    again.on_trial_complete("b", reported(0.45, BUDGET, 3.8, finished=True))
    (ended,) = again.ended()
    assert ended.values == {100: 0.4, 200: 0.5, BUDGET: 0.45}
    assert ended.evaluations[BUDGET] == {METRIC: 0.45, "latency": 3.8, "seconds": BUDGET / 100}
    trial = study_in(storage).trials[0]
    assert trial.values == [0.5, 3.8, BUDGET / 100]
    assert trial.intermediate_values == {}
    assert set(trial.user_attrs[EVALUATIONS]) == {"100", "200", "400"}


def test_a_constraint_that_was_noted_before_a_kill_stays(storage: str) -> None:
    first = search(study_in(storage), 1)
    first.suggest("a")
    first.on_trial_result("a", reported(0.5, 100, 5.0))
    first._trials["a"].set_constraint("latency", 0.25)
    again = search(study_in(storage), 1)
    again.suggest("b")
    again.on_trial_complete("b", reported(0.6, BUDGET, 6.0, finished=True))
    assert study_in(storage).trials[0].constraints == {"latency": 0.25}


def test_failed_and_timed_out_trials(tmp_path: Path) -> None:
    study = study_in(None)
    attempts = RetryTracker(Storage(tmp_path), retries=1)
    running = search(study, 3, attempts=attempts)
    running.suggest("a")
    running.on_trial_result("a", reported(0.5, 100, 3.0))
    running.on_trial_complete("a", error=True)
    again = running.suggest("b")
    assert isinstance(again, dict)
    assert again["trial"] == 0
    assert running.known_values("b") == {100: 0.5}
    running.on_trial_complete("b", error=True)
    running.suggest("c")
    running.run_out("c")
    running.on_trial_complete("c", reported(0.6, 100, 3.0))
    running.suggest("d")
    running.close()
    outcomes = [trial.outcome for trial in running.ended()]
    assert outcomes == ["failed", "out_of_time", "out_of_time"]
    states = [TrialState.FAIL, TrialState.PRUNED, TrialState.FAIL]
    assert [trial.state for trial in study.trials] == states
    assert [trial.values for trial in study.trials] == [None, None, None]


def test_a_study_keeps_its_objectives(storage: str) -> None:
    study_in(storage)
    for further in ((), ("latency",)):
        with pytest.raises(InputError, match="another objective: resume it with the same"):
            make_study(storage, "toy", METRIC, TOY, further=further)


def past_trial(
    source: str, outcome: Any = "completed", costs: Mapping[str, float] | None = None
) -> PastTrial:
    settings = {"cell": "gru", "optimizer": "adam", "dropout": 0.1, "learning_rate": 0.001}
    costs = {"latency": 5.0, "seconds": 9.0} if costs is None else costs
    return PastTrial(source, settings, outcome, 0.8, {100: 0.7, 400: 0.8}, costs)


def test_past_trials_count_where_all_their_objectives_are_known() -> None:
    study = study_in(None)
    past = [
        past_trial("whole"),
        past_trial("without-latency", costs={"seconds": 9.0}),
        past_trial("stopped", "stopped_early", costs={}),
    ]
    assert warm_start(study, past, TOY, OBJECTIVES) == WarmStart(used=2, skipped=1)
    whole, stopped = study.trials
    assert (whole.state, whole.values) == (TrialState.COMPLETE, [0.8, 5.0, 9.0])
    assert whole.constraints == {"latency": 0.25}
    assert (stopped.state, stopped.values) == (TrialState.PRUNED, None)
    assert stopped.user_attrs[EVALUATIONS] == {"100": {METRIC: 0.7}, "400": {METRIC: 0.8}}
    assert warm_start(study, past, TOY, OBJECTIVES) == WarmStart(used=2, skipped=1)
    assert len(study.trials) == 2
    assert len(run_alone(search(study, 14))) == 14


def test_nsga2_takes_no_prior() -> None:
    plain: dict[str, Any] = {"prior": {"cell": "gru"}, "cell": {"choice": ["gru", "rnn"]}}
    space = SearchSpace.from_mapping(plain)
    with pytest.raises(InputError, match="--sampler nsga2: it takes no trial that a prior"):
        make_sampler("nsga2", space, 1)


def test_beliefs_are_judged_by_the_first_objective() -> None:
    study = study_in(None)
    running = search(study, 4 * LEAST)
    for number in range(4 * LEAST):
        config = running.suggest(str(number))
        assert isinstance(config, dict)
        believed = number % 2 == 0
        if believed:
            trial = running._trials[str(number)]
            study._storage.set_trial_system_attr(trial._trial_id, FROM_PRIOR, number)
        value = 0.5 if believed else 0.8
        running.on_trial_complete(str(number), reported(value, BUDGET, 1.0, finished=True))
    assert is_refuted(study)
