"""A search that is steered by beliefs, and forgets those that are wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial
from toy_search import BUDGET, METRIC, evaluation, quality, run_alone, search_over, study_in
from toy_space import TOY

from sweeps.search.positions import position_of, value_at
from sweeps.search.preview import first_suggestions
from sweeps.search.prior_sampler import FROM_PRIOR, draw, guided_trials, is_refuted
from sweeps.search.tpe import CostAwareTPESampler
from sweeps.space.prior import Belief, check_prior
from sweeps.space.space import SearchSpace

RIGHT = {
    "cell": Belief(("gru",), confidence=1.0),
    "learning_rate": Belief((8e-4, 1.2e-3), is_range=True, confidence=1.0),
}
WRONG = {
    "cell": Belief(("lstm",), confidence=1.0),
    "optimizer": Belief(("sgd",), confidence=1.0),
    "learning_rate": Belief((1e-4, 1.1e-4), is_range=True, confidence=1.0),
}


def with_prior(beliefs: dict[str, Belief]) -> SearchSpace:
    return replace(TOY, prior=check_prior(beliefs, TOY.dimensions, "prior"))


def searched(beliefs: dict[str, Belief], trials: int = 30, **more: Any) -> list[dict[str, Any]]:
    space = with_prior(beliefs)
    study = study_in(None, space, guided=guided_trials(trials), **more)
    return run_alone(search_over(study, trials, space))


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_every_other_trial_of_the_first_third_takes_what_is_believed(sampler: str) -> None:
    configs = searched(RIGHT, sampler=sampler)
    for config in configs[:10:2]:
        assert config["cell"] == "gru"
        assert 8e-4 <= config["learning_rate"] <= 1.2e-3
    others = configs[1:10:2]
    assert {config["cell"] for config in others} != {"gru"}
    drawn = [config["learning_rate"] for config in configs[:10:2]]
    assert len(set(drawn)) == len(drawn)


def test_what_is_not_believed_anything_of_is_modelled_beside_all_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modelled: dict[int, set[int]] = {}
    build = CostAwareTPESampler._build_parzen_estimator

    def note(
        self: Any, study: Study, space: Any, trials: list[FrozenTrial], handle_below: bool
    ) -> Any:
        newest = study.get_trials(deepcopy=False)[-1].number
        modelled.setdefault(newest, set()).update(trial.number for trial in trials)
        return build(self, study, space, trials, handle_below)

    monkeypatch.setattr(CostAwareTPESampler, "_build_parzen_estimator", note)
    space = with_prior({"cell": Belief(("gru",), confidence=1.0)})
    search = search_over(study_in(None, space, guided=40), 30, space)
    for number in range(30):
        config = search.suggest(str(number))
        if number < 24:  # the others run on
            search.on_trial_complete(str(number), evaluation(quality(config), BUDGET))
    assert set(range(25, 30)) <= modelled.keys()
    for number in range(25, 30):
        assert modelled[number] == set(range(number))


def test_beliefs_that_are_right_make_a_better_start() -> None:
    def best_of_ten(beliefs: dict[str, Belief], seed: int) -> float:
        return max(quality(config) for config in searched(beliefs, seed=seed)[:10])

    seeds = range(8)
    right = np.mean([best_of_ten(RIGHT, seed) for seed in seeds])
    without = np.mean([best_of_ten({}, seed) for seed in seeds])
    assert right > without + 0.01


def test_beliefs_that_are_wrong_are_forgotten() -> None:
    configs = searched(WRONG, 60)
    wrong = [
        number
        for number, config in enumerate(configs[:20])
        if (config["cell"], config["optimizer"]) == ("lstm", "sgd")
        and config["learning_rate"] <= 1.1e-4
    ]
    # Three of each sort are looked at, of 10 that the first third has.
    assert wrong == [0, 2, 4]
    best = max(quality(config) for config in configs)
    assert best > max(quality(config) for config in searched({}, 60)) - 0.05


def test_the_preview_and_a_resumed_search_draw_the_same(tmp_path: Path) -> None:
    space = with_prior(RIGHT)
    guided = guided_trials(12)
    shown = first_suggestions(space, "tpe", 1234, 4, METRIC, guided=guided)
    whole = run_alone(search_over(study_in(None, space, guided=guided), 4, space))
    assert [
        {name: config[name] for name in first} for config, first in zip(whole, shown, strict=True)
    ] == shown
    storage = f"sqlite:///{tmp_path}/study.db"
    run_alone(search_over(study_in(storage, space, guided=guided), 2, space))
    before = study_in(storage, space, guided=guided).get_trials()
    following = first_suggestions(space, "tpe", 1234, 2, METRIC, before=before, guided=guided)
    again = search_over(study_in(storage, space, guided=guided), 4, space)
    for number, suggestion in enumerate(following, start=2):
        config = again.suggest(f"again-{number}")
        assert {name: config[name] for name in suggestion} == suggestion
        believed = number % 2 == 0
        assert (
            config["cell"] == "gru" and 8e-4 <= config["learning_rate"] <= 1.2e-3
        ) or not believed


def test_judged_at_the_same_step() -> None:
    """A trial from beliefs that was stopped early is compared with what the others had by then."""
    space = with_prior(RIGHT)
    study = study_in(None, space, guided=100)
    for number in range(6):
        trial = study.ask()
        trial.set_user_attr("trial", number)
        space.suggest(trial)
        believed = FROM_PRIOR in study._storage.get_trial_system_attrs(trial._trial_id)
        assert believed == (number % 2 == 0)
        trial.report(0.6 if believed else 0.5, 100)
        if not believed:
            trial.report(0.9, 400)
        assert not is_refuted(study)
        study.tell(trial, 0.6 if believed else 0.9)
    assert not is_refuted(study)


@pytest.mark.parametrize(
    ("belief", "distribution", "low", "high"),
    [
        (Belief((2e-3,)), FloatDistribution(1e-4, 1e-2, log=True), 5e-4, 8e-3),
        (Belief((64, 128), is_range=True), IntDistribution(32, 256, step=32), 64, 128),
        (Belief((40,)), IntDistribution(8, 200, log=True), 14, 110),
        (Belief((0.2, 0.4)), FloatDistribution(0.0, 0.6), 0.02, 0.58),
    ],
)
def test_a_confident_draw_is_near_what_is_believed(
    belief: Belief, distribution: Any, low: float, high: float
) -> None:
    random = np.random.default_rng(1)
    sure = [draw(replace(belief, confidence=1.0), distribution, random) for _ in range(200)]
    inside = np.mean([low <= value <= high for value in sure])
    assert inside > 0.95
    unsure = [draw(replace(belief, confidence=0.0), distribution, random) for _ in range(200)]
    assert np.mean([low <= value <= high for value in unsure]) < inside
    assert all(
        distribution._contains(distribution.to_internal_repr(value)) for value in sure + unsure
    )


def test_a_choice_is_drawn_with_its_confidence() -> None:
    random = np.random.default_rng(2)
    cells = CategoricalDistribution(["rnn", "gru", "lstm"])
    drawn = [draw(Belief(("gru",), confidence=0.7), cells, random) for _ in range(2_000)]
    assert np.mean([each == "gru" for each in drawn]) == pytest.approx(0.7 + 0.3 / 3, abs=0.03)


@pytest.mark.parametrize(
    ("distribution", "value"),
    [
        (FloatDistribution(1e-4, 1e-2, log=True), 1e-3),
        (FloatDistribution(0.0, 0.6), 0.3),
        (IntDistribution(32, 256, step=32), 96),
        (IntDistribution(8, 200, log=True), 40),
    ],
)
def test_a_position_is_undone_by_its_value(distribution: Any, value: float) -> None:
    assert value_at(distribution, position_of(distribution, value)) == pytest.approx(value)
