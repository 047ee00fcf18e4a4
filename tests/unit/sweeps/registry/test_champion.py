from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from winners import Registry

from sentiment.errors import InputError
from sweeps import promote as command
from sweeps.registry import alias_history, champion
from sweeps.registry.champion import ChampionMovedError, champion_state, promote, rollback


def make_champion(registry: Registry, version: int) -> None:
    client = registry.client
    state = champion_state(client, "sentiment")
    promote(client, "sentiment", version, state, {"test/accuracy": 0.5})


def test_rollback_goes_back_move_by_move(registry: Registry) -> None:
    client = registry.client
    for number in (1, 2, 3):
        registry.win(registry.make_bundle(0), f"sweep-{number}")
        make_champion(registry, number)
    assert command.main([*registry.uri, "--rollback", "--dry-run"]) == 0
    assert registry.alias("champion") == 3
    assert command.main([*registry.uri, "--rollback"]) == 0
    assert (registry.alias("champion"), registry.alias("previous")) == (2, 1)
    assert command.main([*registry.uri, "--rollback"]) == 0
    assert (registry.alias("champion"), registry.alias("previous")) == (1, None)
    with pytest.raises(InputError, match="no champion before"):
        command.main([*registry.uri, "--rollback"])
    # A champion that was set by hand can be undone as well.
    client.set_registered_model_alias("sentiment", "champion", "3")
    assert command.main([*registry.uri, "--rollback"]) == 0
    assert registry.alias("champion") == 1


def test_every_move_is_a_tag(registry: Registry) -> None:
    client = registry.client
    for number in (1, 2):
        registry.win(registry.make_bundle(0), f"sweep-{number}")
        make_champion(registry, number)
    rollback(client, "sentiment", champion_state(client, "sentiment"))
    tags = client.get_registered_model("sentiment").tags
    moves = [json.loads(tags[key]) for key in sorted(tags) if key.startswith("champion.move.")]
    runs = {n: client.get_model_version("sentiment", str(n)).run_id for n in (1, 2)}
    assert [(m["kind"], m["from"], m["to"], m["run"]) for m in moves] == [
        ("promote", None, 1, runs[1]),
        ("promote", 1, 2, runs[2]),
        ("rollback", 2, 1, runs[1]),
    ]
    assert [m["figures"] for m in moves] == [{"test/accuracy": 0.5}, {"test/accuracy": 0.5}, {}]
    assert all(m["time"].endswith("+00:00") for m in moves)


def test_champion_that_moved_meanwhile(registry: Registry) -> None:
    client = registry.client
    registry.win(registry.make_bundle(0), "first")
    registry.win(registry.make_bundle(1), "second")
    before = champion_state(client, "sentiment")
    promote(client, "sentiment", 1, before, {})
    with pytest.raises(ChampionMovedError, match="has moved meanwhile, to version 1"):
        promote(client, "sentiment", 2, before, {})
    # Also when it has come back since: what was judged then may hold no more.
    here = champion_state(client, "sentiment")
    make_champion(registry, 2)
    rollback(client, "sentiment", champion_state(client, "sentiment"))
    assert registry.alias("champion") == 1
    with pytest.raises(ChampionMovedError):
        promote(client, "sentiment", 2, here, {})
    assert len(champion_state(client, "sentiment").moves) == 3


def test_promotions_at_once_on_one_machine(registry: Registry) -> None:
    client = registry.client
    for number in (1, 2, 3, 4):
        registry.win(registry.make_bundle(0), f"sweep-{number}")
    code = """
import os, sys
from mlflow import MlflowClient
from sweeps.registry.champion import ChampionMovedError, ChampionState, promote
for version in (1, 2, 3, 4):
    if os.fork() == 0:
        client = MlflowClient(sys.argv[1])
        expected = ChampionState(None, {})
        try:
            promote(client, "sentiment", version, expected, {})
            print(version, flush=True)
        except ChampionMovedError as error:
            print(error, file=sys.stderr, flush=True)
        os._exit(0)
for _ in range(4):
    os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, client.tracking_uri],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(champion.__file__).parents[2])},
    )
    (winner,) = done.stdout.split()
    told = f"the champion of 'sentiment' has moved meanwhile, to version {winner}: start again"
    assert done.stderr.splitlines() == [told] * 3
    assert registry.alias("champion") == int(winner)
    assert len(champion_state(client, "sentiment").moves) == 1


class Interrupting(MlflowClient):
    """A client that lets another machine do something just before one of its own calls."""

    def __init__(self, uri: str, call: str, other: Callable[[], None]) -> None:
        super().__init__(uri)
        self._call, self._other = call, other

    def __getattribute__(self, name: str) -> Any:
        if name != "_call" and name == object.__getattribute__(self, "__dict__").get("_call"):
            self._call = ""
            self._other()
        return super().__getattribute__(name)


@pytest.mark.parametrize("call", ["set_registered_model_tag", "set_registered_model_alias"])
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_promotions_at_once_on_a_remote_store(
    registry: Registry, call: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a common lock, the one whose tag sorts first wins, if both have the same number."""
    client = registry.client
    registry.win(registry.make_bundle(0), "first")
    registry.win(registry.make_bundle(1), "second")
    monkeypatch.setattr(champion, "one_at_a_time", lambda uri: nullcontext())
    names = iter(["a", "b"] if first == "ours" else ["b", "a"])
    monkeypatch.setattr(alias_history, "uuid4", lambda: SimpleNamespace(hex=next(names) * 8))
    before = champion_state(client, "sentiment")
    won = []

    def attempt(client: MlflowClient, version: int) -> None:
        try:
            promote(client, "sentiment", version, before, {})
            won.append(version)
        except ChampionMovedError:
            pass

    def rival() -> None:
        attempt(MlflowClient(client.tracking_uri), 2)

    attempt(Interrupting(client.tracking_uri, call, rival), 1)
    assert len(won) == 1
    assert registry.alias("champion") == won[0]
    (move,) = champion_state(client, "sentiment").moves.values()
    assert move.after == won[0]
