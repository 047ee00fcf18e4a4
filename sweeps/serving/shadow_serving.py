"""A shadow in a server: which model it is, and its parts put together, started and ended."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from sentiment.errors import InputError
from sentiment.tracking.model_uri import SavedModel, find_model
from sweeps.serving.batching import BatchedClassifier
from sweeps.serving.follower import Alias, Follower, is_alias
from sweeps.serving.metrics import ServingMetrics
from sweeps.serving.served_model import ServedModel, check_answers, load_served, model_name
from sweeps.serving.shadow import Shadow
from sweeps.serving.shadow_metrics import ShadowMetrics
from sweeps.serving.shadow_record import ShadowRecorder

_SEED = 0
_BARE = re.compile(r"[\w-]+")


class ShadowServing:
    """A shadow with what shows, keeps and moves it."""

    def __init__(self, shadow: Shadow, recorder: ShadowRecorder, alias: Alias | None) -> None:
        """Take the parts.

        Args:
            shadow: compares.
            recorder: keeps its counts.
            alias: that the shadow follows, if any.
        """
        self._shadow = shadow
        self._recorder = recorder
        self._alias = alias

    def attach(self, classifier: BatchedClassifier, metrics: ServingMetrics) -> None:
        """Have a classifier's batches compared, and the counts shown."""
        self._shadow.attach(classifier)
        metrics.add(ShadowMetrics(self._shadow))

    def start(self) -> list[Follower]:
        """Begin to keep the counts; return what is to run beside the server."""
        self._recorder.start()
        return [] if self._alias is None else [Follower(self._shadow, self._alias)]

    def close(self) -> None:
        """End the comparison and keep its counts, within seconds."""
        self._recorder.close()


def open_shadow(
    reference: str,
    store: str | None,
    champion: SavedModel,
    served: ServedModel,
    share: float,
    follow: bool,
) -> ShadowServing:
    """Load the shadow that the user named; note on standard error if its counts can't be kept.

    Args:
        reference: as the user named it; a bare alias is one of the registered model that answers.
        store: address of the tracking store; the default one, if None.
        champion: what answers.
        served: the same, loaded.
        share: of the batches that it predicts, above 0, at most 1.
        follow: change with the alias, if it is one.

    Raises:
        InputError: there is no such model, it is the one that answers, or has other labels.
    """
    meant = shadow_reference(reference, champion)
    try:
        saved = find_model(meant, store)
        if saved.folder.resolve() == champion.folder.resolve():
            raise InputError(f"that is {model_name(champion)}, which answers already; name another")
        model = load_served(saved)
        shadow = Shadow(model, served, share, random.Random(_SEED))
        check_answers(model)
    except InputError as error:
        reason = str(error).removeprefix(f"{meant}: ").removeprefix(f"{reference}: ")
        raise InputError(f"--shadow {reference}: {reason}") from error
    unregistered = [each for each in (champion, saved) if each.version is None]
    if unregistered:
        print(
            f"note: {model_name(unregistered[0])} is no registered version: the counts of the "
            "shadow are in /metrics alone, not in the registry",
            file=sys.stderr,
        )
    recorder = ShadowRecorder(shadow, None if unregistered else saved.client)
    return ShadowServing(
        shadow, recorder, Alias(meant, store) if follow and is_alias(meant) else None
    )


def shadow_reference(reference: str, champion: SavedModel) -> str:
    """Return what `find_model` takes for a shadow.

    Args:
        reference: as the user named it.
        champion: what answers.
    """
    bare = _BARE.fullmatch(reference) and is_alias(reference) and not Path(reference).exists()
    return (
        f"models:/{champion.version.name}@{reference}" if champion.version and bare else reference
    )
