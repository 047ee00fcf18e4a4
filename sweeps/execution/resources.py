"""Which devices a sweep uses, and how many trials run at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sentiment.errors import InputError
from sentiment.wording import counted

GPU_FRACTION = 0.25
"""Share of a GPU that a trial gets: models of this size leave most of one idle."""
GPU_MEMORY = 0.9
"""Of a GPU's memory the trials' tensors get this share; each process takes some besides."""


@dataclass(frozen=True)
class Node:
    """A machine and what a sweep may use of it.

    Attributes:
        cpus: CPU cores.
        gpus: GPUs.
        name: its address; empty for this machine.
        gpu_kind: the GPUs' model; None if there is none, or it isn't known.
    """

    cpus: int
    gpus: int = 0
    name: str = ""
    gpu_kind: str | None = None


@dataclass(frozen=True)
class Workers:
    """The processes that train.

    Attributes:
        count: trials that run at once.
        cpus: CPU threads of each.
        gpus: GPUs of each, or a fraction of one; 0: trained on the CPU.
        limit: trials at once that were asked for; None: as many as there is room for.
    """

    count: int
    cpus: int
    gpus: float
    limit: int | None = None

    def __str__(self) -> str:
        threads = counted(self.cpus, "CPU thread")
        share = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.count} at once, {threads}{share} each"

    def room(self, nodes: Sequence[Node]) -> int:
        """Return how many of them fit on the nodes."""
        fit = sum(_slots(node, self.cpus, self.gpus) for node in nodes)
        return fit if self.limit is None else min(self.limit, fit)

    @property
    def memory_share(self) -> float | None:
        """The share of a GPU's memory that a worker may take; None without a shared GPU."""
        return GPU_MEMORY * self.gpus if 0 < self.gpus < 1 else None

    def reduce_concurrency(self, nodes: Sequence[Node]) -> Workers | None:
        """Return half as many, each with twice the memory; None if that is not possible."""
        if 0 < self.gpus < 1:
            wider = replace(self, gpus=min(1.0, 2 * self.gpus))
            return replace(wider, count=max(1, wider.room(nodes)))
        if self.gpus or self.count == 1:
            return None
        return replace(self, count=self.count // 2, limit=self.count // 2)


def plan_workers(
    nodes: Sequence[Node],
    *,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    concurrency: int | None = None,
) -> Workers:
    """Spread trials over all GPUs, or over all cores where there is none.

    A sweep's trials are all of one kind: where it uses GPUs, nodes without one are left alone.

    Args:
        nodes: the machines at hand.
        cpus_per_trial: threads of a trial; 1, or on GPUs an equal share of the cores.
        gpus_per_trial: GPUs of a trial, or a fraction of one; 0 trains on the CPU.
        concurrency: trials at once, at most as many as fit.

    Raises:
        InputError: more is asked for than there is.
    """
    where = "here" if len(nodes) == 1 else "on any one node"
    gpus = max(node.gpus for node in nodes)
    fraction = (GPU_FRACTION if gpus else 0.0) if gpus_per_trial is None else gpus_per_trial
    if not 0 <= fraction < math.inf or (fraction > 1 and fraction != int(fraction)):
        raise InputError(f"--gpus-per-trial {fraction:g}: give 0 to 1, or a whole number of GPUs")
    if fraction > gpus:
        raise InputError(
            f"--gpus-per-trial {fraction:g}: {counted(gpus, 'GPU')} {'is' if gpus == 1 else 'are'} "
            f"{where}; give at most that, or 0 to train on the CPU"
        )
    used = [node for node in nodes if node.gpus >= fraction]
    cores = max(node.cpus for node in used)
    if cpus_per_trial is not None and not 1 <= cpus_per_trial <= cores:
        fitting = "1, the only core" if cores == 1 else f"1 to {cores}, the cores"
        raise InputError(f"--cpus-per-trial {cpus_per_trial}: give {fitting} {where}")
    cpus = cpus_per_trial or 1
    slots = sum(_slots(node, cpus, fraction) for node in used)
    if concurrency is not None and not 1 <= concurrency <= slots:
        fitting = (
            "1: no more than one trial fits at once"
            if slots == 1
            else f"1 to {slots}, as many trials as fit at once"
        )
        raise InputError(
            f"--concurrency {concurrency}: give {fitting}"
            + ("; fewer --cpus-per-trial make room for more" if cpus > 1 else "")
        )
    if fraction and cpus_per_trial is None:
        shares = (
            node.cpus // min(_slots(node, 1, fraction), concurrency or slots) for node in used
        )
        cpus = min(shares)
    return Workers(concurrency or slots, cpus, fraction, concurrency)


def _slots(node: Node, cpus: int, gpus: float) -> int:
    """Return how many trials fit on a node."""
    slots = node.cpus // cpus
    if gpus:
        # Ray gives a trial its fraction from one GPU, so what is left over of each is lost.
        on_gpus = node.gpus * int(1 / gpus) if gpus <= 1 else node.gpus // int(gpus)
        slots = min(slots, on_gpus)
    return slots


def describe_nodes(nodes: Sequence[Node]) -> str:
    """Return what the nodes of a cluster have, in a few words."""
    kinds = Counter(
        counted(node.cpus, "core")
        + (f" and {node.gpus} {node.gpu_kind or 'GPU'}" if node.gpus else "")
        for node in nodes
        if node.cpus
    )
    return ", ".join(f"{counted(count, 'node')} of {kind}" for kind, count in kinds.items())
