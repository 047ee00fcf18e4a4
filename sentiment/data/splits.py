"""Parts of a data set, and how one is drawn from another so that no text is in both.

What is drawn depends on nothing but the texts, their labels and the seed: not on the order of
the rows, and not on the version of a library's random generator.

Twins are texts that differ in white space, case or Unicode normal form alone (`twin_key`). They
count as one text: by default a model reads the same tokens in them, so a twin in train would
give the answer for the one in test away.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sentiment.errors import InputError

TextKey = Callable[[str], str]
"""From a text to what it shares with its twins."""


def twin_key(text: str) -> str:
    """Return what twins have in common: the text in NFC and lower case, blanks collapsed.

    - White space: every tokenizer splits at it, and none keeps it as a token.
    - Case: models read lower case by default, and a copy in capitals is the same text.
    - Normal form: the two ways to write `é` are one character to a reader and to Unicode.

    Markup and punctuation count: they are tokens under some settings, and what the splits are
    must not follow from a hyperparameter.
    """
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def same_text(text: str) -> str:
    """Return the text itself: the key of version 1, in which equal texts alone were twins."""
    return text


SPLITS_VERSION = 2
"""The version of the splits that this release draws."""
KEYS: dict[int, TextKey] = {1: same_text, SPLITS_VERSION: twin_key}
"""What made twins in each version; the older ones are to recognise the records made with them."""


class RareLabelsError(InputError):
    """Classes that have too few texts to be in every split.

    Attributes:
        labels: their numbers.
    """

    def __init__(self, labels: Sequence[int], label_names: Sequence[str], problem: str) -> None:
        self.labels = tuple(labels)
        named = ", ".join(repr(label_names[label]) for label in labels[:10])
        more = f" and {len(labels) - 10:,} more" if len(labels) > 10 else ""
        super().__init__(f"class {named}{more} {problem}")


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        texts: the texts, whole and as they came.
        labels: int64 (len(texts),), indexes into the data set's label names; empty for texts
            without labels.
        groups: of each text what must be in one split with it, such as a film; None for a text
            of no group. None where there are no groups.
    """

    texts: list[str]
    labels: np.ndarray
    groups: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def where(self, chosen: np.ndarray) -> Split:
        """Return the texts that a boolean array (len(self),) chooses, in their order."""
        rows = np.flatnonzero(chosen).tolist()
        return Split(
            [self.texts[row] for row in rows],
            self.labels[chosen] if len(self.labels) else self.labels,
            None if self.groups is None else [self.groups[row] for row in rows],
        )

    def without(self, other: Split, key: TextKey = twin_key) -> Split:
        """Return the split without twins of another's texts, and without texts of its groups."""
        keys = set(map(key, other.texts))
        apart = np.array([key(text) not in keys for text in self.texts], dtype=bool)
        if self.groups is not None and other.groups is not None:
            taken = set(other.groups) - {None}
            apart &= np.array([group not in taken for group in self.groups], dtype=bool)
        return self.where(apart)

    def together(self, key: TextKey = twin_key) -> list[list[int]]:
        """Return the rows that must be in one split, twins and texts of one group, in lists."""
        rows_of: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row, text in enumerate(self.texts):
            rows_of["text", key(text)].append(row)
        if self.groups is None:
            return list(rows_of.values())
        for row, group in enumerate(self.groups):
            if group is not None:
                rows_of["group", group].append(row)
        # A page of help, which reads this module, need not wait for it.
        from scipy.sparse import coo_array, csgraph

        # Twins join their groups: what is linked in any way is one component.
        links = np.array([(rows[0], row) for rows in rows_of.values() for row in rows])
        size = len(self.texts)
        graph = coo_array((np.ones(len(links)), tuple(links.T)), shape=(size, size))
        _, component = csgraph.connected_components(graph, directed=False)
        order = np.argsort(component, kind="stable")
        cuts = np.flatnonzero(np.diff(component[order])) + 1
        return [rows.tolist() for rows in np.split(order, cuts)]


def hold_out(
    whole: Split,
    share: float,
    purpose: str,
    label_names: Sequence[str],
    key: TextKey = twin_key,
    seed: int = 1234,
) -> tuple[Split, Split]:
    """Draw a part of a split, of each class the same share, twins and groups together.

    A class gives `round(share * size)` texts, and at least one. That many is what is drawn
    unless most of its texts are repeated ones or in groups.

    Args:
        whole: labelled texts.
        share: between 0 and 1.
        purpose: name of the part that is drawn; parts for other purposes are drawn anew.
        label_names: for messages.
        key: what twins have in common.
        seed: another one draws other texts.

    Returns:
        What is left, and what was drawn; each in the order of `whole`.

    Raises:
        RareLabelsError: classes have too few different texts to be in both.
    """
    labels: list[int] = whole.labels.tolist()
    wanted = {
        label: min(max(round(share * size), 1), size - 1) for label, size in Counter(labels).items()
    }
    together = whole.together(key)
    # By one of the original texts, not by the key: what has no twins keeps its place whatever
    # the key is, and a data set without any keeps its fingerprint.
    lot = {
        rows[0]: text_lot(min(whole.texts[row] for row in rows), purpose, seed) for rows in together
    }
    groups = sorted(together, key=lambda rows: lot[rows[0]])

    held = np.zeros(len(whole), dtype=bool)

    def hold_if_it_fits(rows: list[int]) -> None:
        need = [labels[row] for row in rows]
        if all(wanted[label] >= need.count(label) for label in set(need)):
            held[rows] = True
            for label in need:
                wanted[label] -= 1

    # Repeated texts are drawn one by one with the probability `share`, the largest groups
    # first; then single texts fill what is still wanted exactly.
    repeated = sorted((rows for rows in groups if len(rows) > 1), key=len, reverse=True)
    chosen = [rows for rows in repeated if lot[rows[0]] < share]
    left = [rows for rows in repeated if lot[rows[0]] >= share]
    for rows in [*chosen, *(rows for rows in groups if len(rows) == 1), *reversed(left)]:
        hold_if_it_fits(rows)

    # By class once: a column of thousands of classes is soon given, and soon refused.
    rows_with: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows_with[label].append(row)
    groups_with: dict[int, list[list[int]]] = defaultdict(list)
    for rows in groups:
        for label in {labels[row] for row in rows}:
            groups_with[label].append(rows)
    for label in wanted:
        if not held[rows_with[label]].any():  # each of its texts is repeated more often than fits
            held[min(groups_with[label], key=len)] = True
    rare = sorted(label for label in wanted if held[rows_with[label]].all())
    if rare:
        raise RareLabelsError(
            rare,
            label_names,
            f"has too few {'groups' if whole.groups else 'different texts'} to draw a {purpose} "
            "split from: give more texts of it, or leave the class out",
        )
    return whole.where(~held), whole.where(held)


def text_lot(text: str, purpose: str, seed: int) -> float:
    """Return the number of a text for a purpose and a seed, uniform in [0, 1)."""
    data = f"{seed}/{purpose}/{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(data).digest()[:6], "big") / 2**48
