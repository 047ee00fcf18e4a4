"""Confirmation: the winner's settings trained again with other seeds.

A search picks the luckiest of many trials, so the winner's own result is an optimistic one. The
same settings under other seeds say what to expect of them; the winner's own run is not counted.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentiment.config import Config
from sentiment.wording import counted
from sweeps.tracking.queries import TrialRecord, trial_number

METRICS = ("valid/accuracy", "valid/f1", "valid/loss", "test/accuracy", "test/f1", "test/loss")


@dataclass(frozen=True)
class Spread:
    """Mean and spread of a metric over seeds.

    Attributes:
        mean: over the seeds.
        deviation: the sample standard deviation (n - 1); None of a single seed.
    """

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.4f}"
        return f"{self.mean:.4f}{spread}"


@dataclass(frozen=True)
class Confirmation:
    """What other seeds made of the winner's settings.

    Attributes:
        asked: runs that were to be.
        seeds: runs that came to their end, the others failed.
        spreads: by the metric's name, `valid/accuracy` and `test/accuracy` among them; empty if
            all failed.
    """

    asked: int
    seeds: int
    spreads: Mapping[str, Spread]

    def metrics(self) -> dict[str, float]:
        """Return what the sweep's run records."""
        found: dict[str, float] = {"confirmation/seeds": self.seeds}
        for name, spread in self.spreads.items():
            found[f"confirmation/{name}/mean"] = spread.mean
            if spread.deviation is not None:
                found[f"confirmation/{name}/sd"] = spread.deviation
        return found

    def sentence(self) -> str:
        """Return the result in a sentence."""
        failed = self.asked - self.seeds
        others = "the other" if failed == 1 else "the others"
        of = f" of {self.asked}, {others} failed" if failed else ""
        if not self.spreads:
            runs = counted(self.asked, "run with another seed", "runs with other seeds")
            return f"Confirmation: no result, {runs} failed."
        valid, test = self.spreads["valid/accuracy"], self.spreads["test/accuracy"]
        spread = ", mean ± standard deviation" if self.seeds > 1 else ""
        return (
            f"Confirmation: the same settings with {counted(self.seeds, 'other seed')}{of}"
            f"{spread}: validation accuracy {valid}, test accuracy {test}."
        )


def confirmation_configs(winner: TrialRecord, seeds: int) -> dict[str, Config]:
    """Return the runs that confirm a trial, by their key: its settings, the seeds after its own.

    Args:
        winner: the trial.
        seeds: how many.
    """
    first = int(winner.parameters["seed"]) + 1
    return {
        confirmation_key(trial_number(winner), seed): Config.from_flat(
            {**winner.parameters, "seed": seed}
        )
        for seed in range(first, first + seeds)
    }


def confirmation_key(number: int, seed: int) -> str:
    """Return the key of the run that trains a trial's settings with another seed."""
    return f"trial-{number:03d}-seed-{seed}"


def summarize(runs: Sequence[TrialRecord], keys: Sequence[str]) -> Confirmation:
    """Return mean and spread over the confirmation runs of these keys that came to their end."""
    done = [run for run in runs if run.key in keys and run.outcome == "completed"]
    spreads = {}
    for name in METRICS:
        recorded = name if name.startswith("test/") else f"best/{name}"
        values = [run.metrics[recorded] for run in done if recorded in run.metrics]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else None
            spreads[name] = Spread(statistics.fmean(values), deviation)
    return Confirmation(len(keys), len(done), spreads)
