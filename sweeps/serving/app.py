"""The serving app: labels and probabilities over HTTP, in the forms of MLflow's scoring server.

`POST /invocations` takes and answers what `mlflow models serve` does for the same model, so clients
of either need no change; `/ping`, `/health` and `/version` are those of that server too.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from sweeps.serving.batching import BatchedClassifier
from sweeps.serving.requests import EXAMPLE, RequestError, read_texts


class Prediction(BaseModel):
    """The answer to one text."""

    label: str = Field(description="the most probable label")
    probability: float = Field(description="that label's probability", ge=0, le=1)


class Answer(BaseModel):
    """The answer to a request: a prediction a text, in their order."""

    predictions: list[Prediction]


class Problem(BaseModel):
    """Why a request was refused."""

    error_code: str = "BAD_REQUEST"
    message: str


class Record(BaseModel):
    """A row of a request; columns beside the text are ignored."""

    model_config = ConfigDict(extra="ignore")

    text: str


def make_app(classifier: BatchedClassifier) -> FastAPI:
    """Return the app that answers with a model."""
    # Its pages of documentation load scripts from elsewhere; the schema alone does not.
    app = FastAPI(title="sentiment-sweeps", docs_url=None, redoc_url=None)

    @app.exception_handler(RequestError)
    async def refuse(request: Request, error: RequestError) -> JSONResponse:
        return JSONResponse(Problem(message=str(error)).model_dump(), error.status)

    @app.post(
        "/invocations",
        response_model=Answer,
        responses={400: {"model": Problem}, 413: {"model": Problem}, 415: {"model": Problem}},
        openapi_extra={"requestBody": _request_body()},
    )
    async def invocations(request: Request) -> Response:
        """Classify the texts of a request."""
        texts = await read_texts(request.headers, request.receive)
        if texts is None:
            return Response(status_code=499)  # the client is gone
        probabilities = await classifier.predict(texts)
        best = probabilities.argmax(axis=1)
        names = classifier.label_names
        answer = Answer(
            predictions=[
                Prediction(label=names[index], probability=float(row[index]))
                for index, row in zip(best, probabilities, strict=True)
            ]
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.get("/ping", include_in_schema=False)
    @app.get("/health")
    async def health() -> Response:
        """Answer 200: the server starts to listen once its model is loaded and warm."""
        return Response("\n", media_type="application/json")

    @app.get("/version")
    async def mlflow_version() -> Response:
        """Return the version of MLflow whose forms the requests have."""
        return Response(version("mlflow"), media_type="text/plain")

    return app


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
    schema = {
        "oneOf": [
            {
                "type": "object",
                "properties": {name: form},
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
