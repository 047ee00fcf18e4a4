from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sentiment.inference.bundle import Bundle
from sentiment.tracking.logged_model import save_mlflow_model
from sweeps.registry.isolated_scoring import IsolatedScoringError, score_in_subprocess

TEXTS = ["This film is great", "this is bad", "", "\ud800 \U0001f3ac", "great great film"]


def test_answers_are_those_of_the_bundle_and_nothing_is_left(
    make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    save_mlflow_model(make_bundle(1), model)
    before = set(model.rglob("*"))
    answers = score_in_subprocess(model, TEXTS)
    bundle = Bundle.load(make_bundle(1))
    assert answers.label_names == bundle.label_names
    np.testing.assert_allclose(
        answers.log_probabilities, bundle.log_probabilities(TEXTS), atol=1e-5
    )
    assert set(model.rglob("*")) == before


def test_model_that_needs_what_others_lack(
    make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    save_mlflow_model(make_bundle(1), model)
    code = model / "code/sentiment/inference/bundle.py"
    code.write_text(code.read_text().replace("import torch\n", "import torch\nimport ray\n", 1))
    with pytest.raises(IsolatedScoringError, match="import of ray"):
        score_in_subprocess(model, TEXTS)
