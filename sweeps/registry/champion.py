"""The alias `champion` of a registered model: the version that is served, and how it moves.

`previous` is the alias of the champion before it. Every move leaves a tag on the registered model
(`sweeps.registry.alias_history`).

Optimistic concurrency: MLflow's aliases are last write wins, so a move first writes its tag, with
the sequence number after the last one. Of two moves with the same number the one whose tag sorts
first wins, and the other is withdrawn. On one machine a lock serializes them besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from sentiment.errors import InputError
from sentiment.tracking.model_uri import version_of_alias
from sentiment.tracking.registered_name import CHAMPION
from sweeps.registry.alias_history import (
    AliasChange,
    champions,
    next_move_tag,
    read_history,
    sequence_number,
)
from sweeps.registry.store_lock import one_at_a_time
from sweeps.registry.versions import all_versions

PREVIOUS = "previous"


class ChampionMovedError(RuntimeError):
    """A concurrent move of the champion came first; the message names its version."""


@dataclass(frozen=True)
class ChampionState:
    """The champion and its history at one moment; a move based on it fails once it is outdated.

    Attributes:
        champion: the champion's version; None if there is none.
        moves: the moves that led there by the names of their tags, the oldest first.
    """

    champion: ModelVersion | None
    moves: Mapping[str, AliasChange]

    @property
    def number(self) -> int | None:
        """The champion's number."""
        return int(self.champion.version) if self.champion else None


def champion_state(client: MlflowClient, name: str) -> ChampionState:
    """Return the present champion and its history; an empty state if the model isn't there.

    Raises:
        InputError: the tag of a move is malformed.
    """
    try:
        tags = client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return ChampionState(None, {})
    history = read_history(name, tags)
    return ChampionState(version_of_alias(client, name, CHAMPION), history)


def promote(
    client: MlflowClient,
    name: str,
    version: int,
    expected: ChampionState,
    figures: Mapping[str, float],
) -> AliasChange:
    """Make a version the champion, and the champion before it the previous.

    Args:
        client: client of the store.
        name: the registered model.
        version: the version.
        expected: the state in which the version was compared with the champion.
        figures: the metrics that decided; kept with the move and on the version.

    Raises:
        ChampionMovedError: the champion has moved since that state.
    """
    move = _move(client, name, "promote", expected, version, expected.number, dict(figures))
    for metric, value in figures.items():
        client.set_model_version_tag(name, str(version), f"promotion.{metric}", repr(value))
    return move


def rollback(client: MlflowClient, name: str, expected: ChampionState) -> AliasChange:
    """Undo the last move that isn't undone yet.

    Args:
        client: client of the store.
        name: the registered model.
        expected: the state in which the rollback was decided.

    Raises:
        InputError: there is no champion before the present one.
        ChampionMovedError: the champion has moved since that state.
    """
    _, after = rollback_step(client, name, expected)
    stack = _registered_targets(client, name, expected)
    previous = stack[-3] if len(stack) > 2 else None
    return _move(client, name, "rollback", expected, after, previous, {})


def rollback_step(client: MlflowClient, name: str, state: ChampionState) -> tuple[int, int]:
    """Return the version from which a rollback takes the alias, and the one that receives it.

    Raises:
        InputError: there is no champion before the present one.
    """
    stack = _registered_targets(client, name, state)
    if len(stack) < 2:
        gone = "; those before it were removed" if len(rollback_targets(state)) > 1 else ""
        raise InputError(f"the model {name!r} has no champion before the present one{gone}")
    return stack[-1], stack[-2]


def rollback_targets(state: ChampionState) -> list[int]:
    """Return the versions that a rollback can return to, the present champion last."""
    if state.number is None:
        return []
    stack = champions(list(state.moves.values()))
    if stack and stack[-1] != state.number:
        stack.append(state.number)  # it was set by hand
    return stack


def _registered_targets(client: MlflowClient, name: str, state: ChampionState) -> list[int]:
    """Return the rollback targets whose versions have not been removed since."""
    there = {int(version.version) for version in all_versions(client, name)}
    left = [number for number in rollback_targets(state) if number in there]
    # Between two moves to the same version the one that was removed may have been champion.
    return [number for number, _ in groupby(left)]


def _move(
    client: MlflowClient,
    name: str,
    kind: Literal["promote", "rollback"],
    expected: ChampionState,
    after: int,
    previous: int | None,
    figures: dict[str, float],
) -> AliasChange:
    """Record a move and set both aliases; withdraw the record if a concurrent move came first."""
    run = str(client.get_model_version(name, str(after)).run_id)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    move = AliasChange(kind, now, expected.number, after, run, figures)
    with one_at_a_time(client.tracking_uri):
        tag = next_move_tag(expected.moves)
        # The tag comes first, so that concurrent moves see this one before the alias is set.
        client.set_registered_model_tag(name, tag, move.to_json())
        try:
            _check_unmoved(client, name, expected, tag)
            client.set_registered_model_alias(name, CHAMPION, str(after))
            _check_undisputed(client, name, expected, tag)
        except BaseException:
            client.delete_registered_model_tag(name, tag)
            raise
        if previous is not None:
            client.set_registered_model_alias(name, PREVIOUS, str(previous))
        elif version_of_alias(client, name, PREVIOUS) is not None:
            client.delete_registered_model_alias(name, PREVIOUS)
    return move


def _check_unmoved(client: MlflowClient, name: str, expected: ChampionState, tag: str) -> None:
    """Raise ChampionMovedError if a concurrent move set the alias or has an earlier tag."""
    now = champion_state(client, name)
    others = _concurrent(now, expected, tag)
    if now.number != expected.number or any(
        other < tag or sequence_number(other) > sequence_number(tag) for other in others
    ):
        raise ChampionMovedError(_moved(name, now.number))


def _check_undisputed(client: MlflowClient, name: str, expected: ChampionState, tag: str) -> None:
    """Decide between moves with the same sequence number, after the alias was set.

    A move whose tag is written after this check finds the alias moved; one whose tag was written
    before is found here.
    """
    others = _concurrent(champion_state(client, name), expected, tag)
    if any(other < tag for other in others):
        last = list(others.values())[-1].after
        client.set_registered_model_alias(name, CHAMPION, str(last))
        raise ChampionMovedError(_moved(name, last))


def _concurrent(now: ChampionState, expected: ChampionState, tag: str) -> dict[str, AliasChange]:
    """Return the moves since the expected state, other than the one of `tag`."""
    return {k: move for k, move in now.moves.items() if k not in expected.moves and k != tag}


def _moved(name: str, to: int | None) -> str:
    where = "it is unset" if to is None else f"to version {to}"
    return f"the champion of {name!r} has moved meanwhile, {where}: start again"
