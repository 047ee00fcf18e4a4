"""A sweep's winner in the registry: its version, and whether the alias `challenger` moves to it.

The challenger is what `sweeps.promote` takes by default. It moves to a winner that is better on
validation than the present one of the same data. Across data sets validation does not compare, and
who searches on other data wants that model next: it moves there too, and the output says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from sentiment.config import Objective
from sentiment.data.datasets import DataConfig, Dataset
from sentiment.tracking.model_uri import DATA_TAG, version_of_alias
from sweeps.registry.look_count import add_look, count_looks
from sweeps.registry.store_lock import one_at_a_time
from sweeps.registry.versions import CHALLENGER, register, version_of_run

Reason = Literal["first", "better", "not_better", "other_data", "unknown", "asked", "kept"]


@dataclass(frozen=True)
class ChallengerState:
    """Which version is the challenger now that a winner is registered, and why.

    Attributes:
        winner: the winner's version.
        before: the version that was the challenger; None if none was.
        reason: `first`: there was none; `better`, `not_better`: on validation of the same data;
            `other_data`: the one before was trained on other data; `unknown`: its validation is not
            recorded; `asked`: `--as-challenger`; `kept`: there was nothing to decide.
        objective: the validation metric that decides.
        value: the winner's.
        value_before: that of the version before; None if it isn't known.
        data_before: name of its data set.
    """

    winner: int
    before: int | None
    reason: Reason
    objective: str
    value: float
    value_before: float | None = None
    data_before: str | None = None

    @property
    def moved(self) -> bool:
        """Whether the alias was moved to the winner."""
        return self.reason not in ("not_better", "kept") and self.before != self.winner

    @property
    def is_winner(self) -> bool:
        """Whether the winner is the challenger now."""
        return self.moved or self.before == self.winner

    def sentence(self) -> str:
        """Return which version is the challenger, and why, to follow `registered as version …`."""
        if self.before is None or self.before == self.winner:
            return f", alias {CHALLENGER}" if self.is_winner else f"; there is no {CHALLENGER}"
        if not self.moved:
            stays = f"; the alias {CHALLENGER} stays at version {self.before}"
            if self.reason == "kept":
                return stays
            side = "below" if self.objective == "valid/loss" else "above"
            return f"{stays}: {self.objective} {self.value:.4f} is not {side} its {self._before()}"
        moved = f", alias {CHALLENGER}, which was at version {self.before}"
        if self.reason == "other_data":
            return (
                f"{moved}: that was trained on other data ({self.data_before}), so "
                f"{self.objective} does not compare ({self.value:.4f} here, {self._before()} there)"
            )
        why = " (--as-challenger)" if self.reason == "asked" else ""
        return f"{moved}: {self.objective} {self.value:.4f}, before {self._before()}{why}"

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for `--json`."""
        return {
            "version": self.winner if self.is_winner else self.before,
            "before": self.before,
            "moved": self.moved,
            "reason": self.reason,
            self.objective: self.value,
            f"before/{self.objective}": self.value_before,
        }

    def _before(self) -> str:
        return "not recorded" if self.value_before is None else f"{self.value_before:.4f}"


@dataclass(frozen=True)
class RegisteredWinner:
    """A sweep's winner in the registry.

    Attributes:
        version: its number.
        challenger: which version is the challenger.
        test_looks: how often models of this name were scored on the test split of its data.
    """

    version: int
    challenger: ChallengerState
    test_looks: int


def register_winner(
    client: MlflowClient,
    name: str,
    *,
    model_id: str,
    run_id: str,
    sweep: str,
    data: DataConfig,
    dataset: Dataset,
    objective: Objective,
    validation: Mapping[str, float],
    test: Mapping[str, float],
    description: str = "",
    as_challenger: bool = False,
) -> RegisteredWinner:
    """Register a sweep's best trial, as the challenger where it is the better one.

    A registration that was interrupted can be repeated.

    Args:
        client: client of the store.
        name: the registered model.
        model_id: the trial's logged model.
        run_id: the trial's run.
        sweep: the sweep's name.
        data: where the data set came from; a promotion loads it again from there.
        dataset: the data set.
        objective: what the sweep's trials were ranked by.
        validation: its metrics on the validation split, as `best/valid/accuracy`.
        test: its metrics on the test split, as `test/accuracy`, just scored.
        description: for a reader, in Markdown.
        as_challenger: make it the challenger, whatever the present one is.
    """
    known = version_of_run(client, name, run_id)
    version = register(
        client,
        name,
        model_id=model_id,
        run_id=run_id,
        tags={
            "sweep.name": sweep,
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            DATA_TAG: data.model_dump_json(exclude_defaults=True),
            "objective": objective,
            **{metric: repr(float(value)) for metric, value in {**validation, **test}.items()},
        },
        description=description,
    )
    number = int(version.version)
    if known is None:
        looks = add_look(client, name, dataset.fingerprint, of=number)
    else:
        looks = count_looks(client, name, dataset.fingerprint)
    state = move_challenger(client, name, version, objective, forced=as_challenger)
    return RegisteredWinner(number, state, looks)


def registered_winner(
    client: MlflowClient, name: str, version: ModelVersion, objective: Objective
) -> RegisteredWinner:
    """Return the state of a winner that was registered before; nothing is moved."""
    state = _decided(client, name, version, objective, "kept")
    looks = count_looks(client, name, version.tags.get("dataset_fingerprint", ""))
    return RegisteredWinner(int(version.version), state, looks)


def move_challenger(
    client: MlflowClient,
    name: str,
    version: ModelVersion,
    objective: Objective,
    *,
    forced: bool = False,
) -> ChallengerState:
    """Move the alias `challenger` to a version if it is to have it.

    Args:
        client: client of the store.
        name: the registered model.
        version: a sweep's winner.
        objective: what the sweep's trials were ranked by.
        forced: move it in any case.
    """
    with one_at_a_time(client.tracking_uri):
        state = _decided(client, name, version, objective, "asked" if forced else None)
        if state.moved:
            client.set_registered_model_alias(name, CHALLENGER, version.version)
    return state


def _decided(
    client: MlflowClient,
    name: str,
    version: ModelVersion,
    objective: Objective,
    given: Reason | None,
) -> ChallengerState:
    """Compare a winner with the present challenger; `given` is the reason that decides instead."""
    present = version_of_alias(client, name, CHALLENGER)
    value = validation_of(client, version, objective)
    assert value is not None, "a winner was chosen by its validation"
    number = int(version.version)
    if present is None:
        return ChallengerState(number, None, given or "first", objective, value)
    before = validation_of(client, present, objective)
    if present.version == version.version:
        given = "kept"
    elif given is None:
        same = present.tags.get("dataset_fingerprint") == version.tags["dataset_fingerprint"]
        given = _compared(objective, value, before) if same else "other_data"
    return ChallengerState(
        number,
        int(present.version),
        given,
        objective,
        value,
        before,
        present.tags.get("dataset", "not recorded which"),
    )


def _compared(objective: Objective, value: float, before: float | None) -> Reason:
    if before is None:
        return "unknown"
    better = value < before if objective == "valid/loss" else value > before
    return "better" if better else "not_better"


def validation_of(client: MlflowClient, version: ModelVersion, objective: str) -> float | None:
    """Return a version's validation metric: of its tags, or else of its run; None if unknown."""
    key = f"best/{objective}"
    with suppress(KeyError, ValueError):  # anybody who can write to the store may edit a tag
        return float(version.tags[key])
    if not version.run_id:
        return None
    try:
        value: float | None = client.get_run(version.run_id).data.metrics.get(key)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return value
