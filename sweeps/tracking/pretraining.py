"""Runs of the language models that trials start from: role `pretraining`.

They are trained before the sweep's run is there, once for all sweeps, and recorded from what they
left in the cache: perplexity and loss by tokens seen.
"""

from __future__ import annotations

from collections.abc import Mapping

from sentiment.data.datasets import Dataset
from sentiment.pretraining.lm_task import OF_TASK, shape
from sentiment.pretraining.pretrained import PretrainedLayers
from sentiment.tracking.runs import parameter_text
from sweeps.tracking.roles import Role
from sweeps.tracking.tracker import SweepTracker

ROLE: Role = "pretraining"


def run_key(fingerprint: str, direction: str) -> str:
    """Return the key of the run of a language model."""
    return f"{ROLE}-{fingerprint[:8]}-{direction}"


def run_keys(pretrained: Mapping[str, PretrainedLayers]) -> dict[str, str]:
    """Return, by `pretraining_key`, the keys of the language models' runs, separated by commas."""
    return {
        key: ", ".join(run_key(name, direction) for direction, name in each.fingerprints.items())
        for key, each in pretrained.items()
    }


def record_language_models(
    tracker: SweepTracker, pretrained: Mapping[str, PretrainedLayers], dataset: Dataset
) -> None:
    """Record each language model that has no run yet in the sweep.

    Args:
        tracker: writes the record.
        pretrained: by `pretraining_key`.
        dataset: whose texts they learnt from.
    """
    for layers in pretrained.values():
        for direction, name in layers.fingerprints.items():
            key = run_key(name, direction)
            if not tracker.has_ended(key):
                _record(tracker, key, layers, direction, dataset)


def _record(
    tracker: SweepTracker, key: str, layers: PretrainedLayers, direction: str, dataset: Dataset
) -> None:
    settings = layers.config.flat()
    parameters = {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "direction": direction,
        "language_model": layers.fingerprints[direction],
        **{name: parameter_text(settings[name]) for name in OF_TASK},
    }
    run = tracker.start_trial(
        key, parameters, f"language model {shape(layers.config)} {direction}", role=ROLE
    )
    history = layers.histories[direction]
    for each in history:
        metrics = {
            f"pretraining/{name}": each[name]
            for name in ("loss", "perplexity", "epoch")
            if name in each
        }
        run.log_evaluation(int(each["tokens"]), metrics)
    last = history[-1]
    run.end("completed", metrics={"seconds/total": last["seconds"]}, step=int(last["tokens"]))
