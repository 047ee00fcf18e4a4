from sentiment.listing import LONGEST, listed, short, table_lines


def test_lists_are_bounded() -> None:
    assert listed(["neg", "pos"]) == "neg, pos"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f, g, h"
    assert listed([f"label {i}" for i in range(1_300)]).endswith("label 7 and 1,292 more")
    assert listed(["a", "b", "c"], shown=1) == "a and 2 more"


def test_names_are_one_short_line() -> None:
    assert short("two\n lines ") == "two lines"
    assert len(short("x" * 9_000)) == LONGEST
    assert len(listed(["x" * 9_000] * 130)) < 400


def test_a_table_is_aligned_by_cells_not_by_characters():
    lines = table_lines([["label", "texts"], ["素晴らしい", "1,024"], ["[bold]poor", "7"]])
    assert lines == [
        "  label       texts",
        "  素晴らしい  1,024",
        "  [bold]poor      7",
    ]
    assert table_lines([["a", "b"]], numbers=False, indent="") == ["a  b"]
