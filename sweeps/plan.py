"""Which devices a sweep uses, how many trials run at once, and when they are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sentiment.errors import InputError

GPU_FRACTION = 0.25
"""Share of a GPU that a trial gets: models of this size leave most of one idle."""
REDUCTION = 2
"""Of the trials that reach a rung about one in so many goes on to the next."""
FIRST_RUNG_EPOCHS = 0.4
"""The first rung is at this many epochs at the latest, well before one is over."""
LEAST_HALVINGS = 3


@dataclass(frozen=True)
class Workers:
    """The processes that train.

    Attributes:
        count: trials that run at once.
        cpus: CPU threads of each.
        gpus: GPUs of each, or a fraction of one; 0: trained on the CPU.
    """

    count: int
    cpus: int
    gpus: float

    def __str__(self) -> str:
        threads = f"{self.cpus} CPU thread{'s' if self.cpus > 1 else ''}"
        share = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.count} at once, {threads}{share} each"


def plan_workers(
    cores: int,
    gpus: int,
    *,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    concurrency: int | None = None,
) -> Workers:
    """Spread trials over all GPUs, or over all cores where there is none.

    Args:
        cores: CPU cores at hand.
        gpus: GPUs at hand.
        cpus_per_trial: threads of a trial; 1, or on GPUs an equal share of the cores.
        gpus_per_trial: GPUs of a trial, or a fraction of one; 0 trains on the CPU.
        concurrency: trials at once, at most as many as fit.

    Raises:
        InputError: more is asked for than there is.
    """
    fraction = (GPU_FRACTION if gpus else 0.0) if gpus_per_trial is None else gpus_per_trial
    if not 0 <= fraction < math.inf or (fraction > 1 and fraction != int(fraction)):
        raise InputError(f"--gpus-per-trial {fraction:g}: give a fraction of one, or whole GPUs")
    if fraction > gpus:
        raise InputError(
            f"--gpus-per-trial {fraction:g}: there are {gpus} GPUs here; use --gpus-per-trial 0"
        )
    if cpus_per_trial is not None and not 1 <= cpus_per_trial <= cores:
        raise InputError(f"--cpus-per-trial {cpus_per_trial}: give 1 to {cores}, the cores here")
    slots = cores // (cpus_per_trial or 1)
    if fraction:
        # Ray gives a trial its fraction from one GPU, so what is left over of each is lost.
        on_gpus = gpus * int(1 / fraction) if fraction <= 1 else gpus // int(fraction)
        slots = min(slots, on_gpus)
    if concurrency is not None and not 1 <= concurrency <= slots:
        raise InputError(f"--concurrency {concurrency}: {slots} trials fit at once; give 1 to that")
    count = concurrency or slots
    cpus = cpus_per_trial or (cores // count if fraction else 1)
    return Workers(count, cpus, fraction)


@dataclass(frozen=True)
class Rungs:
    """When trials are compared with one another, in training examples.

    Attributes:
        milestones: all comparisons, each at about `REDUCTION` times the one before.
        budget: the full budget of a trial.
        evaluations_per_epoch: so that there is an evaluation at every rung.
    """

    milestones: tuple[int, ...]
    budget: int
    evaluations_per_epoch: float

    @property
    def first(self) -> int:
        """The first comparison."""
        return self.milestones[0]


def plan_rungs(epochs: float, examples: int) -> Rungs:
    """Place the rungs of a budget of `epochs` over a train split of `examples` texts.

    Raises:
        InputError: the budget is not above 0.
    """
    if not 0 < epochs < math.inf:
        raise InputError(f"--max-epochs {epochs:g}: give a number above 0")
    halvings = LEAST_HALVINGS
    while epochs / REDUCTION**halvings > FIRST_RUNG_EPOCHS:
        halvings += 1
    parts = [REDUCTION**power for power in range(halvings, 0, -1)]
    return Rungs(
        milestones=tuple(sorted({max(1, int(epochs * examples / part)) for part in parts})),
        budget=math.ceil(epochs * examples),
        evaluations_per_epoch=parts[0] / epochs,
    )
