"""The members of an ensemble, as its run records them in the parameter `members`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sentiment.config import fingerprint
from sentiment.wording import counted

PARAMETER = "members"


@dataclass(frozen=True)
class Member:
    """A model of an ensemble, as validation judged it.

    Attributes:
        key: of the finalist or the trial, also where its refit is the member.
        name: that run's.
        weight: of its logits; the weights of all members add up to 1.
        loss: its own on validation.
        accuracy: the same.
    """

    key: int | str
    name: str
    weight: float
    loss: float
    accuracy: float

    @property
    def title(self) -> str:
        """What it is, its number and name."""
        if isinstance(self.key, int):
            return f"trial {self.name}"  # which begins with the number
        role, _, number = self.key.partition("-")
        return f"{role} {number} {self.name.removeprefix(role).strip()}"


def members_text(members: Sequence[Member]) -> str:
    """Return members as the value of a parameter."""
    return json.dumps([asdict(member) for member in members])


def read_members(parameters: Mapping[str, str]) -> tuple[Member, ...]:
    """Return the members among a run's parameters; none of one that is no ensemble."""
    try:
        return tuple(
            Member(
                each["key"],
                str(each["name"]),
                *(float(each[name]) for name in ("weight", "loss", "accuracy")),
            )
            for each in json.loads(parameters.get(PARAMETER, "[]"))
        )
    except (ValueError, TypeError, KeyError):
        return ()  # anybody who can write to the store may have written it


def ensemble_key(members: Sequence[Member], number: int) -> str:
    """Return the key of the run of an ensemble.

    Args:
        members: its members.
        number: of the trial whose settings its first member has.
    """
    parts = [[each.key, each.weight] for each in members]
    return f"ensemble-{fingerprint(parts)[:8]}-{number:03d}"


def members_sentence(members: Sequence[Member], metrics: Mapping[str, Any]) -> str:
    """Return what each member of an ensemble contributes, and what all reach together.

    Args:
        members: its members.
        metrics: of the ensemble, `best/valid/…`.
    """
    each = "; ".join(
        f"{member.weight:.0%} {member.title} (alone {member.loss:.4f}, {member.accuracy:.4f})"
        for member in members
    )
    return (
        f"ensemble of {counted(len(members), 'model')}: on validation loss "
        f"{metrics['best/valid/loss']:.4f}, accuracy {metrics['best/valid/accuracy']:.4f}; {each}"
    )
