"""Population based training behind Ray Tune: trials in turns, and what they take over between them.

Each turn of a trial is a start of its own, from its newest checkpoint, so that a population of any
size shares the workers there are, and continues after an interruption as a retried trial does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from sentiment.config import Config
from sweeps.search.optuna_searcher import OptunaSearcher
from sweeps.search.population import EXPLORED, exploits
from sweeps.search.trial_attributes import (
    POPULATION,
    TRIAL_NUMBER,
    Evaluations,
    curve,
)
from sweeps.space.space import SearchSpace
from sweeps.trials.retry import RetryTracker
from sweeps.trials.trainable import TAKEOVERS, hyperparameters


class PopulationSearcher(OptunaSearcher):
    """Starts all trials of a search, turn after turn; see `sweeps.search.population`.

    A turn ends at a milestone. Who has come to it waits for the others; then the weakest take over
    checkpoint and settings, and all start the next turn. The user attribute `POPULATION` of a trial
    holds the last turn that was decided, and what the trial has taken over; from it and the values
    that were reported an interrupted search decides the same again.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        *,
        milestones: Sequence[int],
        attempts: RetryTracker,
        **options: Any,
    ) -> None:
        """Take up the population where the study left it.

        Args:
            study: of `make_study`.
            space: what to search, all of it among `EXPLORED`.
            milestones: training examples at which turns end; the last turn ends with the budget.
            attempts: finds the checkpoints, and copies them.
            options: further arguments of `OptunaSearcher`.
        """
        super().__init__(study, space, attempts=attempts, **options)
        self._population_attempts = attempts
        self._milestones = tuple(milestones)
        self._turn_ended: set[str] = set()
        self._waiting: list[tuple[Trial, Evaluations]] = []
        in_turn: list[tuple[Trial, Evaluations]] = []
        ended = [(self._turns(reached), _decided(trial)) for trial, reached in self._interrupted]
        # Where one is decided and another is not, the decision was interrupted: none has continued.
        undecided = {turns for turns, decided in ended if turns > decided}
        for each, (turns, _) in zip(self._interrupted, ended, strict=True):
            (self._waiting if turns in undecided else in_turn).append(each)
        self._interrupted = in_turn

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the configuration of the next trial in this turn, or `Searcher.FINISHED`.

        None while the others of the population are still in theirs.
        """
        begun = self._next >= self._max_trials and not self._interrupted and not self._trials
        if begun and self._waiting and not self._stopped:
            self._begin_turn()
        return super().suggest(trial_id)

    def end_turn(self, trial_id: str) -> None:
        """Note that a trial of Ray's stops at the end of its turn, and will start again."""
        self._turn_ended.add(trial_id)

    def has_ended_turn(self, trial_id: str) -> bool:
        """Whether a trial of Ray's has stopped at the end of its turn, and will start again."""
        return trial_id in self._turn_ended

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Let a trial wait for the next turn, or report to the study how it ended."""
        if trial_id in self._trials and self.has_ended_turn(trial_id) and not error:
            if result:
                self._report(trial_id, result)
            self._waiting.append((self._trials.pop(trial_id), self._reached.pop(trial_id)))
            return
        super().on_trial_complete(trial_id, result, error)

    def close(self) -> None:
        """Report to the study also the trials that waited for their next turn."""
        self._interrupted += self._waiting
        self._waiting.clear()
        super().close()

    def _turns(self, reached: Evaluations) -> int:
        """Return how many turns a trial has ended that has these evaluations."""
        last = max(reached, default=0)
        return sum(last >= milestone for milestone in self._milestones)

    def _begin_turn(self) -> None:
        """Decide who takes over whose weights, and queue the trials of the next turn."""
        self._waiting.sort(key=lambda each: each[0].user_attrs[TRIAL_NUMBER])
        turn = min(self._turns(reached) for _, reached in self._waiting)
        milestone = self._milestones[turn - 1]
        # Further ones wait for those that a resume has added.
        members = {
            trial.user_attrs[TRIAL_NUMBER]: (trial, known)
            for trial, known in self._waiting
            if self._turns(known) == turn
        }
        configs = {
            number: self._config(trial, self._space.suggest(trial))
            for number, (trial, _) in members.items()
        }
        decided = exploits(
            {number: self._value_at(known, milestone) for number, (_, known) in members.items()},
            configs,
            self._space.distributions(),
            maximize=self._mode == "max",
            seed=self._seed,
            turn=turn,
        )
        for number, (trial, known) in members.items():
            if _decided(trial) >= turn:
                continue
            taken = list(_taken_over(trial))
            if number in decided:
                donor, settings = decided[number].donor, decided[number].settings
                config = Config.from_flat(hyperparameters({**configs[number], **settings}))
                best = self._population_attempts.take_over(number, donor, config)
                if best is not None:
                    at = round(time.time() * 1000)
                    taken.append(
                        {
                            "donor": donor,
                            "examples": max(*known, *members[donor][1]),
                            "settings": settings,
                            "best": best,
                            "at": at,
                        }
                    )
            trial.set_user_attr(POPULATION, {"turn": turn, TAKEOVERS: taken})
        for number in members:
            self._population_attempts.keep_newest(number)
        self._interrupted = list(members.values())
        self._waiting = [each for each in self._waiting if self._turns(each[1]) > turn]

    def _value_at(self, known: Evaluations, milestone: int) -> float:
        """Return the objective where a trial's turn ended."""
        return known[min(step for step in known if step >= milestone)][self._key]

    def _config(self, trial: Trial | FrozenTrial, settings: Mapping[str, Any]) -> dict[str, Any]:
        config = super()._config(trial, settings)
        taken = _taken_over(trial)
        if not taken:
            return config
        searched = {name: config[name] for name in EXPLORED if name in taken[-1]["settings"]}
        return {
            **config,
            **taken[-1]["settings"],
            TAKEOVERS: {"first": searched, TAKEOVERS: list(taken)},
        }

    def _values(self, trial: Trial, reached: Evaluations) -> list[float]:
        return [self._best_of_lineage(trial, reached)]

    def _best_of_lineage(self, trial: Trial, reached: Evaluations) -> float:
        """Return the best value of the weights that a trial has: of its own since it took over."""
        taken = _taken_over(trial)
        values = list(curve(reached, self._key).values())
        if taken:
            since = taken[-1]["examples"]
            own = [value for step, value in curve(reached, self._key).items() if step > since]
            values = [taken[-1]["best"][self._key], *own]
        return min(values) if self._mode == "min" else max(values)


def _decided(trial: Trial) -> int:
    """Return the last turn after which it was decided what a trial takes over."""
    return int(trial.user_attrs.get(POPULATION, {}).get("turn", 0))


def _taken_over(trial: Trial | FrozenTrial) -> Sequence[dict[str, Any]]:
    return trial.user_attrs.get(POPULATION, {}).get(TAKEOVERS, ())
