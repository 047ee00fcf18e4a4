"""Where a data set comes from and how a user's files are read: one field, one flag."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from sentiment.config import Section

# The default first.
DATASETS = ("imdb-25k", "imdb", "rotten-tomatoes")

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "\\t": "\t"}
"""Delimiters by their names; any other single character is taken literally."""

JOIN = "join:"
"""What `rare_labels` starts with where it names the label that the rare ones become."""


class DataConfig(Section):
    """Which texts are learnt from."""

    dataset: str = Field(DATASETS[0], description=", ".join(DATASETS))
    data: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="own CSV, TSV, JSON or Parquet file; repeat for more",
    )
    unlabelled: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="file of texts without labels, of the same forms; repeat for more",
    )
    data_dir: str | None = Field(
        None, description="for imdb: the folder aclImdb or its tarball, instead of the download"
    )
    text_column: tuple[str, ...] = Field(
        ("text",), min_length=1, description="column of the texts; repeat to join"
    )
    label_column: str = Field("label", description="column of the labels")
    split_column: str | None = Field(
        None, description="column that says train, valid or test, for --data"
    )
    group_column: str | None = Field(
        None,
        description="column of groups that stay whole in one split; film for --dataset imdb",
    )
    delimiter: str | None = Field(
        None, description="comma, semicolon, tab, pipe or a character (default: detected)"
    )
    encoding: str | None = Field(
        None, description="such as cp1252 (default: by the byte order mark, or UTF-8)"
    )
    no_header: bool = Field(
        False, description="the first row is data; columns are called 1, 2, 3 …"
    )
    quoting: Literal["auto", "standard", "none"] = Field(
        "auto",
        description="none: marks are text; standard: never doubt them",
    )
    escape: str | None = Field(
        None, description="character that escapes quotation marks, such as '\\'"
    )
    label_map: tuple[str, ...] = Field(
        (), description="new names of labels: 0=neg,4=pos; 3= leaves the rows out"
    )
    skip_incomplete: bool = Field(False, description="leave out rows without a text or a label")
    rare_labels: str = Field("refuse", description="with too few texts: refuse, drop or join:NAME")
    min_label_count: int | None = Field(
        None,
        ge=1,
        description="with fewer texts a label is rare (default: by the splits)",
    )
    validation_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of validation in all but test (default: the set's own)",
    )
    label_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of train that keeps its labels; the rest becomes unlabelled",
    )
    split_seed: int = Field(
        1234, ge=0, le=2**32 - 1, description="seed of the splits that are drawn"
    )

    @field_validator("data", "unlabelled", "text_column", "label_map", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """Take a single string, as older records have it, for a sequence of one."""
        return (value,) if isinstance(value, str) else value

    @field_validator("delimiter")
    @classmethod
    def _a_character_or_a_name(cls, value: str | None) -> str | None:
        if value is None or value.lower() in DELIMITERS:
            return value
        if len(value) != 1 or value in '"\r\n' or not (value.isprintable() or value == "\t"):
            raise ValueError(f"give one character or a name: {', '.join(list(DELIMITERS)[:4])}")
        return value

    @field_validator("escape")
    @classmethod
    def _a_character(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value in '"\r\n \t'):
            raise ValueError("give one character, such as '\\'")
        return value

    @field_validator("rare_labels")
    @classmethod
    def _a_treatment(cls, value: str) -> str:
        joins = value.startswith(JOIN) and value.removeprefix(JOIN).strip()
        if value not in ("refuse", "drop") and not joins:
            raise ValueError("give refuse, drop, or join: with a name, such as join:other")
        return value


OF_DELIMITED = ("delimiter", "no_header", "quoting", "escape")
"""Fields that are for delimited files (CSV and the like) alone."""

OF_TEXTS = ("text_column", "encoding", *OF_DELIMITED)
"""Fields that say how files of texts are read, with labels or without."""

_OF_ALL = (
    "dataset",
    "data",
    "unlabelled",
    "data_dir",
    "group_column",
    "validation_share",
    "label_share",
    "split_seed",
)

OF_FILES = tuple(name for name in DataConfig.model_fields if name not in _OF_ALL)
"""Fields that are for files of one's own alone."""


def flag(field: str) -> str:
    """Return the flag of a field."""
    return f"--{field.replace('_', '-')}"
