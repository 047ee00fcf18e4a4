"""How often models of a name were scored on the test split of a data set.

The more often results on a test split are seen before a choice, the less they predict of new texts.
A registered model's tag `test_looks.` with the start of the data's fingerprint counts them: one
for each scoring of a sweep's winner, and of a model by a promotion. Baselines and confirmations are
not counted, since nothing is chosen by them, nor are promotions that read recorded predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from sweeps.registry.store_lock import one_at_a_time
from sweeps.registry.versions import all_versions

TAG = "test_looks."


def count_looks(client: MlflowClient, name: str, fingerprint: str) -> int:
    """Return how often models of a name were scored on the test split of a data set.

    Args:
        client: client of the store.
        name: the registered model; it need not be there.
        fingerprint: the data set's.
    """
    tags = _tags(client, name)
    return 0 if tags is None else _known(tags, all_versions(client, name), fingerprint, None)


def add_look(client: MlflowClient, name: str, fingerprint: str, of: int | None = None) -> int:
    """Count one more scoring, and return how many there were.

    A name without a registered model has no place for the count: its first version starts it.

    Args:
        client: client of the store.
        name: the registered model.
        fingerprint: the data set's.
        of: the version that was scored, where that is a new one.
    """
    with one_at_a_time(client.tracking_uri):
        tags = _tags(client, name)
        if tags is None:
            return 1
        count = _known(tags, all_versions(client, name), fingerprint, of) + 1
        client.set_registered_model_tag(name, _tag(fingerprint), str(count))
    return count


def _known(
    tags: Mapping[str, str], versions: Sequence[ModelVersion], fingerprint: str, but: int | None
) -> int:
    """Return the count that is recorded; at least one for each version, all of which were scored.

    So what a kill kept from being counted, and what was registered before there was a count, is
    made up for.
    """
    text = tags.get(_tag(fingerprint), "")
    recorded = int(text) if text.isascii() and text.isdigit() else 0
    scored = sum(
        version.tags.get("dataset_fingerprint") == fingerprint and int(version.version) != but
        for version in versions
    )
    return max(recorded, scored)


def _tag(fingerprint: str) -> str:
    return f"{TAG}{fingerprint[:12]}"


def _tags(client: MlflowClient, name: str) -> Mapping[str, str] | None:
    """Return a registered model's tags; None if it isn't there."""
    try:
        tags: Mapping[str, str] = client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return tags
