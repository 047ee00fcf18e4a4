"""A saved model in Python: texts in, labels and probabilities out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentiment.inference.ensemble import TextModel
from sentiment.inference.prediction import Explanation, Prediction


class LoadedModel:
    """A model that predicts, in float32 on the CPU.

    The same text gets the same probabilities, to 1e-5, alone or among others, as from
    `python -m sentiment.predict`, the served model and MLflow's `pyfunc`.
    """

    def __init__(self, bundle: TextModel) -> None:
        self.bundle = bundle

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of the columns of `predict_proba`."""
        return self.bundle.label_names

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probabilities of texts, (n, C) in float32.

        Raises:
            TypeError: one text was given in place of several, or something else than texts.
        """
        if isinstance(texts, str):
            raise TypeError("give a list of texts, not one text")
        texts = list(texts)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text {row} must be a string, not {type(text).__name__}")
        return self.bundle.predict(texts)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return a prediction for each text; raises as `predict_proba`."""
        return [
            Prediction(
                self.labels[row.argmax()],
                float(row.max()),
                {name: float(value) for name, value in zip(self.labels, row, strict=True)},
            )
            for row in self.predict_proba(texts)
        ]

    def explain(self, text: str) -> Explanation:
        """Return the prediction of a text with the weight of each of its words.

        Raises:
            TypeError: something else than one text was given.
        """
        if not isinstance(text, str):
            raise TypeError(f"give one text, a string, not {type(text).__name__}")
        # It imports SciPy's functions, which takes a fifth of a second and no prediction needs.
        from sentiment.inference.explain import explain

        return explain(self.bundle, [text])[0]
