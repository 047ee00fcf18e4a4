"""The process of `sweeps.registry.isolated_scoring`: it imports none of this project's code but
the copy that the model brings.

python -I isolated_process.py MODEL EXCHANGE THREADS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_CHECKED = 64
"""Texts that go the whole way through MLflow; the rest goes to the bundle at once."""
_TOLERANCE = 1e-5


def main(model: Path, exchange: Path, threads: int) -> None:
    """Write the log probabilities of the texts in `texts.json`, and what the model is like."""
    # Hidden, so that a model that needs them is found out.
    for name in ("sweeps", "ray", "optuna"):
        sys.modules[name] = None  # type: ignore[assignment]

    import mlflow.pyfunc
    import numpy as np
    import pandas as pd

    loaded = mlflow.pyfunc.load_model(str(model))
    import torch

    # Not by an import: an older model's code has another layout.
    bundle = loaded.unwrap_python_model()._bundle
    code = str(sys.modules[type(bundle).__module__].__file__)
    if not Path(code).resolve().is_relative_to(model.resolve()):
        raise ImportError(f"the model brings no code of its own: it ran with {code}")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    texts = json.loads((exchange / "texts.json").read_text(encoding="ascii"))
    scores = bundle.log_probabilities(texts)
    # As objects: pandas' own strings hold no lone surrogates, which a JSON file may.
    first = loaded.predict(pd.DataFrame({"text": pd.Series(texts[:_CHECKED], dtype=object)}))
    expected = scores[: len(first)]
    names = [bundle.label_names[index] for index in expected.argmax(1)]
    near = np.abs(first["probability"] - np.exp(expected.max(1))) <= _TOLERANCE
    padded = bundle.config.model.packing == "padded"  # judges a text by its batch
    if not padded and (first["label"].tolist() != names or not near.all()):
        raise ValueError("MLflow's answers are not those of the bundle within")
    np.save(exchange / "log_probabilities.npy", scores, allow_pickle=False)
    description = {"label_names": bundle.label_names, "padded": padded}
    (exchange / "model.json").write_text(json.dumps(description), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
