"""Labels with too few texts to be in every split: refused all at once, dropped or joined."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from sentiment.data.config import JOIN, DataConfig
from sentiment.data.labels import Classes
from sentiment.data.tables import Table
from sentiment.errors import InputError

_HELD = ("valid", "test")
_SHOWN = 10


def find_rare(table: Table, minimum: int | None) -> dict[str, int]:
    """Return the labels with too few different texts, and how many each has.

    Counted are texts that may be trained on: those that no given split holds out.

    Args:
        table: texts with labels, and splits if they are given.
        minimum: different texts that a label must have at least; None, or less than that: one for
            train and one for each split to draw from it.
    """
    splits = table.splits or ["train"] * len(table.texts)
    held = {text for text, split in zip(table.texts, splits, strict=True) if split in _HELD}
    texts: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(table.texts, table.labels, strict=True):
        texts[label]
        if text not in held:
            texts[label].add(text)
    least = max(needed(table), minimum or 0)
    return {label: len(found) for label, found in texts.items() if len(found) < least}


def needed(table: Table) -> int:
    """Return how many different texts a label needs: one in train, one in each split drawn."""
    return 1 + sum(split not in (table.splits or ()) for split in _HELD)


def without_rare(table: Table, rare: Collection[str], config: DataConfig) -> Table:
    """Return the table without the rows of rare labels, or with these under one name.

    The account says what was done.
    """
    account = table.account
    if config.rare_labels == "drop":
        kept = [row for row, label in enumerate(table.labels) if label not in rare]
        account.left_out["with a rare label"] += len(table.labels) - len(kept)
        account.kept = len(kept)
        for label in rare:
            account.spellings.pop(label)
        return Table(
            [table.texts[row] for row in kept],
            [table.labels[row] for row in kept],
            None if table.splits is None else [table.splits[row] for row in kept],
            account,
            None if table.groups is None else [table.groups[row] for row in kept],
        )
    name = joint_label(config)
    for label in rare:
        if label != name:
            spelled = account.spellings.setdefault(name, Counter())
            spelled.update(account.spellings.pop(label))
    labels = [name if label in rare else label for label in table.labels]
    return Table(table.texts, labels, table.splits, account, table.groups)


def joint_label(config: DataConfig) -> str:
    """Return the name under which rare labels are joined."""
    return config.rare_labels.removeprefix(JOIN).strip()


def refusal(where: str, rare: Mapping[str, int], classes: Classes, least: int) -> InputError:
    """Return the error that lists all rare labels.

    Args:
        where: file and column.
        rare: the labels, with their different texts.
        classes: all classes of the table.
        least: how many different texts a label needs.
    """
    first = sorted(rare, key=lambda label: (-rare[label], label))[:_SHOWN]
    shown = ", ".join(f"{classes.shown(label)}: {rare[label]:,}" for label in first)
    more = f" and {len(rare) - _SHOWN:,} more" if len(rare) > _SHOWN else ""
    number = "label has" if len(rare) == 1 else "labels have"
    if least == 1:
        problem = "no text in the train split that stands in no other"
    elif min(rare.values()) < least:
        problem = f"fewer than {least} different texts to train on, too few for the splits"
    else:
        problem = "too few texts of their own to stand in every split"
    return InputError(
        f"{where}: {len(rare):,} {number} {problem} ({shown}{more})\ngive more texts, or "
        "--rare-labels drop leaves them out, --rare-labels join:other makes them one label"
    )
