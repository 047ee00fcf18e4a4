"""Versions of the registered model, their aliases, and the history of the champion.

`challenger` is the best on validation of the sweeps on one data set (`sweeps.registry.challenger`),
`champion` the model that answers, `previous` the champion before it. Every move of `champion`
leaves a tag on the registered model.

Aliases are last write wins, so a move claims its turn first: its tag bears the number that follows
the last one. Of two that claim the same turn the one whose tag sorts first has it, and the other
withdraws. On one machine a lock makes them wait for each other besides.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Literal
from uuid import uuid4

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_model_name

from sentiment.errors import InputError
from sentiment.tracking.model_uri import (
    CHAMPION,
    copy_model,
    model_of_run,
    model_of_version,
    version_of_alias,
)
from sweeps.registry.checksums import digests, record_digests
from sweeps.registry.store_lock import one_at_a_time

CHALLENGER = "challenger"
PREVIOUS = "previous"

VERSIONS_TAG = "mlflow.modelVersions"
"""A logged model's tag, by which MLflow's pages find its versions: JSON."""

_KEPT_METRICS = ("best/valid/", "test/")
"""Metrics of a run that its version has as tags."""
_MOVE = "champion.move."


class ChampionMovedError(RuntimeError):
    """Another move of the champion came first; the message says where it went."""


@dataclass(frozen=True)
class AliasChange:
    """One move of the alias `champion`.

    Attributes:
        kind: `promote` or `rollback`.
        time: when, UTC, ISO 8601.
        before: the version that was champion; None for the first.
        after: the version that is it since.
        run: the run that trained it.
        figures: what decided: metrics by name.
    """

    kind: Literal["promote", "rollback"]
    time: str
    before: int | None
    after: int
    run: str
    figures: dict[str, float]

    def to_json(self) -> str:
        """Return it as its tag holds it."""
        return json.dumps(
            {
                "kind": self.kind,
                "time": self.time,
                "from": self.before,
                "to": self.after,
                "run": self.run,
                "figures": self.figures,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> AliasChange:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            plain = json.loads(text)
            before, after = plain["from"], plain["to"]
            return cls(plain["kind"], plain["time"], before, after, plain["run"], plain["figures"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no move of the champion: {text[:100]}") from error


@dataclass(frozen=True)
class ChampionState:
    """How the champion stood at a moment; a move from there fails once it stands otherwise.

    Attributes:
        champion: the present champion's version; None if there is none.
        moves: the moves that led there by the names of their tags, the oldest first.
    """

    champion: ModelVersion | None
    moves: Mapping[str, AliasChange]

    @property
    def number(self) -> int | None:
        """The champion's number."""
        return int(self.champion.version) if self.champion else None


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion.

    Attributes:
        model_id: its logged model.
        run_id: the run that trained it.
        version: its number in the registry; None for a run's model that isn't registered.
        tags: what is known of it: `dataset`, `dataset_fingerprint`, `test/…`.
    """

    model_id: str
    run_id: str
    version: int | None
    tags: dict[str, str]

    @property
    def title(self) -> str:
        """What to call it."""
        return f"version {self.version}" if self.version else f"run {self.run_id}"

    @property
    def recorded(self) -> dict[str, float]:
        """The test metrics that it is said to have."""
        return {k: float(value) for k, value in self.tags.items() if k.startswith("test/")}


def check_model_name(name: str) -> None:
    """Check the name of a registered model before any work is done.

    Raises:
        InputError: MLflow takes no such name.
    """
    try:
        _validate_model_name(name)
    except MlflowException as error:
        raise InputError(f"--model-name {name!r}: {str(error.message).splitlines()[0]}") from None
    _quoted(name)


def register(
    client: MlflowClient,
    name: str,
    *,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
) -> ModelVersion:
    """Make a logged model a new version of a registered model, made when it isn't there.

    A model that is a version already stays that one: what follows is done again, so that a
    registration that was cut off can be repeated.

    Args:
        client: client of the store.
        name: the registered model.
        model_id: the logged model.
        run_id: the run that trained it.
        tags: what is known of it: the sweep, the data, its test metrics.
        description: the same for a reader.
    """
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    there = [one for one in all_versions(client, name) if one.source == source]
    if there:
        version = there[-1]
    else:
        with tempfile.TemporaryDirectory() as scratch:
            files = digests(copy_model(client, model_id, Path(scratch)))
        checksums = record_digests(client, run_id, model_id, files)
        with _global_store(client.tracking_uri):
            version = client.create_model_version(
                name,
                source,
                run_id,
                tags={**tags, **checksums},
                description=description,
                model_id=model_id,
            )
    known = json.loads(client.get_logged_model(model_id).tags.get(VERSIONS_TAG, "[]"))
    link = {"name": name, "version": str(version.version)}
    if link not in known:
        known.append(link)
    client.set_logged_model_tags(model_id, {VERSIONS_TAG: json.dumps(known)})
    return version


def describe_model(client: MlflowClient, name: str, description: str) -> None:
    """Describe a registered model, unless somebody has done so already."""
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, description)


def find_candidate(
    client: MlflowClient,
    name: str,
    *,
    sweep: str | None = None,
    run_id: str | None = None,
    version: int | None = None,
) -> Candidate:
    """Return a sweep's winner, a run's model, a version by its number, or else the challenger.

    Raises:
        InputError: there is none.
    """
    if run_id is not None:
        of_run = version_of_run(client, name, run_id)
        return _of_run(client, run_id) if of_run is None else _of_version(of_run)
    versions = all_versions(client, name)
    if not versions:
        raise InputError(f"no model {name!r} is registered yet: python -m sweeps.launch")
    if version is not None:
        found = [one for one in versions if int(one.version) == version]
        what = f"version {version}"
    elif sweep is not None:
        found = [one for one in versions if one.tags.get("sweep.name") == sweep]
        what = f"version of the sweep {sweep}"
    else:
        alias = version_of_alias(client, name, CHALLENGER)
        found = [alias] if alias else []
        what = CHALLENGER
    if not found:
        known = ", ".join(str(one.version) for one in versions[:10])
        raise InputError(f"the model {name!r} has no {what}; its versions are {known}")
    return _of_version(found[0])


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return the versions of a registered model, the newest first; none if it isn't there."""
    versions: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{_quoted(name)}'", page_token=token)
        versions.extend(page)
        token = page.token
        if not token:
            return sorted(versions, key=lambda one: int(one.version), reverse=True)


def version_of_run(client: MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    """Return the newest version of a registered model that a run trained; None if there is none."""
    return next((one for one in all_versions(client, name) if one.run_id == run_id), None)


def standing(client: MlflowClient, name: str) -> ChampionState:
    """Return how the champion stands.

    Raises:
        InputError: a tag that should hold a move holds something else.
    """
    try:
        tags = client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return ChampionState(None, {})
    history = {}
    for key in sorted(tags):
        if key.startswith(_MOVE):
            try:
                _turn(key)
                history[key] = AliasChange.from_json(tags[key])
            except ValueError as error:
                raise InputError(f"the tag {key} of the model {name!r}: {error}") from None
    return ChampionState(version_of_alias(client, name, CHAMPION), history)


def promote(
    client: MlflowClient,
    name: str,
    version: int,
    stood: ChampionState,
    figures: Mapping[str, float],
) -> AliasChange:
    """Make a version the champion, and the champion before it the previous.

    Args:
        client: client of the store.
        name: the registered model.
        version: the version.
        stood: how the champion stood when the version was compared with it.
        figures: what decided; kept with the move and on the version.

    Raises:
        ChampionMovedError: the champion has moved meanwhile.
    """
    move = _move(client, name, "promote", stood, version, stood.number, dict(figures))
    for metric, value in figures.items():
        client.set_model_version_tag(name, str(version), f"promotion.{metric}", repr(value))
    return move


def rollback(client: MlflowClient, name: str, stood: ChampionState) -> AliasChange:
    """Undo the last move that isn't undone yet.

    Args:
        client: client of the store.
        name: the registered model.
        stood: how the champion stood when that was decided.

    Raises:
        InputError: there is no champion before the present one.
        ChampionMovedError: the champion has moved meanwhile.
    """
    _, after = rollback_step(client, name, stood)
    stack = _registered_champions(client, name, stood)
    previous = stack[-3] if len(stack) > 2 else None
    return _move(client, name, "rollback", stood, after, previous, {})


def rollback_step(client: MlflowClient, name: str, stood: ChampionState) -> tuple[int, int]:
    """Return the version that a rollback would take the alias from, and the one it would go to.

    Raises:
        InputError: there is no champion before the present one.
    """
    stack = _registered_champions(client, name, stood)
    if len(stack) < 2:
        gone = "; those before it were removed" if len(rollback_targets(stood)) > 1 else ""
        raise InputError(f"the model {name!r} has no champion before the present one{gone}")
    return stack[-1], stack[-2]


def champions(history: Sequence[AliasChange]) -> list[int]:
    """Return the champions that a rollback can go back to, the present one last."""
    stack: list[int] = []
    for move in history:
        if move.kind == "rollback":
            while stack[-1] != move.after:
                stack.pop()
        else:
            # A champion that was set by hand is no move of ours, but one can go back to it.
            if move.before is not None and (not stack or stack[-1] != move.before):
                stack.append(move.before)
            stack.append(move.after)
    return stack


def rollback_targets(stood: ChampionState) -> list[int]:
    """Return the champions that a rollback can go back to, the present one last."""
    if stood.number is None:
        return []
    stack = champions(list(stood.moves.values()))
    if stack and stack[-1] != stood.number:
        stack.append(stood.number)  # it was set by hand
    return stack


@contextmanager
def _global_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's global one for a while: it looks `models:/m-…` up there alone."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type] # None: the default again


def _registered_champions(client: MlflowClient, name: str, stood: ChampionState) -> list[int]:
    """Return the rollback targets whose versions have not been removed since."""
    there = {int(version.version) for version in all_versions(client, name)}
    left = [number for number in rollback_targets(stood) if number in there]
    # Between two moves to the same version the one that was removed may have been champion.
    return [number for number, _ in groupby(left)]


def _move(
    client: MlflowClient,
    name: str,
    kind: Literal["promote", "rollback"],
    stood: ChampionState,
    after: int,
    previous: int | None,
    figures: dict[str, float],
) -> AliasChange:
    run = str(client.get_model_version(name, str(after)).run_id)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    move = AliasChange(kind, now, stood.number, after, run, figures)
    with one_at_a_time(client.tracking_uri):
        turn = max(map(_turn, stood.moves), default=0) + 1
        key = f"{_MOVE}{turn:06d}.{uuid4().hex[:8]}"
        # The tag comes first, so that no move goes unseen, by others at the same time least of all.
        client.set_registered_model_tag(name, key, move.to_json())
        try:
            _check_unmoved(client, name, stood, key)
            client.set_registered_model_alias(name, CHAMPION, str(after))
            _check_undisputed(client, name, stood, key)
        except BaseException:
            client.delete_registered_model_tag(name, key)
            raise
        if previous is not None:
            client.set_registered_model_alias(name, PREVIOUS, str(previous))
        elif version_of_alias(client, name, PREVIOUS) is not None:
            client.delete_registered_model_alias(name, PREVIOUS)
    return move


def _turn(key: str) -> int:
    """Return the number in the name of a move's tag."""
    return int(key.removeprefix(_MOVE).partition(".")[0])


def _check_unmoved(client: MlflowClient, name: str, stood: ChampionState, key: str) -> None:
    """Raise ChampionMovedError where another has moved the champion, or claimed the turn before."""
    now = standing(client, name)
    others = _others(now, stood, key)
    if now.number != stood.number or any(
        other < key or _turn(other) > _turn(key) for other in others
    ):
        raise ChampionMovedError(_moved(name, now.number))


def _check_undisputed(client: MlflowClient, name: str, stood: ChampionState, key: str) -> None:
    """Settle whose turn it was, now that the alias is set.

    Whoever claims it after this sees the alias moved; whoever claimed it before is seen here.
    """
    others = _others(standing(client, name), stood, key)
    if any(other < key for other in others):
        last = list(others.values())[-1].after
        client.set_registered_model_alias(name, CHAMPION, str(last))
        raise ChampionMovedError(_moved(name, last))


def _others(now: ChampionState, stood: ChampionState, key: str) -> dict[str, AliasChange]:
    """Return the moves since then but for ours."""
    return {k: move for k, move in now.moves.items() if k not in stood.moves and k != key}


def _moved(name: str, to: int | None) -> str:
    where = "it is unset" if to is None else f"to version {to}"
    return f"the champion of {name!r} has moved meanwhile, {where}: start again"


def _of_version(version: ModelVersion) -> Candidate:
    if "dataset_fingerprint" not in version.tags:
        raise InputError(
            f"version {version.version} of {version.name!r} was not registered by a sweep or a "
            "promotion: name the run that trained it by --run"
        )
    model_id = model_of_version(version)
    return Candidate(model_id, str(version.run_id), int(version.version), dict(version.tags))


def _of_run(client: MlflowClient, run_id: str) -> Candidate:
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise InputError(f"--run {run_id}: there is no such run") from error
    tags = {key: run.data.params.get(key, "") for key in ("dataset", "dataset_fingerprint")}
    tags |= {k: repr(v) for k, v in run.data.metrics.items() if k.startswith(_KEPT_METRICS)}
    if "sweep.name" in run.data.tags:
        tags["sweep.name"] = run.data.tags["sweep.name"]
    return Candidate(model_of_run(run), run_id, None, tags)


def _quoted(name: str) -> str:
    if "'" in name or "\\" in name:
        raise InputError(f"--model-name {name!r}: a name has no quotes or backslashes")
    return name
