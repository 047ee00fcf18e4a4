"""The notebook of examples/: what it says is true of the interface, and it runs in a kernel."""

from __future__ import annotations

import ast
import inspect
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import sentiment
import sweeps
from sweeps.pipeline.flags import default_arguments

FILE = Path(__file__).parents[2] / "examples" / "first_sweep.ipynb"
CELLS = json.loads(FILE.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
SOURCES = ["".join(cell["source"]) for cell in CODE]
MENTIONED = re.findall(
    r"`((?:sentiment|sweeps)\.\w+\(.*?\))`",
    "".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown"),
)


def calls(source: str) -> list[ast.Call]:
    """The calls of functions of the two packages."""
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and re.match(r"(sentiment|sweeps)\.\w+$", ast.unparse(node.func))
    ]


@pytest.mark.parametrize("source", [*SOURCES, *MENTIONED])
def test_calls_have_real_names_and_parameters(source: str) -> None:
    for call in calls(source):
        module, _, name = ast.unparse(call.func).partition(".")
        function = getattr({"sentiment": sentiment, "sweeps": sweeps}[module], name)
        known = set(inspect.signature(function).parameters)
        if function is sweeps.run:
            known |= set(vars(default_arguments()))
        assert {keyword.arg for keyword in call.keywords} <= known


def test_it_mentions_what_comes_next() -> None:
    assert {call.split("(")[0] for call in MENTIONED} == {"sentiment.load", "sweeps.run"}


def test_the_saved_outputs_are_those_of_a_good_run() -> None:
    text = json.dumps([cell["outputs"] for cell in CODE])
    assert all(cell["outputs"] for cell in CODE)
    assert not re.search(r'"output_type": "error"|"name": "stderr"|/root|/home|/work', text)
    assert "4/4 trials ended" in text
    assert "registered as version 1 of sentiment, alias challenger" in text


@pytest.mark.slow
def test_it_runs_in_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Jupyter runs it, in a folder of its own: its panel, its lines, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own folders
        import nbformat
        from nbclient import NotebookClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(FILE.parents[1]))
    notebook = nbformat.read(FILE, 4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=540, coalesce_streams=True, resources=place).execute()
    outputs: list[dict[str, Any]] = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    panels = [each["data"] for each in outputs if each["output_type"] == "display_data"]
    # Of the search, the finalists and the refit: each drawn in place, so that its last state stays.
    assert [panel["text/plain"].split(" trials")[0] for panel in panels] == ["4/4", "1/1", "1/1"]
    assert all(panel["text/html"].startswith("<pre") for panel in panels)
    streams = [each for each in outputs if each["output_type"] == "stream"]
    assert {each["name"] for each in streams} == {"stdout"}, streams
    lines = "".join(each["text"] for each in streams).splitlines()
    assert lines[0].startswith("space cpu")
    assert any(line.startswith("registered as version 1 of sentiment") for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert re.fullmatch(r"refit .+: test accuracy 0\.\d{4}", lines[-3])
    assert re.fullmatch(r"pos [01]\.\d\d\nneg [01]\.\d\d", "\n".join(lines[-2:]))
    assert (tmp_path / "mlflow.db").exists()
