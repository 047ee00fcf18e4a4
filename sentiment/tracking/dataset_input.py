"""The data set of a run as MLflow shows it: an input with a digest, a source and its size."""

from __future__ import annotations

import json

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag

from sentiment.data import imdb
from sentiment.data.datasets import PACKAGE_PAGE, DataConfig, Dataset
from sentiment.data.sources import absolute

UNLABELLED_FILES = "unlabelled"
"""Key of the source: the files of texts without labels."""
DIGEST_LENGTH = 12
"""Characters of the fingerprint that are the digest; MLflow's pages show it whole."""


def dataset_input(dataset: Dataset, config: DataConfig) -> DatasetInput:
    """Return a data set as MLflow's entity, to be logged as an input of a run.

    Args:
        dataset: the data set.
        config: where it came from.
    """
    sizes = {name: len(split.texts) for name, split in dataset.splits.items()}
    columns = [{"name": name, "type": "string", "required": True} for name in ("text", "label")]
    kind, source = _source(config)
    return DatasetInput(
        dataset=DatasetEntity(
            name=dataset.name,
            digest=dataset.fingerprint[:DIGEST_LENGTH],
            source_type=kind,
            source=json.dumps(source),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": sum(sizes.values()), **sizes}),
        ),
        tags=[InputTag("mlflow.data.context", "training")],
    )


def _source(config: DataConfig) -> tuple[str, dict[str, str | list[str]]]:
    """Return MLflow's type of the source, and the source."""
    local = absolute(config)
    more = {} if local.unlabelled is None else {UNLABELLED_FILES: list(local.unlabelled)}
    if local.data is not None:
        files = {"files": list(local.data)} if len(local.data) > 1 else {}
        return "local", {"uri": local.data[0], **files, **more}
    if local.data_dir is not None:
        return "local", {"uri": local.data_dir, **more}
    return "http", {"url": imdb.URL if config.dataset == "imdb" else PACKAGE_PAGE, **more}
