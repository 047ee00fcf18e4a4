"""The model that MLflow serves: raw text in, label and probability out.

MLflow copies this file into each logged model ("models from code") and runs it when the model is
loaded; the bundle lies beside it, and so does a copy of this package. Nothing is unpickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from sentiment.inference.ensemble import TextModel


class TextClassifier(PythonModel):
    """Classify texts with the bundle in the artifact `bundle`, in float32."""

    _bundle: TextModel

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle once; torch is imported here, not where the model is merely logged."""
        from sentiment.inference.ensemble import load_model

        self._bundle = load_model(context.artifacts["bundle"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return a DataFrame with the columns `label` and `probability`, a row a text.

        With the parameter `explain` there is also `explanation`: a JSON object of the weight of
        each word, see `sentiment.inference.prediction.Explanation`.

        Raises:
            ValueError: the input has no column `text`, or a value in it is not a string.
        """
        texts = _texts(model_input)
        if params and params.get("explain"):
            return self._explained(texts)
        probabilities = self._bundle.predict(texts)
        best = probabilities.argmax(axis=1) if texts else []
        names = self._bundle.label_names
        return pd.DataFrame(
            {
                "label": pd.Series([names[index] for index in best], dtype="object"),
                "probability": pd.Series(
                    [float(row[index]) for row, index in zip(probabilities, best, strict=True)],
                    dtype="float32",
                ),
            }
        )

    def _explained(self, texts: list[str]) -> pd.DataFrame:
        from sentiment.inference.explain import explain

        found = explain(self._bundle, texts)
        return pd.DataFrame(
            {
                "label": pd.Series([each.label for each in found], dtype="object"),
                "probability": pd.Series([each.probability for each in found], dtype="float32"),
                "explanation": pd.Series([each.to_json() for each in found], dtype="object"),
            }
        )


def _texts(model_input: Any) -> list[str]:
    if isinstance(model_input, pd.DataFrame):
        if "text" not in model_input.columns:
            raise ValueError(f"the input needs a column `text`, not {list(model_input.columns)}")
        model_input = model_input["text"]
    texts = list(model_input)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"row {row}: `text` must be a string, not {type(text).__name__}")
    return texts


set_model(TextClassifier())
