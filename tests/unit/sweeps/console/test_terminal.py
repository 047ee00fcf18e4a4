"""Output that fits the terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweeps.terminal import Column, fitted_table, flowed, notify

BOARD = [
    Column("rank", ["1", "2"], right=True),
    Column("trial", ["047 bigru-1×64 fasttext rmsprop", "012 bilstm-2×128 word2vec adam"]),
    Column("learning_rate", ["0.002", "0.001234"], right=True, spare=1),
    Column("valid/accuracy", ["0.9029", "0.9024"], right=True),
    Column("parameters", ["2,513,097", "12,564,073"], right=True, spare=2),
    Column("outcome", ["completed", "stopped early"]),
]


def printed(table, width, soft_wrap=False):
    console = Console(file=io.StringIO(), width=width, soft_wrap=soft_wrap)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def lines_of(width):
    return printed(fitted_table(BOARD, width).table, width, soft_wrap=True)


def test_all_is_shown_on_one_line_where_there_is_room():
    fitted = fitted_table(BOARD, 120)
    lines = printed(fitted.table, 120)
    assert lines[0].split() == ["rank", "trial", "learning_rate", "valid/accuracy", "parameters",
                                "outcome"]  # fmt: skip
    assert (len(lines), fitted.left_out) == (3, [])
    assert lines[2].endswith("0.001234          0.9024  12,564,073  stopped early")


def test_headings_are_wrapped_before_a_column_is_left_out():
    fitted = fitted_table(BOARD, 86)
    lines = printed(fitted.table, 86)
    assert fitted.left_out == []
    assert [line.split() for line in lines[:2]] == [
        ["learning_", "valid/"],
        ["rank", "trial", "rate", "accuracy", "parameters", "outcome"],
    ]


def test_columns_are_left_out_in_their_turn():
    assert fitted_table(BOARD, 84).left_out == ["learning_rate"]
    assert lines_of(80)[0].split()[2:4] == ["valid/accuracy", "parameters"]
    assert fitted_table(BOARD, 72).left_out == ["learning_rate", "parameters"]
    assert all(len(line) <= 80 for line in lines_of(80))
    assert lines_of(80)[1].split() == ["1", "047", "bigru-1×64", "fasttext", "rmsprop", "0.9029",
                                       "2,513,097", "completed"]  # fmt: skip


def test_cells_are_wrapped_at_words_where_no_column_can_go():
    lines = lines_of(44)
    assert all(len(line) <= 44 for line in lines)
    words = " ".join(lines).split()
    for word in ("bigru-1×64", "fasttext", "rmsprop", "word2vec", "completed", "stopped"):
        assert word in words


def test_rows_become_lists_where_no_table_fits():
    lines = lines_of(30)
    assert lines[0].split() == ["rank", "1"]
    assert "valid/accuracy  0.9029" in lines
    assert all(len(line) <= 30 for line in lines)


def test_long_cells_are_wrapped_before_a_column_is_left_out():
    names = ["000 gru", "confirmation bigru-1×23 glove adam seed 1236"]
    columns = [Column("trial", names, most=32), Column("seconds", ["7", "12"], spare=1)]
    fitted = fitted_table(columns, 45)
    assert fitted.left_out == []
    assert printed(fitted.table, 45)[2:] == [
        "confirmation bigru-1×23 glove     12",
        "adam seed 1236",
    ]
    assert len(printed(fitted_table(columns, 60).table, 60)) == 3


cells = st.text("ab ×/_", max_size=30)


@given(
    st.lists(st.tuples(cells, cells, st.booleans()), min_size=1, max_size=6), st.integers(20, 160)
)
def test_no_line_is_longer_than_the_width(columns, width):
    table = fitted_table(
        [
            Column(heading, [cell, "x"], spare=place + 1 if spare and place else None)
            for place, (heading, cell, spare) in enumerate(columns)
        ],
        width,
    ).table
    console = Console(file=io.StringIO(), width=1000)
    console.print(table)
    assert all(len(line.rstrip()) <= width for line in console.file.getvalue().splitlines())


def test_parts_flow_into_lines_and_stay_whole():
    parts = ["cell lstm", "hidden_dim 128", "learning_rate 0.00123"]
    assert flowed(parts, 26, ", ") == ["cell lstm, hidden_dim 128,", "learning_rate 0.00123"]
    assert flowed(parts, 80, ", ") == ["cell lstm, hidden_dim 128, learning_rate 0.00123"]
    assert flowed([], 80, ", ") == []


@pytest.mark.parametrize("soft_wrap", [True, False])
def test_words_stay_whole_on_a_terminal_and_lines_in_a_log(soft_wrap):
    text = "the report of the sweep: file:///tmp/a-folder-with-a-long-name/report.html\n  a command"
    text += " that is longer than the line"
    terminal = Console(file=io.StringIO(), width=24, force_terminal=True, soft_wrap=soft_wrap)
    notify(terminal, text)
    assert terminal.file.getvalue().splitlines() == [
        "the report of the sweep:",
        "file:///tmp/a-folder-with-a-long-name/report.html",
        "  a command that is longer than the line",
    ]
    command = "it was cut off; resume it: python -m sweeps.launch --resume first"
    notify(terminal, command)
    assert terminal.file.getvalue().splitlines()[3:] == [
        "it was cut off; resume",
        "it:",
        "  python -m sweeps.launch --resume first",
    ]
    log = Console(file=io.StringIO(), width=24, soft_wrap=soft_wrap)
    notify(log, text)
    assert log.file.getvalue() == f"{text}\n"
