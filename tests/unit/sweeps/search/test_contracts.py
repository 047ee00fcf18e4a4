"""What every scheduler with every sampler must do in Ray: interrupted, resumed, out of time.

Trainings are toys whose value follows from their settings; study, searcher, scheduler, rungs and
Ray are the sweep's own.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from toy_space import TOY

from sweeps.config import SAMPLERS, SCHEDULERS
from sweeps.execution.stoppers import TimeBudget
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.population import PBT
from sweeps.search.rungs import plan_rungs
from sweeps.search.schedulers import Resumable, make_scheduler
from sweeps.search.study import ENDED_BY, make_study

METRIC = "valid/accuracy"
TRIALS = 16
FAILING = 3
RUNGS = plan_rungs(1, 400)  # at 50, 100 and 200 of 400 examples
STEP = 50
# A population has a suite of its own, test_population_searcher.py: its trials end together.
COMPARING = [scheduler for scheduler in SCHEDULERS if scheduler != PBT]
PAIRS = [(scheduler, sampler) for scheduler in COMPARING for sampler in SAMPLERS]
QUICK = {("asha", "tpe"), ("hyperband", "random"), ("median", "gp")}


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
        ray.init(num_cpus=2, logging_level=logging.ERROR, **options)
        yield
        ray.shutdown()


def toy_trainable(seconds: float, failing: int, step: int, budget: int) -> type[tune.Trainable]:
    """Return a training that needs no import in the workers.

    Args:
        seconds: that an evaluation takes.
        failing: number of the trial that fails in its second step.
        step: examples between two evaluations.
        budget: examples after which it ends.
    """

    class Toy(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.settings, self.examples = new_config, 0
            return True

        def step(self) -> dict[str, Any]:
            time.sleep(seconds)
            self.examples += step
            if self.settings["trial"] == failing and self.examples == 2 * step:
                raise RuntimeError("this one fails")
            return {
                # What fails is the best before, so that nothing stops it first.
                "valid/accuracy": (self.settings["trial"] == failing)
                + 0.9
                - self.settings["dropout"]
                + self.examples / 1e5,
                "examples": self.examples,
                "finished": self.examples == budget,
                "done": self.examples == budget,
            }

    return Toy


class Killed(tune.Callback):
    """Ends a search in the middle of an event, after so many evaluations."""

    def __init__(self, after: int) -> None:
        self._left = after

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._left -= 1
        if self._left == 0:
            raise RuntimeError("killed here")


class Search:
    """One search, in a database: run, interrupted and resumed."""

    def __init__(self, folder: Path, scheduler: str, sampler: str) -> None:
        self._folder, self._scheduler, self._sampler = folder, scheduler, sampler
        self.told: Counter[int] = Counter()

    def study(self) -> Study:
        storage = f"sqlite:///{self._folder}/study.db"
        return make_study(storage, "s", METRIC, TOY, self._sampler, seed=7)

    def run(
        self, killed_after: int = 0, seconds: float = 0.0, time_budget: float | None = None
    ) -> list[FrozenTrial]:
        """Run what is left of the search and return its trials."""
        study = self.study()
        tell = study.tell

        def counted_tell(trial: Any, *values: Any, **options: Any) -> FrozenTrial:
            self.told[trial if isinstance(trial, int) else trial.number] += 1
            return tell(trial, *values, **options)

        study.tell = counted_tell  # type: ignore[method-assign]
        searcher = OptunaSearcher(
            study, TOY, metric=METRIC, max_trials=TRIALS, budget=RUNGS.budget, seed=7
        )
        scheduler = make_scheduler(self._scheduler, RUNGS, METRIC, searcher.known_values)
        if isinstance(scheduler, Resumable):
            scheduler.restore_trials(
                trial for trial in searcher.ended() if trial.outcome != "failed"
            )
        deadline = None if time_budget is None else time.monotonic() + time_budget
        tuner = tune.Tuner(
            toy_trainable(seconds, FAILING, STEP, RUNGS.budget),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=2,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"start-{time.monotonic_ns()}",
                storage_path=str(self._folder / "ray"),
                callbacks=[Killed(killed_after)],
                stop=None if deadline is None else TimeBudget(deadline, searcher),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        if killed_after:
            with pytest.raises((TuneError, RuntimeError)):
                tuner.fit()
        else:
            tuner.fit()
            searcher.close()
        return self.study().trials


def check_end(trial: FrozenTrial) -> None:
    """Check that the study knows a trial's evaluations, and how it ended."""
    steps = sorted(trial.intermediate_values)
    assert steps == list(range(STEP, STEP * len(steps) + 1, STEP))
    for step in steps:
        expected = (trial.number == FAILING) + 0.9 - trial.params["dropout"] + step / 1e5
        assert trial.intermediate_values[step] == pytest.approx(expected)
    if trial.number == FAILING:
        assert (trial.state, steps) == (TrialState.FAIL, [STEP])
    elif trial.state == TrialState.COMPLETE:
        assert steps[-1] == RUNGS.budget
        assert trial.value == max(trial.intermediate_values.values())
    else:
        assert trial.state == TrialState.PRUNED
        assert RUNGS.first <= steps[-1] < RUNGS.budget
        assert trial.value == trial.intermediate_values[steps[-1]]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("scheduler", "sampler"),
    [
        pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow, id="-".join(pair))
        for pair in PAIRS
    ],
)
def test_an_interrupted_search_has_all_its_trials_once(
    scheduler: str, sampler: str, tmp_path: Path
) -> None:
    search = Search(tmp_path, scheduler, sampler)
    # Somewhere in the first dozen trials, each pair elsewhere.
    before = search.run(killed_after=9 + PAIRS.index((scheduler, sampler)))
    ended = {trial.number for trial in before if trial.state.is_finished()}
    assert len(before) < TRIALS and any(not trial.state.is_finished() for trial in before)
    trials = search.run()
    assert [trial.user_attrs["trial"] for trial in trials] == list(range(TRIALS))
    assert search.told == dict.fromkeys(range(TRIALS), 1)
    for number in ended:
        assert trials[number] == before[number]
    for trial in trials:
        check_end(trial)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] >= 1
    assert states[TrialState.FAIL] == 1
    assert (states[TrialState.PRUNED] == 0) == (scheduler == "fifo")
    # Interrupted trials keep their settings.
    assert [trial.params for trial in trials[: len(before)]] == [t.params for t in before]
    # A search that is over has nothing left to do.
    assert search.run() == trials
    # Ray's snapshots lag behind the study, so the search leaves none.
    assert list((tmp_path / "ray").rglob("searcher-state*")) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "scheduler",
    [
        "asha",
        *(pytest.param(each, marks=pytest.mark.slow) for each in COMPARING if each != "asha"),
    ],
)
def test_a_search_that_is_out_of_time_leaves_nothing_running(
    scheduler: str, tmp_path: Path
) -> None:
    search = Search(tmp_path, scheduler, "random")
    trials = search.run(seconds=0.3, time_budget=4.0)
    assert 2 <= len(trials) < TRIALS
    assert all(trial.state.is_finished() for trial in trials)
    assert set(search.told.values()) == {1}
    over = [trial for trial in trials if trial.user_attrs.get(ENDED_BY)]
    assert len(over) <= 2
    for trial in over:
        assert trial.state == (TrialState.PRUNED if trial.intermediate_values else TrialState.FAIL)
        assert len(trial.intermediate_values) < RUNGS.budget // STEP
    # More time runs the rest, under the numbers that are left.
    trials = search.run()
    assert [trial.user_attrs["trial"] for trial in trials] == list(range(TRIALS))
    assert all(trial.state.is_finished() for trial in trials)
