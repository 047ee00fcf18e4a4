"""History of the alias `champion`: one tag of the registered model for each of its moves.

A tag's name is `champion.move.`, a sequence number of six digits and a random suffix, so that the
names sort in the order of the moves. Its value is an `AliasChange` as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from sentiment.errors import InputError

_PREFIX = "champion.move."


@dataclass(frozen=True)
class AliasChange:
    """One move of the alias `champion`.

    Attributes:
        kind: `promote` or `rollback`.
        time: when, UTC, ISO 8601.
        before: the version that had the alias; None for the first move.
        after: the version that received it.
        run: the run that trained that version.
        figures: the metrics that decided, by name.
    """

    kind: Literal["promote", "rollback"]
    time: str
    before: int | None
    after: int
    run: str
    figures: dict[str, float]

    def to_json(self) -> str:
        """Return the value of its tag."""
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


def next_move_tag(keys: Iterable[str]) -> str:
    """Return a new tag's name, with the sequence number that follows those of `keys`."""
    number = max(map(sequence_number, keys), default=0) + 1
    return f"{_PREFIX}{number:06d}.{uuid4().hex[:8]}"


def sequence_number(key: str) -> int:
    """Return the sequence number in the name of a move's tag.

    Raises:
        ValueError: the name has none.
    """
    return int(key.removeprefix(_PREFIX).partition(".")[0])


def read_history(name: str, tags: Mapping[str, str]) -> dict[str, AliasChange]:
    """Return the moves among a registered model's tags by the tags' names, the oldest first.

    Args:
        name: the registered model.
        tags: all its tags.

    Raises:
        InputError: the tag of a move is malformed.
    """
    history = {}
    for key in sorted(tags):
        if key.startswith(_PREFIX):
            try:
                sequence_number(key)
                history[key] = AliasChange.from_json(tags[key])
            except ValueError as error:
                raise InputError(f"the tag {key} of the model {name!r}: {error}") from None
    return history


def champions(history: Sequence[AliasChange]) -> list[int]:
    """Return the versions that a rollback can return to, the present champion last.

    Args:
        history: all moves, the oldest first.
    """
    stack: list[int] = []
    for move in history:
        if move.kind == "rollback":
            while stack[-1] != move.after:
                stack.pop()
        else:
            # A champion set by hand is not in the history, but a rollback can return to it.
            if move.before is not None and (not stack or stack[-1] != move.before):
                stack.append(move.before)
            stack.append(move.after)
    return stack
