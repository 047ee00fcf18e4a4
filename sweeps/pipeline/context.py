"""The settings of a sweep, checked against machine, data and store: what every stage reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console

from sentiment.config import Config
from sentiment.data.datasets import Dataset
from sentiment.data.identity import mismatch
from sentiment.errors import InputError
from sentiment.recipes.recipe import Recipe
from sweeps.config import SweepSettings
from sweeps.execution.resources import Node, Workers
from sweeps.objectives import LATENCY
from sweeps.pipeline.resume import ResumedSweep
from sweeps.search.cost_model import TrialCost
from sweeps.search.rungs import Rungs
from sweeps.search.study_location import StudyLocation
from sweeps.space.hyperparameters import NOT_RANGES, OF_PRETRAINING, PRETRAINING
from sweeps.space.space import SearchSpace
from sweeps.terminal import notify
from sweeps.trials.checkpoint_storage import Storage
from sweeps.workspace import Workspace

TIMED_TEXTS = 100
"""Texts by which the latency of a model is measured, from all over the validation split."""


@dataclass(frozen=True)
class SweepContext:
    """What a sweep does, and with what; made by `sweeps.pipeline.checks.check`.

    Attributes:
        settings: the settings of the sweep.
        resumed: the sweep that is resumed; None for a new one.
        console: where to print.
        quiet: whether there is no live view.
        uri: address of the store.
        nodes: the machines.
        workers: the processes that train, as planned.
        space: the search space.
        dataset: the data set.
        rungs: where trials are compared.
        dtype: precision of the recurrent layers.
        cost: cost of a training example; None on GPUs, where it depends on the steps alone.
        recipes: the recipes that can be baselines on this data.
        studies: where Optuna's studies lie.
        storage: where checkpoints lie; None: in the sweep's workspace.
        started: time of the launch, on the monotonic clock.
    """

    settings: SweepSettings
    resumed: ResumedSweep | None
    console: Console
    quiet: bool
    uri: str
    nodes: Sequence[Node]
    workers: Workers
    space: SearchSpace
    dataset: Dataset
    rungs: Rungs
    dtype: torch.dtype
    cost: TrialCost | None
    recipes: Sequence[Recipe]
    studies: StudyLocation
    storage: Storage | None
    started: float

    @property
    def cores(self) -> int:
        """CPU cores of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def joins_cluster(self) -> bool:
        """Whether the sweep runs on a Ray cluster that was there before."""
        return self.settings.address is not None

    @property
    def search_over(self) -> bool:
        """Whether the search had ended before, so that no trial starts."""
        return self.resumed is not None and self.resumed.search_over

    @property
    def timed_texts(self) -> tuple[str, ...]:
        """Validation texts by which the latency of a model is measured; none if it isn't asked."""
        if LATENCY not in self.settings.further_objectives:
            return ()
        texts = self.dataset.splits["valid"].texts
        return tuple(texts[:: max(1, len(texts) // TIMED_TEXTS)][:TIMED_TEXTS])

    def ended_runs(self, role: str) -> frozenset[str]:
        """Return the keys of the runs of a stage after the search that have ended before.

        Args:
            role: of the stage's runs, such as `baseline`.
        """
        return self.resumed.ended_runs(role) if self.resumed else frozenset()

    def configs(self) -> list[Config]:
        """Return a configuration for all that trials may need: corpora, vectors, pretrained layers.

        Raises:
            InputError: what names a pretrained layer is searched over a range.
        """
        names = (*NOT_RANGES, *OF_PRETRAINING) if self.space.pretrains else NOT_RANGES
        try:
            configs = [Config.from_flat(each) for each in self.space.combinations(names)]
        except ValueError as error:
            raise InputError(
                f"the space: {error}, and each value would need a language model of its own "
                f"({PRETRAINING}): write a choice"
            ) from None
        if self.settings.baselines:
            configs += [recipe.config for recipe in self.recipes]
        return configs

    def checkpoints(self, workspace: Workspace) -> Storage:
        """Return where Ray's own files of the sweep lie, the trials' checkpoints among them."""
        return self.storage / workspace.path.name if self.storage else Storage(workspace.ray)

    def notify(self, text: str) -> None:
        """Print a line for the user."""
        notify(self.console, text)


def check_same_data(dataset: Dataset, fingerprint: str, sweep: str) -> None:
    """Check that a sweep saw this data set.

    Args:
        dataset: the data set.
        fingerprint: of the data that the sweep saw.
        sweep: its name.

    Raises:
        InputError: it saw other data.
    """
    different = mismatch(dataset, fingerprint, f"the sweep {sweep}")
    if different is not None:
        raise InputError(f"{different}; bring the same back, or start a new sweep without it")
