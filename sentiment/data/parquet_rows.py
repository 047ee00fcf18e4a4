"""Rows of a Parquet file, or of a folder of them as Spark writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.data.columns import MISSING, RawTable, nested, no_columns
from sentiment.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

ENDING = ".parquet"

_HIDDEN = ("_", ".")
_TABLE_FORMATS = {"_delta_log": "a Delta table", ".hoodie": "a Hudi table"}


def read_parquet(path: Path, data: bytes, wanted: Mapping[str, str]) -> RawTable:
    """Read the wanted columns of a Parquet file, by dotted names from within structs.

    Args:
        path: the file, for messages.
        data: its content.
        wanted: columns, with the flags that name them.

    Raises:
        InputError: it is damaged or no Parquet, or a column is not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        roots = _roots(path, file.schema_arrow, wanted)
        rows = file.read(columns=roots)
    except (pa.ArrowException, OSError) as error:
        raise InputError(_unreadable(path, error)) from error
    table = RawTable.of("row", list(wanted))
    for row in _values(path, rows, wanted):
        table.add(len(table.numbers) + 1, row)
    table.counted = file.metadata.num_rows
    return table


def part_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, those in its partitions too, sorted.

    Raises:
        InputError: there are none, the folder is that of a table format whose log says which
            files count, or its writer has not ended.
    """
    for name, what in _TABLE_FORMATS.items():
        if (folder / name).exists():
            raise InputError(
                f"{folder}: {what}, whose log says which files count; export it as Parquet first"
            )
    if (folder / "_temporary").exists():
        raise InputError(f"{folder}: not complete, it holds _temporary; is it still being written?")
    files = sorted(
        path
        for path in folder.rglob(f"*{ENDING}")
        if path.is_file()
        and not any(part.startswith(_HIDDEN) for part in path.relative_to(folder).parts)
    )
    if not files:
        raise InputError(
            f"{folder}: a folder without {ENDING} files; name files of other kinds, such as "
            f"--data '{folder}/*.csv'"
        )
    return files


def read_folder(
    folder: Path, files: Sequence[Path], wanted: Mapping[str, str]
) -> Iterator[tuple[Path, RawTable]]:
    """Yield the wanted columns of each of a folder's Parquet files.

    Columns may also be in the names of subfolders, such as `label=1` (hive partitions).

    Raises:
        InputError: a file is damaged, or the folder has no such column.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    try:
        dataset = ds.dataset(
            [str(path) for path in files],
            format="parquet",
            partitioning=ds.partitioning(flavor="hive"),
            partition_base_dir=str(folder),
        )
        roots = _roots(folder, dataset.schema, wanted)
        fragments = sorted(dataset.get_fragments(), key=lambda fragment: fragment.path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(_unreadable(folder, error)) from error
    for fragment in fragments:
        path = Path(fragment.path)
        try:
            rows = fragment.to_table(schema=dataset.schema, columns=roots)
        except (pa.ArrowException, OSError) as error:
            raise InputError(_unreadable(path, error)) from error
        table = RawTable.of("row", list(wanted))
        for row in _values(path, rows, wanted):
            table.add(len(table.numbers) + 1, row)
        table.counted = fragment.metadata.num_rows
        yield path, table


def _unreadable(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{path}: can't be read as Parquet ({reason:.200})"


def _roots(path: Path, schema: pa.Schema, wanted: Mapping[str, str]) -> list[str]:
    """Return the top-level columns in which the wanted ones are."""
    known = list(_dotted(schema))
    missing = [name for name in wanted if name not in known and name not in schema.names]
    if missing:
        raise InputError(f"{path}: {no_columns(wanted, missing, known)}")
    for name in wanted:
        if schema.names.count(name) > 1:
            raise InputError(f"{path}: there are two columns {name!r}; name one of them anew")
    roots = [name if name in schema.names else _owner(schema.names, name) for name in wanted]
    return list(dict.fromkeys(roots))


def _owner(names: Sequence[str], dotted: str) -> str:
    return next(name for name in names if dotted.startswith(f"{name}."))


def _dotted(fields: Any, prefix: str = "") -> Iterator[str]:
    import pyarrow as pa

    for field in fields:
        if pa.types.is_struct(field.type) and field.type.num_fields:
            yield from _dotted(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _values(path: Path, rows: pa.Table, wanted: Mapping[str, str]) -> Iterator[list[Any]]:
    """Yield each row's values of the wanted columns."""
    columns = {name: iter(rows.column(name)) for name in rows.column_names}
    for number in range(1, rows.num_rows + 1):
        try:
            row = {name: next(values).as_py() for name, values in columns.items()}
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, row {number}: not UTF-8") from error
        found = [nested(row, name) for name in wanted]
        yield [None if value is MISSING else value for value in found]
