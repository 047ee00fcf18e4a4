"""Text classification with packed-sequence RNNs: data, model, training, the saved model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment.inference.loaded_model import LoadedModel

__all__ = ["load"]


def load(model: str | None = None, tracking_uri: str | None = None) -> LoadedModel:
    """Load a saved model to predict with.

    Args:
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/ID` or a run's id, or the folder
            of a saved model; the champion of the registered model `sentiment`, if None.
        tracking_uri: the MLflow store; MLflow's own default, if None.

    Raises:
        sentiment.errors.InputError: there is no such model, its files are damaged, or the store
            can't be opened.
    """
    # Torch takes a second to import, which `import sentiment` must not; MLflow takes two more,
    # which neither a folder nor an alias of an SQLite store needs.
    from sentiment.inference.ensemble import load_model
    from sentiment.inference.loaded_model import LoadedModel
    from sentiment.inference.saved_folder import bundle_within, names_folder

    if model is not None and names_folder(model):
        return LoadedModel(load_model(bundle_within(Path(model))))

    from sentiment.tracking.sqlite_registry import find_bundle

    found = find_bundle(model, tracking_uri)
    if found is not None:
        return LoadedModel(load_model(found))

    from sentiment.tracking.model_uri import resolve_model

    return LoadedModel(load_model(resolve_model(model, tracking_uri)))
