"""Few labels: a share of those of train is kept, the other texts become unlabelled.

So one sees what texts without labels are worth where all labels are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sentiment.data.splits import Split, draw
from sentiment.errors import InputError

PURPOSE = "labels"


def keep_labels(
    splits: Mapping[str, Split], share: float, label_names: Sequence[str], seed: int
) -> dict[str, Split]:
    """Return splits of which train has a share of its texts, of each class, and unsup the rest.

    The texts of a smaller share are among those of a larger one. Validation and test stay.

    Args:
        splits: `train` with labels, and others.
        share: above 0, at most 1.
        label_names: for messages.
        seed: another one keeps other labels.

    Raises:
        InputError: a class would keep no label.
    """
    train = splits["train"]
    order = np.argsort([draw(text, PURPOSE, seed) for text in train.texts], kind="stable")
    kept = np.zeros(len(train), dtype=bool)
    for label, name in enumerate(label_names):
        rows = order[train.labels[order] == label]
        count = round(share * len(rows))
        if not count:
            raise InputError(
                f"--label-share {share:g}: no label would be left of {name!r}, which has "
                f"{len(rows):,} texts in train; give {1 / len(rows):.2g} or more"
            )
        kept[rows[:count]] = True
    rest = train.where(~kept)
    unlabelled = [*rest.texts, *(splits["unsup"].texts if "unsup" in splits else [])]
    result = {**splits, "train": train.where(kept)}
    if unlabelled:
        result["unsup"] = Split(unlabelled, np.empty(0, dtype=np.int64))
    return result
