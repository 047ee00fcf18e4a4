"""How long a sweep on the CPU may take, before anything has run."""

from __future__ import annotations

import time

import numpy as np
import optuna
import torch

from sweeps.cost import TrialCost
from sweeps.plan import REDUCTION, Rungs, Workers
from sweeps.space import Space

SAMPLES = 64
EFFICIENCY = 0.35
"""Share of the speed of a matrix product that a whole training step reaches."""
START_SECONDS = 90.0
"""Set-up: tokenising, word vectors, the workers' imports."""


def estimate_seconds(
    space: Space,
    cost: TrialCost,
    rungs: Rungs,
    workers: Workers,
    *,
    trials: int,
    halving: bool,
    final_seeds: int = 0,
    dtype: torch.dtype,
) -> float:
    """Estimate a sweep's duration from its arithmetic and the speed of one matrix product.

    With successive halving half of the trials that reach a rung go on to the next. The winner's
    settings with other seeds run to their end, as many at once as there are workers.
    """
    operations = np.mean([_operations(space, cost, seed) for seed in range(SAMPLES)])
    budget = float(rungs.budget)
    if halving:
        ends = [*rungs.milestones, rungs.budget]
        widths = np.diff([0, *ends])
        budget = float(sum(width / REDUCTION**i for i, width in enumerate(widths)))
    speed = _speed(dtype) * EFFICIENCY
    search = trials * budget * operations / speed / workers.count
    rounds = -(-final_seeds // workers.count)
    confirmation = rounds * rungs.budget * operations / speed
    return START_SECONDS + float(search + confirmation)


def _operations(space: Space, cost: TrialCost, seed: int) -> float:
    """Return the operations of a training example under random settings."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    return cost(space.suggest(optuna.create_study(sampler=sampler).ask()))


def _speed(dtype: torch.dtype, seconds: float = 0.2) -> float:
    """Measure the operations a second of a matrix product on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    left, right = torch.randn(64, 128, dtype=dtype), torch.randn(128, 512, dtype=dtype)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(50):
            left @ right
        count += 50
    torch.set_num_threads(threads)
    return count * 2 * 64 * 128 * 512 / (time.perf_counter() - started)
