"""What a sweep is asked to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, get_args

from sentiment.config import Objective, Precision
from sentiment.data.datasets import DataConfig
from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted

SAMPLERS = ("tpe", "random", "gp", "cmaes")
SCHEDULERS = ("asha", "fifo")
PLACES = ("storage", "study_storage")
"""Settings that may hold credentials, which are not kept."""


@dataclass(frozen=True)
class SweepSettings:
    """The settings of one sweep; `python -m sweeps.launch --help` tells what each is.

    Attributes:
        overrides: hyperparameters fixed for all trials.
        time_budget: seconds after which no trial starts, and running ones end at their next
            evaluation.
        retries: how often a trial that fails is tried again.
        trial_timeout: seconds without a report after which a trial's process is ended; None:
            20 times the longest evaluation, at least ten minutes.
        address: of the Ray cluster to join; None starts Ray on this machine.
        storage: where checkpoints of running trials lie; None: in the sweep's folder.
        study_storage: database of Optuna's study; None: a file in the sweep's folder.
        as_challenger: move the alias `challenger` to the winner, whatever the present one is.
    """

    OBJECTIVES: ClassVar[tuple[str, ...]] = get_args(Objective)
    PRECISIONS: ClassVar[tuple[str, ...]] = get_args(Precision)

    trials: int
    data: DataConfig = field(default_factory=DataConfig)
    space: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    max_epochs: float = 1.5
    objective: Objective = "valid/accuracy"
    sampler: str = "tpe"
    scheduler: str = "asha"
    precision: Precision = "auto"
    seed: int = 1234
    time_budget: float | None = None
    retries: int = 1
    trial_timeout: float | None = None
    warm_start: str | None = None
    baselines: bool = False
    final_seeds: int = 0
    keep_models: int = 10
    system_metrics: bool = False
    concurrency: int | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
    name: str | None = None
    address: str | None = None
    storage: str | None = None
    study_storage: str | None = None
    tracking_uri: str | None = None
    experiment: str = "sentiment"
    model_name: str = "sentiment"
    as_challenger: bool = False

    def to_json(self) -> str:
        """Return the settings as JSON, for a later resume.

        Without the addresses of store and cluster, which who goes on gives again, and without
        the credentials in the others.
        """
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        del plain["tracking_uri"], plain["address"]
        for name in PLACES:
            plain[name] = None if plain[name] is None else redacted(plain[name])
        return json.dumps({**plain, "data": self.data.model_dump()}, indent=1, default=dict)

    @classmethod
    def from_json(cls, text: str) -> SweepSettings:
        """Read what `to_json` wrote.

        Raises:
            InputError: another version wrote it, or it is damaged.
        """
        try:
            plain = json.loads(text)
            return cls(**{**plain, "data": DataConfig(**plain["data"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"the sweep's settings.json can't be read, as it is damaged or another version "
                f"wrote it ({error}): start a new sweep with --warm-start"
            ) from None
