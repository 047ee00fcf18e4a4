from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sentiment.bundle import Bundle
from sentiment.record import save_mlflow_model
from sweeps.stranger import StrangerError, ask

TEXTS = ["This film is great", "this is bad", "", "\ud800 \U0001f3ac", "great great film"]


def test_answers_are_those_of_the_bundle_and_nothing_is_left(
    make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    save_mlflow_model(make_bundle(1), model)
    before = set(model.rglob("*"))
    answers = ask(model, TEXTS)
    bundle = Bundle.load(make_bundle(1))
    assert answers.label_names == bundle.label_names
    np.testing.assert_allclose(
        answers.log_probabilities, bundle.log_probabilities(TEXTS), atol=1e-5
    )
    assert set(model.rglob("*")) == before


def test_model_that_needs_what_a_stranger_lacks(
    make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    save_mlflow_model(make_bundle(1), model)
    code = model / "code/sentiment/bundle.py"
    code.write_text(code.read_text().replace("import json\n", "import json\nimport ray\n", 1))
    with pytest.raises(StrangerError, match="import of ray"):
        ask(model, TEXTS)
