from __future__ import annotations

import argparse
import json

import pytest

from sentiment import cli
from sentiment.data.config import DataConfig, flag
from sentiment.errors import InputError

OLD = {
    "dataset": "imdb-25k", "data": "/data/reviews.csv", "data_dir": None, "text_column": "body",
    "label_column": "stars", "split_column": None, "validation_share": 0.2,
}  # fmt: skip

EVERYTHING = [
    *("--data", "a.csv", "--data", "b*.csv:test", "--text-column", "title"),
    *("--text-column", "body", "--label-column", "stars", "--delimiter", ";"),
    *(
        "--group-column",
        "author",
        "--encoding",
        "cp1252",
        "--no-header",
        "--quoting",
        "none",
        "--escape",
        "\\",
    ),
    *("--label-map", "0=neg,4=pos", "--label-map", "2=", "--skip-incomplete"),
    *("--rare-labels", "join:other", "--min-label-count", "7", "--validation-share", "0.2"),
    *("--split-seed", "7", "--unlabelled", "more.csv", "--label-share", "0.5"),
]


def parse(words: list[str]) -> DataConfig:
    parser = argparse.ArgumentParser()
    cli.add_data_arguments(parser)
    return cli.data_config(parser.parse_args(words))


def test_records_of_earlier_versions_still_load() -> None:
    config = DataConfig(**OLD)
    assert config == DataConfig(
        data=("/data/reviews.csv",), text_column=("body",), label_column="stars",
        validation_share=0.2,
    )  # fmt: skip
    assert DataConfig(**json.loads(config.model_dump_json(exclude_defaults=True))) == config
    assert DataConfig(**json.loads(json.dumps(config.model_dump()))) == config


def test_each_field_has_a_flag_and_comes_back_from_the_record() -> None:
    config = parse(EVERYTHING)
    given = set(EVERYTHING)
    others = ("dataset", "data_dir", "split_column")
    assert {flag(name) for name in DataConfig.model_fields if name not in others} <= given
    assert config.data == ("a.csv", "b*.csv:test")
    assert config.text_column == ("title", "body")
    assert config.label_map == ("0=neg,4=pos", "2=")
    assert (config.no_header, config.skip_incomplete, config.min_label_count) == (True, True, 7)
    assert DataConfig(**json.loads(config.model_dump_json(exclude_defaults=True))) == config
    assert parse(cli.data_flags(config)) == config
    assert cli.data_flags(DataConfig()) == []
    assert parse([]) == DataConfig()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--delimiter", "ab"], "--delimiter ab: give one character or a name: comma, semicolon"),
        (["--delimiter", '"'], '--delimiter ": give one character'),
        (["--escape", "ab"], "--escape ab: give one character"),
        (["--quoting", "all"], "--quoting all: input should be 'auto', 'standard' or 'none'"),
        (["--rare-labels", "join:"], "--rare-labels join:: give refuse, drop, or join: with a"),
        (["--label-share", "0"], "--label-share 0.0: input should be greater than 0"),
        (["--label-share", "1.5"], "--label-share 1.5: input should be less than or equal to 1"),
        (["--min-label-count", "0"], "--min-label-count 0: input should be greater"),
    ],
)
def test_wrong_values_name_the_flag(words: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(words)
    assert str(caught.value).startswith(message)
