"""A population in turns: trained for real on a toy task, interrupted anywhere, and resumed.

Ray's part is played by a loop over two places; trainings, checkpoints and the study are the sweep's
own.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher
from toy_corpus import corpus_of

from sentiment.config import Config
from sentiment.training.checkpoint import load_checkpoint, save_checkpoint
from sentiment.training.evaluation import Evaluation
from sentiment.training.trainer import Trainer
from sweeps.search.population_searcher import PopulationSearcher
from sweeps.search.rungs import TURNS, plan_turns
from sweeps.search.schedulers import PopulationTurns
from sweeps.search.study import ENDED_BY, make_study
from sweeps.search.trial_attributes import POPULATION
from sweeps.space.space import SearchSpace
from sweeps.trials.checkpoint_storage import Storage
from sweeps.trials.protocol import ADOPTED, RESULTS
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import CHECKPOINT, TAKEOVERS, hyperparameters

METRIC = "valid/loss"
TRIALS = 6
CORPUS = corpus_of()
RUNGS = plan_turns(2, 300)
SPACE = SearchSpace.from_mapping(
    {
        "learning_rate": {"float": [1e-4, 3e-2], "log": True},
        "dropout": {"float": [0.0, 0.5]},
    }
).fix({"cell": "gru", "hidden_dim": 4, "embedding": "random", "embedding_dim": 4, "batch_size": 16})


class Interrupted(Exception):  # noqa: N818 - not an error
    """The search is interrupted."""


class RayTrial:
    """What the scheduler reads of a trial of Ray's."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id, self.placement_group_factory = trial_id, "one core"


class Controller:
    """What the scheduler reads of Ray's controller: how many workers it may keep."""

    def __init__(self) -> None:
        self._tune_controller = self._actor_cache = self
        self.kept = 0

    def increase_max(self, key: str, by: int) -> None:
        assert key == "one core"
        self.kept += by


class Population:
    """One search over a population, in a folder."""

    def __init__(self, folder: Path, failing: int | None = None) -> None:
        self.folder = folder
        self.failing = failing
        self.trials = TRIALS
        self.starts: list[tuple[int, int]] = []

    def study(self) -> Study:
        storage = f"sqlite:///{self.folder}/study.db"
        return make_study(storage, "toy", METRIC, SPACE, "random", seed=3)

    def search(self) -> PopulationSearcher:
        return PopulationSearcher(
            self.study(),
            SPACE,
            metric=METRIC,
            max_trials=self.trials,
            budget=RUNGS.budget,
            seed=5,
            base={"epochs": 2, "objective": METRIC, "precision": "float32", **RUNGS.evaluations},
            milestones=RUNGS.milestones,
            attempts=RetryTracker(Storage(self.folder / "ray")),
        )

    def run(self, interrupted_after: int = 0) -> list[FrozenTrial]:
        """Train until the search is over, or is interrupted after so many evaluations."""
        search = self.search()
        scheduler = PopulationTurns(RUNGS.milestones, search.known_values, search.end_turn)
        controller, places = Controller(), random.Random(interrupted_after)
        running: dict[str, Generator[dict[str, Any], None, None]] = {}
        draws: dict[str, torch.Tensor] = {}
        evaluations = 0
        while True:
            suggested: Any = None
            while len(running) < 2:
                trial_id = uuid.uuid4().hex
                suggested = search.suggest(trial_id)
                if not isinstance(suggested, dict):
                    break
                scheduler.on_trial_add(controller, RayTrial(trial_id))  # type: ignore[arg-type]
                running[trial_id] = self.train(trial_id, suggested)
            if not running:
                assert suggested == Searcher.FINISHED
                assert controller.kept > 0
                return self.study().trials
            trial_id = places.choice(list(running))
            # Each worker is a process, with random numbers of its own.
            torch.set_rng_state(draws.get(trial_id, torch.get_rng_state()))
            result = next(running[trial_id])
            draws[trial_id] = torch.get_rng_state()
            if "failure" in result:
                search.on_trial_complete(trial_id, result)
                del running[trial_id]
                continue
            evaluations += 1
            if evaluations == interrupted_after:
                raise Interrupted
            ended = result["finished"]
            if not ended:
                ended = scheduler.on_trial_result(None, RayTrial(trial_id), result) == "STOP"  # type: ignore[arg-type]
            if ended:
                search.on_trial_complete(trial_id, result)
                del running[trial_id]
            else:
                search.on_trial_result(trial_id, result)

    def train(self, trial_id: str, config: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """Train one start of a trial as a worker does, with a checkpoint at each evaluation."""
        number, adopted = config["trial"], 0
        results: list[dict[str, Any]] = []
        trainer = Trainer(Config.from_flat(hyperparameters(config)), CORPUS)
        if config.get(CHECKPOINT):
            notes = load_checkpoint(trainer, self.folder / "ray" / config[CHECKPOINT])
            results, adopted = notes[RESULTS], notes[ADOPTED]
            if len(results) > adopted:
                # A worker reports the evaluation at which it was written once more.
                yield results[-1]
        self.starts.append((number, trainer.examples))
        for index, evaluation in enumerate(trainer.evaluations()):
            if number == self.failing and trainer.examples > 200:
                yield {"failure": "it can't be trained", "examples": trainer.examples}
                return
            place = self.folder / "ray" / f"{number:05d}-{trial_id}" / f"checkpoint_{index:06d}"
            place.mkdir(parents=True)
            best = {**trainer.best_metrics, "examples": trainer.best_examples}
            results.append({**result_of(evaluation), "best": best})
            save_checkpoint(trainer, place, {RESULTS: results, ADOPTED: adopted})
            yield results[-1]


def result_of(evaluation: Evaluation) -> dict[str, Any]:
    return {
        METRIC: evaluation.metrics[METRIC],
        "examples": evaluation.examples,
        "finished": evaluation.finished,
    }


def told(trials: list[FrozenTrial]) -> list[Any]:
    """What a study knows of a population, but for the times."""
    without_time = [
        [{k: v for k, v in each.items() if k != "at"} for each in taken_over(trial)]
        for trial in trials
    ]
    return [
        (trial.state, trial.params, trial.values, trial.intermediate_values, taken)
        for trial, taken in zip(trials, without_time, strict=True)
    ]


def taken_over(trial: FrozenTrial) -> list[dict[str, Any]]:
    return list(trial.user_attrs[POPULATION][TAKEOVERS])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Population:
    population = Population(tmp_path_factory.mktemp("whole"))
    population.run()
    return population


def test_all_trials_take_turns_to_the_full_budget(whole: Population) -> None:
    trials = whole.study().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * TRIALS
    steps = [sorted(trial.intermediate_values) for trial in trials]
    for own in steps:
        assert len(own) == TURNS
        assert all(step >= at for step, at in zip(own, RUNGS.milestones, strict=False))
    # Each turn of all trials comes before the next turn of any.
    turns = [sum(at <= examples for at in RUNGS.milestones) for _, examples in whole.starts]
    assert turns == sorted(turns)
    assert len(turns) == TRIALS * TURNS


def test_the_weak_take_over_weights_and_settings(whole: Population) -> None:
    trials = whole.study().trials
    taken = {trial.number: taken_over(trial) for trial in trials}
    assert sum(map(len, taken.values())) >= TURNS
    for trial in trials:
        for each in taken[trial.number]:
            donor = trials[each["donor"]].intermediate_values
            turn = sum(each["examples"] >= at for at in RUNGS.milestones)
            reached, own = sorted(donor)[turn - 1], sorted(trial.intermediate_values)[turn - 1]
            assert donor[reached] < trial.intermediate_values[own]
            assert each["examples"] == max(reached, own)
            assert each["best"][METRIC] <= donor[reached]
    # The value is that of the weights that a trial has, not of those that it gave up.
    for trial in trials:
        since = max((each["examples"] for each in taken[trial.number]), default=0)
        own = [value for step, value in trial.intermediate_values.items() if step > since]
        inherited = [each["best"][METRIC] for each in taken[trial.number][-1:]]
        assert trial.value == min(own + inherited)


def test_a_trial_that_took_over_has_the_other_settings(whole: Population) -> None:
    ended = {trial.number: trial for trial in whole.search().ended()}
    changed = 0
    for trial in whole.study().trials:
        config, taken = ended[trial.number].config, taken_over(trial)
        searched = {name: config[name] for name in SPACE.dimensions}
        if taken:
            changed += 1
            assert searched == taken[-1]["settings"]
            assert config[TAKEOVERS]["first"] == trial.params
            assert config[TAKEOVERS][TAKEOVERS] == taken
        else:
            assert searched == trial.params
            assert TAKEOVERS not in config
    assert changed >= 2


def test_earlier_checkpoints_go(whole: Population) -> None:
    kept = list((whole.folder / "ray").iterdir())
    # The newest start of each before the last turn, and that turn.
    assert len(kept) == 2 * TRIALS


@pytest.mark.parametrize("after", [13, 20, 31, 47])
def test_an_interrupted_population_ends_as_another(
    after: int, whole: Population, tmp_path: Path
) -> None:
    population = Population(tmp_path)
    with pytest.raises(Interrupted):
        population.run(interrupted_after=after)
    with pytest.raises(Interrupted):
        population.run(interrupted_after=4)
    assert told(population.run()) == told(whole.study().trials)
    assert population.search().suggest("more") == Searcher.FINISHED


@pytest.mark.parametrize("copies", [0, 1, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_turn_that_was_cut_off_between_two_copies_is_decided_again(
    copies: int, when: str, whole: Population, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = RetryTracker.take_over, []

    def cut_off(self: RetryTracker, *arguments: Any) -> bool:
        calls.append(arguments)
        if len(calls) > copies and when == "before":
            raise Interrupted
        taken = real(self, *arguments)
        if len(calls) > copies:
            raise Interrupted
        return taken

    population = Population(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(RetryTracker, "take_over", cut_off)
        population.run()
    assert told(population.run()) == told(whole.study().trials)


def test_a_failed_trial_leaves_the_population(tmp_path: Path) -> None:
    population = Population(tmp_path, failing=2)
    trials = population.run()
    states = [trial.state for trial in trials]
    assert states[2] == TrialState.FAIL
    assert states.count(TrialState.COMPLETE) == TRIALS - 1
    late = [
        each["donor"] for trial in trials for each in taken_over(trial) if each["examples"] > 300
    ]
    assert late
    assert 2 not in late


def test_trials_that_wait_are_out_of_time_with_the_others(tmp_path: Path) -> None:
    population = Population(tmp_path)
    search = population.search()
    scheduler = PopulationTurns(RUNGS.milestones, search.known_values, search.end_turn)
    config = search.suggest("a")
    assert isinstance(config, dict)
    scheduler.on_trial_add(Controller(), RayTrial("a"))  # type: ignore[arg-type]
    result = next(population.train("a", config))
    assert scheduler.on_trial_result(None, RayTrial("a"), result) == "STOP"  # type: ignore[arg-type]
    search.on_trial_complete("a", result)
    assert search.has_ended_turn("a")
    assert isinstance(search.suggest("b"), dict)
    search.stop()
    assert search.suggest("c") == Searcher.FINISHED
    search.close()
    trials = population.study().trials
    assert [trial.state for trial in trials] == [TrialState.PRUNED, TrialState.FAIL]
    assert all(trial.user_attrs[ENDED_BY] == "time budget" for trial in trials)


def test_trials_that_a_resume_adds_are_compared_with_one_another(tmp_path: Path) -> None:
    population = Population(tmp_path)
    with pytest.raises(Interrupted):
        population.run(interrupted_after=3 * TRIALS)
    population.trials = TRIALS + 4
    trials = population.run()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * (TRIALS + 4)
    for trial in trials:
        for each in taken_over(trial):
            turn = sum(each["examples"] >= at for at in RUNGS.milestones)
            donor = sorted(trials[each["donor"]].intermediate_values)
            # What is taken over is of the same turn.
            assert each["best"]["examples"] <= donor[turn - 1]
