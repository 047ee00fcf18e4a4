"""Pretraining, as `--dry-run` shows it: the language models that the cache lacks.

It happens with the preparation of the data, before the sweep's run is there, once for all sweeps.
"""

from __future__ import annotations

from sentiment.config import Config
from sentiment.io.cache import is_cached
from sentiment.pretraining.lm_task import KIND, directions_of, shape, task_fingerprint
from sentiment.wording import counted
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.estimate import Estimator, StagePlan


def plan(context: SweepContext, estimator: Estimator | None) -> StagePlan | None:
    """Return what the stage would do; None where no trial starts from a language model."""
    wanted: dict[str, tuple[Config, str]] = {}
    for config in context.configs():
        if config.training.pretraining != "none":
            for direction in directions_of(config):
                name = task_fingerprint(config, context.dataset.fingerprint, direction)
                wanted[name] = config, f"{shape(config)} {direction}"
    if not wanted:
        return None
    missing = [each for name, each in wanted.items() if not is_cached(KIND, name)]
    models = counted(len(wanted), "language model")
    if not missing:
        return StagePlan("pretraining", [f"pretraining: {models}, all in the cache"])
    splits = context.dataset.splits
    texts = sum(len(splits[name].texts) for name in ("train", "unsup") if name in splits)
    names = ", ".join(name for _, name in missing)
    seconds = 0.0
    if estimator:
        seconds = estimator.pretraining([config.flat() for config, _ in missing], texts)
    line = f"pretraining: {models} on {texts:,} texts, not yet in the cache: {names}"
    return StagePlan("pretraining", [line], seconds)
