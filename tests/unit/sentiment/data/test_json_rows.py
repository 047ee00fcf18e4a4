from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentiment.data.columns import MISSING
from sentiment.data.json_rows import read_json
from sentiment.errors import InputError

WANTED = {"text": "--text-column", "label": "--label-column"}
NESTED = {"review.text": "--text-column", "review.rating": "--label-column"}
FILE = Path("t.json")


@pytest.mark.parametrize("form", ["array", "lines", "pretty"])
def test_arrays_and_lines_are_read_alike(form: str) -> None:
    rows = [{"text": "a\u2028b", "label": 1, "more": {}}, {"text": "c", "label": 0}]
    texts = {
        "array": json.dumps(rows, ensure_ascii=False),
        "lines": "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n",
        "pretty": "\n " + json.dumps(rows, indent=2),
    }
    table = read_json(FILE, texts[form], WANTED)
    assert table.values == {"text": ["a\u2028b", "c"], "label": [1, 0]}
    assert table.numbers == ([1, 3] if form == "lines" else [1, 2])
    assert table.counted == 2


def test_dotted_names_reach_into_objects() -> None:
    rows = [{"review": {"text": "a", "rating": 5}}, {"review.text": "b"}, {"review": 7}]
    table = read_json(FILE, json.dumps(rows), NESTED)
    assert table.values["review.text"] == ["a", "b", MISSING]
    assert table.values["review.rating"] == [5, MISSING, MISSING]


def test_names_that_are_not_there_are_shown_with_the_nearest() -> None:
    text = json.dumps({"review": {"text": "a", "Rating": 5}, "id": 1})
    with pytest.raises(InputError) as caught:
        read_json(FILE, text, {"text": "--text-column", "review.rating": "--label-column"})
    message = str(caught.value)
    assert "did you mean 'review.text' and 'review.Rating'?" in message
    assert "Give --text-column review.text --label-column review.Rating" in message
    assert message.endswith("the columns are 'review.text', 'review.Rating', 'id'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x", "label": 1}\n\n[1]\n', "line 3: not a JSON object but [1]"),
        ('{"text": "x", "label": 1}\n{"text": "y", "la', "line 2: not JSON"),
        ('{"text": "x", "label": 1, "text": "y"}', "not JSON (the field 'text' stands twice"),
        ('{\n"text": "x",\n"label": 1}', "line 1: not JSON"),
        ('[{"text": "x"}, 3]', "object 2: not an object but 3; an object a line, or one array"),
        ('[{"text": "x"},\n{"text"]', "line 2: not JSON"),
        ('[{"text": "x"}]\n[{"text": "y"}]', "line 2: not JSON (Extra data"),
        ("[" * 100_000, "line 1: not JSON"),
        ('{"text": ' + "[" * 100_000, "line 1: not JSON"),
        ('{"text": "x", "label": ' + "1" * 10_000 + "}", "line 1: not JSON"),
    ],
)  # fmt: skip
def test_a_wrong_file(content: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_json(FILE, content, WANTED)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
