"""Replayed sweeps on curves that are written down here: their clock, decisions and measures."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recorded_curves import Recorded, Training
from benchmarks.replay import RESTART_SECONDS, Problem, Replayed, evaluated_at, replay
from benchmarks.search_arms import FULL, ONCE, OURS, Arm
from benchmarks.search_regret import Clock, best_value, measure
from benchmarks.surrogate import Surrogate
from sentiment.errors import InputError
from sweeps.search.rungs import plan_rungs
from sweeps.space.space import SearchSpace

RECORDED = Recorded("tiny", "cpu", 1.5, 800, (100, 200, 300))
SPACE = SearchSpace.load("cpu")
CELLS = ("rnn", "gru", "lstm")
ENDS = (75, 150, 300, 450, 600, 750, 900, 1050, 1200)


def training(number: int, seed: int, cell: str, rate: float) -> Training:
    """A curve that grows evenly to a level by the cell; a second a hundred examples."""
    level = {"rnn": 0.6, "gru": 0.8, "lstm": 0.7}[cell] + 0.02 * seed
    settings = {
        **SPACE.fixed,
        **SPACE.enqueued[0],
        "cell": cell,
        "learning_rate": rate,
    }
    curve = tuple((at, 0.5 + (level - 0.5) * at / ENDS[-1], at / 100 + 0.1) for at in ENDS)
    return Training(number, seed, settings, curve, 0.5, 0.01, 1000)


def trainings(seeds: int = 1) -> list[Training]:
    return [
        training(number, seed, CELLS[number % 3], 10 ** (-4 + 2 * number / 30))
        for seed in range(seeds)
        for number in range(31)
    ]


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem(Surrogate(RECORDED, trainings()))


def values(sweep: Replayed) -> list[float]:
    return [trial.expected.accuracy(1200) for trial in sweep.trials]


def test_a_surrogate_gives_back_what_was_recorded(problem: Problem) -> None:
    for each in trainings()[:3]:
        expected = problem.surrogate.expect(each.settings)
        assert expected.accuracy(1200) == pytest.approx(each.curve[-1][1], abs=0.01)
        assert expected.accuracy(225) == pytest.approx(
            (each.curve[1][1] + each.curve[2][1]) / 2, abs=0.01
        )
        # 12.1 seconds less 9 evaluations, for 1,200 examples.
        assert expected.example_seconds == pytest.approx((12.1 - 0.09) / 1200, rel=0.02)
        assert expected.evaluation_seconds == pytest.approx(0.01, rel=0.02)
        assert expected.start_seconds == 0.5


def test_noise_is_what_two_seeds_of_like_settings_differ_by() -> None:
    surrogate = Surrogate(RECORDED, trainings(seeds=2))
    expected = surrogate.expect(trainings()[1].settings)
    noise = surrogate.noise(expected, np.random.default_rng(0))
    low, high = (np.log(value / (1 - value)) for value in (0.8, 0.82))
    assert abs(noise[-1]) == pytest.approx((high - low) / np.sqrt(2), rel=0.35)
    assert len({np.sign(each) for each in noise}) == 1
    assert Surrogate(RECORDED, trainings()).noise(expected, np.random.default_rng(0)).max() == 0


def test_a_failed_seed_takes_away_and_adds_to_none() -> None:
    known = trainings(seeds=2)
    failed = [
        Training(**{**vars(each), "curve": tuple((at, 0.5, s) for at, _, s in each.curve)})
        if each.seed and each.settings["cell"] == "gru"
        else each
        for each in known
    ]
    surrogate = Surrogate(RECORDED, failed)
    expected = surrogate.expect(trainings()[1].settings)
    assert expected.accuracy(1200) == pytest.approx(0.8, abs=0.01)
    draws = np.random.default_rng(0)
    seen = {round(expected.accuracy(1200, surrogate.noise(expected, draws)), 1) for _ in range(30)}
    assert seen == {0.5, 0.8}


def test_a_surrogate_without_noise_has_none() -> None:
    surrogate = Surrogate(RECORDED, trainings(seeds=2), noisy=False)
    expected = surrogate.expect(trainings()[1].settings)
    assert not surrogate.noise(expected, np.random.default_rng(0)).any()


def test_data_of_one_seed_takes_the_noise_of_other_data() -> None:
    surrogate = Surrogate(RECORDED, trainings(), noise=trainings(seeds=2))
    expected = surrogate.expect(trainings()[1].settings)
    assert surrogate.noise(expected, np.random.default_rng(0))[-1] != 0


def test_trainings_of_another_space_are_refused() -> None:
    known = trainings()
    odd = Training(**{**vars(known[0]), "settings": {**known[0].settings, "hidden_dim": 999}})
    with pytest.raises(InputError, match="configuration 0 is not of the space cpu as it is now"):
        Surrogate(RECORDED, [odd, *known[1:]])
    with pytest.raises(InputError, match="3 recorded configurations are too few"):
        Surrogate(RECORDED, known[:3])


def test_a_trial_is_evaluated_where_a_real_one_is() -> None:
    rungs = plan_rungs(1.5, 800)
    assert rungs.milestones == (150, 300, 600)
    assert evaluated_at(rungs, 800) == (150, 300, 600, 900, 1200)


def test_full_budgets_on_one_worker_take_the_sum_of_all_trials(problem: Problem) -> None:
    sweep = replay(problem, FULL, trials=6, workers=1, seed=3)
    each = [
        RESTART_SECONDS
        + trial.expected.start_seconds
        + 1200 * trial.expected.example_seconds
        + 5 * trial.expected.evaluation_seconds
        for trial in sweep.trials
    ]
    assert len(each) == 6
    assert sweep.seconds == pytest.approx(sum(each))
    assert {trial.outcome for trial in sweep.trials} == {"completed"}
    # Without noise the best curve wins, whose worth is that of its end.
    assert sweep.value == pytest.approx(max(values(sweep)))


def test_workers_share_the_trials(problem: Problem) -> None:
    one, four = (replay(problem, FULL, trials=8, workers=n, seed=3) for n in (1, 4))
    # Random search suggests the same, however many workers there are.
    assert values(one) == values(four)
    assert one.seconds / 4 <= four.seconds + 1e-9 < one.seconds / 3


def test_one_comparison_stops_whom_the_median_of_the_first_rung_is_above(problem: Problem) -> None:
    once = Arm("once", "random", ONCE, enqueued=False)
    sweep = replay(problem, once, trials=12, workers=1, seed=3)
    seen: list[float] = []
    for trial in sweep.trials:
        value = trial.expected.accuracy(150)
        stopped = bool(seen) and value < np.percentile(seen, 50)
        seen.append(value)
        assert trial.outcome == ("stopped_early" if stopped else "completed")
        assert trial.passed == (1 if stopped else 5)
    assert {trial.outcome for trial in sweep.trials} == {"completed", "stopped_early"}


def test_asha_stops_at_every_rung_and_spares_what_is_enqueued(problem: Problem) -> None:
    sweep = replay(problem, OURS, trials=20, workers=2, seed=0)
    assert {trial.passed for trial in sweep.trials if trial.outcome == "stopped_early"} <= {1, 2, 3}
    first = sweep.trials[0]
    assert {name: first.config[name] for name in SPACE.enqueued[0]} == SPACE.enqueued[0]
    assert first.outcome == "completed"


def test_a_warm_start_tries_the_best_of_other_data_first(problem: Problem) -> None:
    earlier = replay(problem, OURS, trials=16, workers=2, seed=0)
    for own in ([], [SPACE.enqueued[0]]):
        arm = Arm("warm", enqueued=bool(own), warm_start=True)
        sweep = replay(problem, arm, trials=8, workers=1, seed=0, earlier=earlier)
        best = max(earlier.trials, key=lambda trial: trial.best)
        tried = [
            {name: each.config.get(name) for name in SPACE.dimensions} for each in sweep.trials
        ]
        assert tried[0] == {name: best.config.get(name) for name in SPACE.dimensions}
        # At most four that differ in more than numbers, then what the space enqueues.
        shapes = [[str(each[name]) for name in SPACE.discrete] for each in tried[:4]]
        assert len({tuple(shape) for shape in shapes}) == 4
        for settings in own:  # once, where it is among these
            assert sum(settings.items() <= each.items() for each in tried) == 1
            assert any(settings.items() <= each.items() for each in tried[:5])


def test_the_same_seed_gives_the_same_sweep(problem: Problem) -> None:
    first, second, other = (
        replay(problem, OURS, trials=16, workers=2, seed=seed) for seed in (1, 1, 2)
    )
    assert [trial.config for trial in first.trials] == [trial.config for trial in second.trials]
    assert first.incumbents == second.incumbents
    assert [trial.config for trial in first.trials] != [trial.config for trial in other.trials]


def sweep_of(incumbents: list[tuple[float, float]], seconds: float) -> Replayed:
    return Replayed(seconds=seconds, incumbents=incumbents)


def test_ratios_are_times_to_what_the_base_has() -> None:
    base = [sweep_of([(10.0, 0.7), (100.0, 0.8)], 100.0)] * 3
    fast = [sweep_of([(5.0, 0.7), (20.0, 0.9)], 50.0)] * 3
    poor = [sweep_of([(5.0, 0.6)], 50.0)] * 3
    found = measure({"base": base, "fast": fast, "poor": poor}, "base", "fast", 0.95)
    assert [each.mean for each in found["fast"].ratios] == pytest.approx([0.2, 0.1, 0.2], rel=0.01)
    assert [each.mean for each in found["base"].ratios] == pytest.approx([0.4, 0.2, 1.0], rel=0.01)
    assert found["poor"].ratios[-1].mean == np.inf
    assert found["base"].ours.mean == pytest.approx(0.2, rel=0.01)
    assert found["poor"].ours.mean == pytest.approx(0.1, rel=0.01)
    assert found["fast"].regret.mean == pytest.approx(0.05)
    # When `fast` ends, the base has not found its best.
    assert found["base"].regret_then.mean == pytest.approx(0.25)
    assert found["base"].minutes == pytest.approx(100 / 60)


def test_intervals_cover_the_spread_of_seeds() -> None:
    base = [sweep_of([(1.0, 0.7 + 0.01 * seed)], 10.0) for seed in range(10)]
    regret = measure({"base": base}, "base", "base", 0.8)["base"].regret
    assert regret.mean == pytest.approx(0.8 - 0.745)
    assert 0.03 < regret.low < regret.mean < regret.high < 0.08


def test_a_clock_holds_the_incumbent_of_each_time() -> None:
    clock = Clock({"arm": [sweep_of([(1.0, 0.6), (4.0, 0.7)], 8.0)]})
    worth = clock.values["arm"][0]
    assert worth[clock.index(3.9)] == 0.6
    assert worth[clock.index(4.1)] == 0.7
    assert worth[-1] == 0.7


def test_the_best_settings_are_found(problem: Problem) -> None:
    assert best_value(problem.surrogate) == pytest.approx(0.8, abs=0.01)
