"""What a shadow's answers had in common with the champion's: counts, kept as tags of its version.

Each server keeps its counts of a pair (champion, shadow) in a tag of its own, which it alone
writes: `shadow.` and eight random hexadecimal digits, a JSON object that names the champion. So
servers that run at once, or one after the other, never overwrite each other; a reader adds the
tags of a champion up. A version has the `MAX_TAGS` tags that were written last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from mlflow import MlflowClient

from sentiment.wording import counted
from sweeps.registry.latency_histogram import LatencyHistogram, amount, whole

TAG = "shadow."
MAX_TAGS = 32
"""Of a version; a server's new tag takes the place of the oldest."""

_LISTED = 3


@dataclass
class ShadowCounts:
    """How a shadow compares with a champion, over the same texts.

    Attributes:
        champion: what answered: `MODEL/VERSION`.
        since: when the first text was compared or lost, UTC, ISO 8601; empty before.
        until: when the last one was.
        requests: requests compared.
        texts: texts compared.
        agreed: texts for which both say the same label.
        difference: sum over the texts of the absolute difference between the probabilities that
            the two give the champion's label.
        errors: batches at which the shadow raised an exception.
        dropped: texts that were not compared since too many waited.
        champion_seconds: of CPU time that the champion took for a batch.
        shadow_seconds: of CPU time that the shadow took for the same batch.
    """

    champion: str
    since: str = ""
    until: str = ""
    requests: int = 0
    texts: int = 0
    agreed: int = 0
    difference: float = 0.0
    errors: int = 0
    dropped: int = 0
    champion_seconds: LatencyHistogram = field(default_factory=LatencyHistogram)
    shadow_seconds: LatencyHistogram = field(default_factory=LatencyHistogram)

    def __add__(self, other: ShadowCounts) -> ShadowCounts:
        """Return the counts of both, which are of one champion."""
        return ShadowCounts(
            self.champion,
            min(self.since, other.since),
            max(self.until, other.until),
            self.requests + other.requests,
            self.texts + other.texts,
            self.agreed + other.agreed,
            self.difference + other.difference,
            self.errors + other.errors,
            self.dropped + other.dropped,
            self.champion_seconds + other.champion_seconds,
            self.shadow_seconds + other.shadow_seconds,
        )

    def to_json(self) -> str:
        """Return the value of a tag."""
        return json.dumps(
            {
                "champion": self.champion,
                "since": self.since,
                "until": self.until,
                "requests": self.requests,
                "texts": self.texts,
                "agreed": self.agreed,
                "difference": round(self.difference, 6),
                "errors": self.errors,
                "dropped": self.dropped,
                "champion_seconds": self.champion_seconds.plain(),
                "shadow_seconds": self.shadow_seconds.plain(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> ShadowCounts:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            plain = json.loads(text)
            counts = cls(
                champion=_name(plain["champion"]),
                since=_name(plain["since"]),
                until=_name(plain["until"]),
                requests=whole(plain["requests"]),
                texts=whole(plain["texts"]),
                agreed=whole(plain["agreed"]),
                difference=amount(plain["difference"]),
                errors=whole(plain["errors"]),
                dropped=whole(plain["dropped"]),
                champion_seconds=LatencyHistogram.of_plain(plain["champion_seconds"]),
                shadow_seconds=LatencyHistogram.of_plain(plain["shadow_seconds"]),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("no counts of a shadow") from error
        if counts.agreed > counts.texts:
            raise ValueError("no counts of a shadow: more texts agreed on than compared")
        return counts

    def sentence(self) -> str:
        """Return them for a reader."""
        rest = [counted(self.errors, "error")] if self.errors else []
        rest += [f"{counted(self.dropped, 'text')} dropped"] if self.dropped else []
        if not self.texts:
            return "; ".join([f"no text compared with {self.champion} yet", *rest])
        since = f"{self.since[:16].replace('T', ' ')} UTC"
        shadow, champion = (
            _milliseconds(seconds.median())
            for seconds in (self.shadow_seconds, self.champion_seconds)
        )
        compared = (
            f"agreed with {self.champion} on {_percent(self.agreed, self.texts)} of "
            f"{counted(self.texts, 'text')} served since {since}, mean difference of the "
            f"probability {self.difference / self.texts:.4f}, median latency {shadow} (champion "
            f"{champion})"
        )
        return "; ".join([compared, *rest])


class ShadowRecord(NamedTuple):
    """What the tags of a version say of it as a shadow.

    Attributes:
        counts: one a champion that it was compared with, the latest first.
        unreadable: names of tags that hold something else.
    """

    counts: list[ShadowCounts]
    unreadable: list[str]


def read_shadow_counts(tags: Mapping[str, str]) -> ShadowRecord:
    """Add up what servers have written into the tags of a version.

    Args:
        tags: all tags of the version.
    """
    found: dict[str, ShadowCounts] = {}
    unreadable = []
    for key in sorted(key for key in tags if key.startswith(TAG)):
        try:
            counts = ShadowCounts.from_json(tags[key])
        except ValueError:  # anybody who can write to the store may edit a tag
            unreadable.append(key)
            continue
        before = found.get(counts.champion)
        found[counts.champion] = counts if before is None else before + counts
    latest = sorted(found.values(), key=lambda counts: counts.until, reverse=True)
    return ShadowRecord(latest, unreadable)


def shadow_lines(tags: Mapping[str, str]) -> list[str]:
    """Return what to show of a version that was a shadow: a line a champion; nothing if it wasn't.

    Args:
        tags: all tags of the version.
    """
    record = read_shadow_counts(tags)
    lines = [f"shadow: {counts.sentence()}" for counts in record.counts[:_LISTED]]
    if len(record.counts) > _LISTED:
        others = counted(len(record.counts) - _LISTED, "earlier champion")
        lines.append(f"shadow: also compared with {others}")
    if record.unreadable:
        lines.append(f"note: passed over what is no counts: {', '.join(record.unreadable[:5])}")
    return lines


def new_tag() -> str:
    """Return the name of a tag for a server's counts of a pair."""
    return f"{TAG}{uuid4().hex[:8]}"


def write_shadow_counts(
    client: MlflowClient, name: str, version: str, tag: str, counts: ShadowCounts
) -> None:
    """Write all that one server has counted of a pair; the oldest of too many tags go.

    Args:
        client: client of the store.
        name: the registered model.
        version: the shadow's.
        tag: the server's own, see `new_tag`.
        counts: all that it has counted.

    Raises:
        mlflow.exceptions.MlflowException: the version is gone, or the store is away.
    """
    others = {**client.get_model_version(name, version).tags}
    others.pop(tag, None)
    for old in _oldest_first(others)[: -(MAX_TAGS - 1)]:
        client.delete_model_version_tag(name, version, old)
    client.set_model_version_tag(name, version, tag, counts.to_json())


def _oldest_first(tags: Mapping[str, str]) -> list[str]:
    """Return the names of a version's tags of counts; what can't be read is the oldest."""
    written = {}
    for key in tags:
        if key.startswith(TAG):
            try:
                written[key] = ShadowCounts.from_json(tags[key]).until
            except ValueError:
                written[key] = ""
    return sorted(written, key=lambda key: written[key])


def _percent(part: int, total: int) -> str:
    """Return a share with one decimal that is 100 only of all."""
    shown = f"{100 * part / total:.1f}%"
    return "99.9%" if part < total and shown == "100.0%" else shown


def _milliseconds(seconds: float) -> str:
    milliseconds = 1e3 * seconds
    return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:,.0f} ms"


def _name(value: Any) -> str:
    """Return a name or a time that may be printed.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not value.isprintable() or len(value) > 300:
        raise ValueError("no counts of a shadow")
    return value
