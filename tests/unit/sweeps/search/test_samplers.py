"""Which sampler fits which space, how the start of TPE is spread, and what it spends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import TrialState, create_trial
from toy_space import TOY

from sentiment.errors import InputError
from sweeps.search.positions import value_at
from sweeps.search.preview import first_suggestions
from sweeps.search.samplers import make_sampler, sampler_note
from sweeps.search.tpe import STARTUP_TRIALS, Cost
from sweeps.space.space import SearchSpace

# Which sampler fits which space


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_samplers_say_what_they_draw_at_random(sampler):
    note = sampler_note(sampler, TOY)
    assert note is not None
    assert "momentum" in note
    assert ("cell" in note) == (sampler == "cmaes")
    assert ("full budget" in note) == (sampler == "gp")


def test_samplers_have_nothing_to_say_where_all_fits():
    assert sampler_note("tpe", TOY) is None
    assert sampler_note("random", TOY) is None
    ranges = TOY.fix({"cell": "gru", "optimizer": "adam"})
    assert sampler_note("cmaes", ranges) is None


def test_cmaes_needs_two_ranges():
    narrow = TOY.fix({"hidden_dim": 64, "learning_rate": 1e-3})
    with pytest.raises(InputError, match=r"cmaes: it needs two .* has 1; use --sampler tpe"):
        make_sampler("cmaes", narrow, 1)


def test_gp_needs_something_to_search():
    everything = TOY.fix(first_suggestions(TOY, "random", 1, 1)[0])
    with pytest.raises(InputError, match="gp: the space has nothing to search"):
        make_sampler("gp", everything, 1)


def test_an_unknown_sampler_is_refused():
    with pytest.raises(
        InputError, match="--sampler tpee: unknown sampler 'tpee': did you mean tpe"
    ):
        make_sampler("tpee", TOY, 1)


# How the start of TPE is spread


def start(space: SearchSpace, seed: int, trials: int = STARTUP_TRIALS) -> list[dict[str, Any]]:
    """Return the first trials after those that the space enqueues."""
    enqueued = len(space.enqueued)
    return first_suggestions(space, "tpe", seed, enqueued + trials)[enqueued:]


@pytest.mark.parametrize("seed", range(8))
def test_each_dozen_takes_every_choice_as_often(seed):
    shown = start(SearchSpace.load("cpu"), seed, 3 * STARTUP_TRIALS)
    for first in range(0, len(shown), STARTUP_TRIALS):
        dozen = shown[first : first + STARTUP_TRIALS]
        for name, values in (
            ("cell", ("rnn", "gru", "lstm")),
            ("layers", (1, 2, 3)),
            ("bidirectional", (False, True)),
            ("hidden_dim", (32, 64, 128, 256)),
            ("embedding", ("random", "glove", "word2vec", "fasttext")),
            ("optimizer", ("sgd", "adam", "adamw", "rmsprop")),
        ):
            expected = dict.fromkeys(values, STARTUP_TRIALS // len(values))
            assert Counter(each[name] for each in dozen) == expected


@pytest.mark.parametrize("seed", range(8))
def test_a_dozen_takes_every_twelfth_of_a_range_once(seed):
    shown = start(SearchSpace.load("cpu"), seed)
    twelfths = sorted(int(each["dropout"] / 0.6 * STARTUP_TRIALS) for each in shown)
    assert twelfths == list(range(STARTUP_TRIALS))
    powers = sorted(math.log10(each["learning_rate"]) for each in shown)
    twelfths = [int((power + 4) / 2 * STARTUP_TRIALS) for power in powers]
    assert twelfths == list(range(STARTUP_TRIALS))


def test_hyperparameters_of_a_dozen_hardly_go_together():
    # Of 45 pairs of columns drawn by chance the most alike have 0.7 and more.
    for seed in range(8):
        shown = start(TOY, seed)
        columns = [[each["dropout"] for each in shown], [each["hidden_dim"] for each in shown]]
        assert abs(np.corrcoef(columns)[0, 1]) < 0.4


def test_what_is_not_active_is_not_drawn():
    shown = start(TOY, 1)
    assert sum("momentum" in each for each in shown) == STARTUP_TRIALS // 2
    assert all(("momentum" in each) == (each["optimizer"] == "sgd") for each in shown)


def test_the_start_goes_on_where_it_was_cut_off():
    def study(drawn: int) -> optuna.Study:
        return optuna.create_study(sampler=make_sampler("tpe", TOY, 5, drawn))

    whole = study(0)
    expected = [TOY.suggest(whole.ask()) for _ in range(STARTUP_TRIALS)]
    cut = study(0)
    first = [TOY.suggest(cut.ask()) for _ in range(5)]
    cut.sampler = make_sampler("tpe", TOY, 5, drawn=5)
    assert first + [TOY.suggest(cut.ask()) for _ in range(7)] == expected


def test_the_model_takes_over_after_a_dozen_ended():
    study = optuna.create_study(sampler=make_sampler("tpe", TOY, 5), direction="maximize")
    for number in range(STARTUP_TRIALS):
        trial = study.ask()
        taken = TOY.suggest(trial)
        assert not trial.relative_params
        trial.report(taken["dropout"], 1)
        study.tell(trial, state=TrialState.PRUNED if number % 2 else TrialState.FAIL)
    trial = study.ask()
    assert not trial.relative_params, "failed trials teach nothing"
    study.tell(trial, 0.5)
    for _ in range(STARTUP_TRIALS // 2 - 1):
        study.tell(study.ask(), 0.5)
    assert study.ask().relative_params


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_are_those_that_optuna_takes(direction, seed):
    random = np.random.default_rng(seed)
    study = optuna.create_study(sampler=make_sampler("tpe", TOY, 5), direction=direction)
    for number in range(80):
        values = [float(each) for each in random.integers(5, size=random.integers(4))]
        if values and random.random() < 0.2:
            values[-1] = math.nan
        complete = number % 3 == 0
        limits = {f"{_CONSTRAINTS_KEY}:latency": random.normal()} if number % 4 == 1 else {}
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                value=float(random.integers(5)) if complete else None,
                intermediate_values=dict(enumerate(values)),
                system_attrs=limits,
            )
        )
        if number % 20 == 7:
            study.add_trial(create_trial(state=TrialState.FAIL))
            study.ask()
        trials = study.get_trials(deepcopy=False)
        known = [trial for trial in trials if trial.state != TrialState.FAIL]
        ended = sum(trial.state != TrialState.RUNNING for trial in known)
        expected = _split_trials(study, known, default_gamma(ended))
        new = create_trial(state=TrialState.RUNNING)
        new.number = len(trials)
        found = study.sampler._divide(study, new)
        for own, theirs in zip(found, expected, strict=True):
            assert [trial.number for trial in own] == [trial.number for trial in theirs]
    assert [len(part) for part in found] == [8, 76]


# What TPE spends


def taken(cost: Cost | None, value: Callable[[dict[str, Any]], float]) -> list[dict[str, Any]]:
    """Return what TPE suggests after its start, in a search for the largest value."""
    study = optuna.create_study(
        sampler=make_sampler("tpe", TOY, 3, cost=cost), direction="maximize"
    )
    settings = []
    for _ in range(45):
        trial = study.ask()
        settings.append(TOY.suggest(trial))
        study.tell(trial, value(settings[-1]))
    return settings[STARTUP_TRIALS:]


def mean_width(settings: list[dict[str, Any]]) -> float:
    return float(np.mean([each["hidden_dim"] for each in settings]))


def test_of_equals_the_cheap_are_taken():
    def indifferent(settings: dict[str, Any]) -> float:
        return 1 - abs(settings["dropout"] - 0.3)

    thrifty = taken(lambda settings: settings.get("hidden_dim", 1) ** 2, indifferent)
    lavish = taken(lambda settings: settings.get("hidden_dim", 1) ** -2, indifferent)
    plain = taken(None, indifferent)
    assert mean_width(thrifty) < 0.7 * mean_width(plain) < 0.7 * mean_width(lavish)
    # What decides is found as well as before.
    for found in (thrifty, plain):
        assert np.median([indifferent(settings) for settings in found]) > 0.9


def test_what_is_better_is_taken_although_it_is_dear():
    found = taken(
        lambda settings: settings.get("hidden_dim", 1),
        lambda settings: settings["hidden_dim"] / 256,
    )
    assert mean_width(found[20:]) > 224


def test_the_cost_sees_what_the_space_fixes():
    seen: list[Mapping[str, Any]] = []

    def cost(settings: Mapping[str, Any]) -> float:
        seen.append(settings)
        return 1.0

    flat = taken(cost, lambda settings: settings["dropout"])
    assert flat == taken(None, lambda settings: settings["dropout"]), "equal costs change nothing"
    assert all(settings["pooling"] == "max" for settings in seen)
    joint = [settings for settings in seen if "momentum" not in settings]
    assert {settings["cell"] for settings in joint} == {"gru", "lstm"}
    assert all(isinstance(settings["hidden_dim"], int) for settings in joint)


# Values by their share of a distribution


@pytest.mark.parametrize(
    ("distribution", "share", "value"),
    [
        (FloatDistribution(1.0, 3.0), 0.25, 1.5),
        (FloatDistribution(1e-4, 1e-2, log=True), 0.5, 1e-3),
        (IntDistribution(1, 3), 0.34, 2),
        (IntDistribution(32, 256, step=32), 0.999, 256),
        # From 0.5 to 8.5 in four equal ratios of 17 ** 0.25.
        (IntDistribution(1, 8, log=True), 0.5, 2),
        (IntDistribution(1, 8, log=True), 0.999, 8),
    ],
)
def test_values_by_share(distribution, share, value):
    assert value_at(distribution, share) == pytest.approx(value)


@given(
    distribution=st.one_of(
        st.builds(
            lambda low, span, log: FloatDistribution(low, low + span, log=log),
            st.floats(1e-6, 1e3),
            st.floats(0, 1e3),
            st.booleans(),
        ),
        st.builds(
            lambda low, span, log: IntDistribution(low, low + span, log=log),
            st.integers(1, 1000),
            st.integers(0, 1000),
            st.booleans(),
        ),
        st.builds(
            lambda low, count, step: IntDistribution(low, low + count * step, step=step),
            st.integers(-1000, 1000),
            st.integers(0, 100),
            st.integers(1, 64),
        ),
    ),
    share=st.floats(0, 1, exclude_max=True),
)
def test_every_share_is_a_value_of_the_distribution(distribution: BaseDistribution, share: float):
    value = value_at(distribution, share)
    assert distribution._contains(distribution.to_internal_repr(value))
