"""The page of hyperparameters is the one that the fields make."""

from pathlib import Path

from sentiment.reference import page


def test_the_committed_page_is_up_to_date():
    committed = Path(__file__).parents[3] / "docs" / "hyperparameters.md"
    assert committed.read_text(encoding="utf-8") == page(), (
        "run: python -m sentiment.reference > docs/hyperparameters.md"
    )


def test_a_row_tells_values_default_and_purpose():
    row = next(line for line in page().splitlines() if line.startswith("| `layers`"))
    assert row == "| `layers` | int ≥ 1, ≤ 4 | `1` | recurrent layers |"
