"""The serving app: labels and probabilities over HTTP, in the forms of MLflow's scoring server.

`POST /invocations` takes and answers what `mlflow models serve` does for the same model, so clients
of either need no change; `/ping`, `/health` and `/version` are those of that server too. The header
`X-Model` of an answer names the model that gave it.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from sweeps.serving.batching import BatchedClassifier
from sweeps.serving.metrics import ServingMetrics
from sweeps.serving.requests import EXAMPLE, InferenceRequest, RequestError, read_request
from sweeps.serving.served_model import ServedModel

MODEL_HEADER = "X-Model"
"""Header of an answer: the name of the model that gave it, percent-encoded."""


class Prediction(BaseModel):
    """The answer to one text."""

    label: str = Field(description="the most probable label")
    probability: float = Field(description="that label's probability", ge=0, le=1)
    explanation: str | None = Field(
        None, description="with the parameter `explain`: the weight of each word, a JSON object"
    )


class Predictions(BaseModel):
    """The answer to a request: a prediction a text, in their order."""

    predictions: list[Prediction]


class Model(BaseModel):
    """The model that answers."""

    model: str = Field(description="NAME/VERSION of a registered one, else its run or folder")
    labels: tuple[str, ...] = Field(description="what it tells apart")


class Problem(BaseModel):
    """Why a request was refused."""

    error_code: str = "BAD_REQUEST"
    message: str


class Record(BaseModel):
    """A row of a request; columns beside the text are ignored."""

    model_config = ConfigDict(extra="ignore")

    text: str


def make_app(classifier: BatchedClassifier, metrics: ServingMetrics) -> FastAPI:
    """Return the app that answers with a model, and counts what it does."""
    # Its pages of documentation load scripts from elsewhere; the schema alone does not.
    app = FastAPI(title="sentiment-sweeps", docs_url=None, redoc_url=None)

    @app.post(
        "/invocations",
        response_model=Predictions,
        responses={400: {"model": Problem}, 413: {"model": Problem}, 415: {"model": Problem}},
        openapi_extra={"requestBody": _request_body()},
    )
    async def invocations(request: Request) -> Response:
        """Classify the texts of a request."""
        began = time.perf_counter()
        status = 500
        try:
            asked = await read_request(request.headers, request.receive)
            # Without one the client is gone.
            answer = Response(status_code=499) if asked is None else await classify(asked)
            status = answer.status_code
            return answer
        except RequestError as error:
            status = error.status
            return JSONResponse(Problem(message=str(error)).model_dump(), status)
        finally:
            metrics.answered(status, time.perf_counter() - began)

    async def classify(asked: InferenceRequest) -> Response:
        predictions, model = await _predictions(classifier, asked)
        metrics.predicted(model.name, (each.label for each in predictions))
        return Response(
            Predictions(predictions=predictions).model_dump_json(exclude_none=True),
            media_type="application/json",
            headers={MODEL_HEADER: quote(model.name)},
        )

    @app.get("/ping", include_in_schema=False)
    @app.get("/ready")
    @app.get("/health")
    async def health() -> Response:
        """Answer 200: the server starts to listen once its model is loaded and warm."""
        return Response("\n", media_type="application/json")

    @app.get("/version")
    async def mlflow_version() -> Response:
        """Return the version of MLflow whose forms the requests have."""
        headers = {MODEL_HEADER: quote(classifier.model.name)}
        return Response(version("mlflow"), media_type="text/plain", headers=headers)

    @app.get("/model")
    async def model() -> Model:
        """Return the model that answers now."""
        return Model(model=classifier.model.name, labels=classifier.model.bundle.label_names)

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Return counts of requests, their seconds and the labels predicted, for Prometheus."""
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _predictions(
    classifier: BatchedClassifier, asked: InferenceRequest
) -> tuple[list[Prediction], ServedModel]:
    """Return a prediction a text, and the model that made them."""
    if asked.explain:
        explanations, model = await classifier.explain(asked.texts)
        explained = [
            Prediction(label=e.label, probability=e.probability, explanation=e.to_json())
            for e in explanations
        ]
        return explained, model
    probabilities, model = await classifier.predict(asked.texts)
    names = model.bundle.label_names
    predictions = [
        Prediction(label=names[index], probability=float(row[index]))
        for index, row in zip(probabilities.argmax(axis=1), probabilities, strict=True)
    ]
    return predictions, model


def _request_body() -> dict[str, Any]:
    """Return the OpenAPI schema of a request: one of MLflow's four forms."""
    records = {"type": "array", "items": Record.model_json_schema()}
    texts = {"type": "array", "items": {"type": "string"}}
    columns = {
        "type": "object",
        "properties": {"text": texts},
        "required": ["text"],
    }
    split = {
        "type": "object",
        "properties": {"columns": texts, "data": {"type": "array", "items": {"type": "array"}}},
        "required": ["columns", "data"],
    }
    forms = {
        "dataframe_records": records,
        "dataframe_split": split,
        "instances": {"oneOf": [records, texts]},
        "inputs": {"oneOf": [records, texts, columns]},
    }
    params = {
        "type": ["object", "null"],
        "properties": {"explain": {"type": "boolean", "default": False}},
        "additionalProperties": False,
    }
    schema = {
        "oneOf": [
            {
                "type": "object",
                "properties": {name: form, "params": params},
                "required": [name],
                "additionalProperties": False,
            }
            for name, form in forms.items()
        ]
    }
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "example": EXAMPLE}},
    }
