"""Files of texts without labels, `--unlabelled`: read like those of `--data`, each text once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from sentiment.data.config import DataConfig
from sentiment.data.readers import check_flags, read_source
from sentiment.data.sources import common_name, find_sources
from sentiment.data.splits import Split, TextKey
from sentiment.data.values import joined
from sentiment.errors import InputError
from sentiment.io.encodings import is_unicode
from sentiment.wording import counted

FLAG = "--unlabelled"


def add_unlabelled(
    splits: Mapping[str, Split], config: DataConfig, key: TextKey
) -> tuple[dict[str, Split], str]:
    """Return splits whose unsup has the texts of the files too, and a line on what became of them.

    A text leaves that is empty, has a twin before it, or one in train, validation or test: there it
    has been read or must not be.

    Args:
        splits: train, validation, test and, where there are some, unsup.
        config: names the files, their columns and their form.
        key: what twins have in common.

    Raises:
        InputError: a file can't be read, or does not have the columns.
    """
    names = config.unlabelled or ()
    # A column of labels may be there or not: nothing is read of it.
    config = config.model_copy(
        update={"label_column": config.text_column[0], "split_column": None, "group_column": None}
    )
    sources = find_sources(names, FLAG)
    named = [source.path for source in sources if source.split is not None]
    if named:
        raise InputError(f"{FLAG} {named[0]}: texts without labels are in no split; leave it out")
    check_flags(config, sources)
    place = {key(text): name for name, split in splits.items() for text in split.texts}
    found: list[str] = []
    left: Counter[str] = Counter()
    read = 0
    for source in sources:
        for _, raw in read_source(source, config):
            read += len(raw.numbers)
            columns = (raw.values[name] for name in config.text_column)
            for parts in zip(*columns, strict=True):
                text = joined(parts)
                if text is None or not is_unicode(text):
                    left["without a text"] += 1
                    continue
                twin = key(text)
                if twin in place:
                    left["repeated" if place[twin] == "unsup" else f"in {place[twin]}"] += 1
                    continue
                place[twin] = "unsup"
                found.append(text)
    result = dict(splits)
    if found:
        before = splits["unsup"].texts if "unsup" in splits else []
        result["unsup"] = Split([*before, *found], np.empty(0, dtype=np.int64))
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in left.items())
    taken = counted(len(found), "text")
    line = f"{common_name(sources)}: {counted(read, 'row')} read, {taken} without labels"
    return result, line + (f"; left out: {reasons}" if reasons else "")
