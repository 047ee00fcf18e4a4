"""Files of every kind, by their endings: which reader reads which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sentiment.data import delimited, json_rows, parquet_rows
from sentiment.data.columns import RawTable, wanted_columns
from sentiment.data.config import OF_DELIMITED, DataConfig, flag
from sentiment.data.sources import Source
from sentiment.errors import InputError
from sentiment.io.decompression import COMPRESSED, plain_name, read_plain
from sentiment.io.encodings import decoded

ENDINGS = (*delimited.ENDINGS, *json_rows.ENDINGS, parquet_rows.ENDING)
"""What the name of a file may end in, before the ending of its compression."""


def check_flags(
    config: DataConfig, sources: Sequence[Source], unlabelled: Sequence[Source] = ()
) -> None:
    """Refuse settings that no file would go by, or that contradict each other.

    Args:
        config: the settings.
        sources: the files of labelled texts.
        unlabelled: those of texts without labels.

    Raises:
        InputError: there are some.
    """
    if config.split_column is not None and any(source.split for source in sources):
        raise InputError("--split-column: files are named with their splits already; give one")
    endings = {_ending(source.path) for source in (*sources, *unlabelled)}
    given = [name for name in OF_DELIMITED if _is_given(config, name)]
    if given and not endings & delimited.ENDINGS.keys():
        kinds = ", ".join(delimited.ENDINGS)
        raise InputError(f"{flag(given[0])} is for {kinds}; no such file is named")
    if config.encoding is not None and endings <= {"", parquet_rows.ENDING}:
        raise InputError("--encoding is for files of text; Parquet has its own")


def _is_given(config: DataConfig, name: str) -> bool:
    return bool(getattr(config, name) != DataConfig.model_fields[name].default)


def _ending(path: Path) -> str:
    return Path(plain_name(path)).suffix.lower() if not path.is_dir() else ""


def read_source(
    source: Source, config: DataConfig, labelled: bool = True
) -> Iterator[tuple[Path, RawTable]]:
    """Yield the wanted columns of a file, or of each file of a folder.

    Args:
        source: the file or folder.
        config: the columns, and how files are read.
        labelled: whether labels, splits and groups are read; else texts alone.

    Raises:
        InputError: a file can't be read, or does not have the columns.
    """
    wanted = wanted_columns(config, labelled)
    label = config.label_column if labelled else None
    path = source.path
    if path.is_dir():
        files = parquet_rows.part_files(path)
        yield from parquet_rows.read_folder(path, files, wanted)
        return
    if path.suffix.lower() != ".zip" and _ending(path) not in ENDINGS:
        raise InputError(
            f"{path}: unknown kind of file {_ending(path)!r}, it must end in {', '.join(ENDINGS)}, "
            f"or that and {', '.join(COMPRESSED)}"
        )
    name, data = read_plain(path)
    ending = Path(name).suffix.lower()
    if ending == parquet_rows.ENDING:
        yield path, parquet_rows.read_parquet(path, data, wanted)
        return
    if ending not in ENDINGS:
        raise InputError(f"{path}: it holds {name!r}, which must end in {', '.join(ENDINGS)}")
    text, encoding = decoded(path, data, config.encoding)
    if ending in json_rows.ENDINGS:
        raw = json_rows.read_json(path, text, wanted)
    else:
        raw = delimited.read_delimited(path, text, ending, wanted, label, config)
    if encoding != "utf-8":
        raw.form.append(encoding)
    yield path, raw
