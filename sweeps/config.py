"""The settings of a sweep: a field each, from which its flag follows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

from sentiment.config import Objective, Precision
from sentiment.data.datasets import DataConfig
from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted
from sweeps.objectives import FIRST, METRICS, Objectives

SAMPLERS = ("tpe", "random", "gp", "cmaes", "nsga2")
SCHEDULERS = ("asha", "hyperband", "median", "fifo", "pbt")
PLACES = ("storage", "study_storage")
"""Settings that may hold credentials, which are not kept."""
SEVERAL = ("further_objectives", "limit")
UNNAMED = (*SEVERAL, "until_flat", "first_rung")
"""Settings that the file of a sweep without them does not name."""
TRIALS = 50
"""Trials of a sweep for which `--trials` is not given."""
DEFAULT_EPOCHS, ENOUGH_EXAMPLES, MOST_EPOCHS = 1.5, 8_000, 40
"""Of a trial for which `--max-epochs` is not given: its epochs on many texts; on few ones as many
as have so many training examples, with batches of 64 some 125 steps, after half of which most
models of small data are still near chance; and the most, of very few texts."""
FINALISTS, FINALISTS_FROM = 2, 20
"""Finalists where `--finalists` is not given, and the trials from which on there are any."""


@dataclass(frozen=True)
class Flag:
    """The flag of a setting.

    Attributes:
        group: its group of flags in the help.
        help: what the setting is.
        metavar: placeholder of the value; None: argparse's own, or a switch without a value.
        choices: the values that there are; None: any.
        least: the smallest value; None: any.
        above: what the value must exceed; None: any.
        is_time: whether the value is a time such as `30m`, of which the setting has the seconds.
        is_repeated: whether the flag may be given several times, with a value each.
    """

    group: Literal["search", "machine", "sweep", "record"]
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    least: int | None = None
    above: float | None = None
    is_time: bool = False
    is_repeated: bool = False


def _flag(*flag: Any, **options: Any) -> dict[str, Flag]:
    """Return the metadata of a setting with a flag; the arguments are those of `Flag`."""
    return {"flag": Flag(*flag, **options)}


def default_epochs(texts: int) -> float:
    """Return the epochs of a trial on so many texts of train, where none are asked for."""
    if DEFAULT_EPOCHS * texts >= ENOUGH_EXAMPLES:
        return DEFAULT_EPOCHS
    return float(min(math.ceil(ENOUGH_EXAMPLES / texts), MOST_EPOCHS))


@dataclass(frozen=True)
class SweepSettings:
    """The settings of one sweep; those without a flag here share theirs with other commands.

    Attributes:
        overrides: hyperparameters fixed for all trials.
        objective: the first `--objective`.
        further_objectives: the others, among `sweeps.objectives.METRICS`.
        limit: of further objectives, such as `latency=5ms`.
        max_epochs: None until the data is known, see `default_epochs`.
        first_rung: training examples before which trials of few texts are not compared; 0 in sweeps
            of earlier versions, which compared them after a few batches.
        time_budget: seconds after which no trial starts, and running ones end at their next
            evaluation.
        retries: how often a trial that fails is tried again.
        trial_timeout: seconds without a report after which a trial's process is ended; None:
            20 times the longest evaluation, at least ten minutes.
        address: of the Ray cluster to join; None starts Ray on this machine.
        storage: where checkpoints of running trials lie; None: in the sweep's folder.
        study_storage: database of Optuna's study; None: a file in the sweep's folder.
        notify: command or webhook that receives how the sweep ended; None: none.
        as_challenger: move the alias `challenger` to the winner, whatever the present one is.
    """

    PRECISIONS: ClassVar[tuple[str, ...]] = get_args(Precision)

    trials: int = field(
        metadata=_flag("search", f"number of trials to run (default: {TRIALS})", "N", least=1)
    )
    data: DataConfig = field(default_factory=DataConfig)
    space: str | None = field(
        default=None,
        metadata=_flag(
            "search",
            "search space: cpu, gpu, pbt or a YAML file (default: by device, or pbt's own)",
            "FILE",
        ),
    )
    overrides: Mapping[str, Any] = field(default_factory=dict)
    max_epochs: float | None = field(
        default=None,
        metadata=_flag(
            "search",
            f"longest training of a trial, in epochs (default: {DEFAULT_EPOCHS:g}, or as many as "
            f"have {ENOUGH_EXAMPLES:,} texts)",
            "X",
        ),
    )
    first_rung: int = 0
    objective: Objective = field(
        default="valid/accuracy",
        metadata=_flag(
            "search",
            f"metric that chooses the best model: {', '.join(FIRST)} (default: {FIRST[0]}); given "
            f"again, what it may cost: {', '.join(METRICS)}",
            "METRIC",
            is_repeated=True,
        ),
    )
    further_objectives: tuple[str, ...] = ()
    limit: tuple[str, ...] = field(
        default=(),
        metadata=_flag(
            "search",
            "the most that the winner may cost by a further objective: latency=5ms, parameters=2M, "
            "seconds=30s",
            "NAME=MOST",
            is_repeated=True,
        ),
    )
    sampler: str = field(
        default="tpe",
        metadata=_flag(
            "search", "Optuna sampler: " + ", ".join(SAMPLERS), "NAME", choices=SAMPLERS
        ),
    )
    scheduler: str = field(
        default="asha",
        metadata=_flag(
            "search",
            "asha, hyperband or median stops the weaker trials early, fifo stops none, pbt lets "
            "them continue from the weights of the best",
            "NAME",
            choices=SCHEDULERS,
        ),
    )
    seed: int = field(
        default=1234, metadata=_flag("search", "seed of the search and the trials", "N", least=0)
    )
    time_budget: float | None = field(
        default=None,
        metadata=_flag(
            "search", "start no trial after 90 (seconds), 30m or 2h", "TIME", is_time=True
        ),
    )
    until_flat: bool = field(
        default=False,
        metadata=_flag(
            "search", "end the search once as many trials again would gain less than the noise"
        ),
    )
    retries: int = field(
        default=1, metadata=_flag("search", "further attempts for a trial that fails", "N", least=0)
    )
    trial_timeout: float | None = field(
        default=None,
        metadata=_flag(
            "search",
            "end a trial's process that reports nothing for 90 (seconds), 30m or 2h (default: 20 "
            "times its longest evaluation, at least 10m)",
            "TIME",
            is_time=True,
        ),
    )
    warm_start: str | None = field(
        default=None,
        metadata=_flag(
            "search",
            "begin with what that sweep found; on other data, with its best settings",
            "SWEEP",
        ),
    )
    enqueue: tuple[str, ...] = field(
        default=(),
        metadata=_flag(
            "search",
            "settings to try first: recipes, or YAML files with a list of them",
            "FILE|RECIPE",
        ),
    )
    prior: str | None = field(
        default=None,
        metadata=_flag(
            "search",
            "YAML file of what you believe to be good: it steers the first third of the trials",
            "FILE",
        ),
    )
    baseline: bool = field(
        default=True,
        metadata=_flag("search", "compare the registered model with naive-Bayes n-grams"),
    )
    baselines: bool = field(
        default=False,
        metadata=_flag(
            "search", "train the tutorials' recipes and TF-IDF with logistic regression too"
        ),
    )
    finalists: int | None = field(
        default=None,
        metadata=_flag(
            "search",
            f"train the best N settings again, longer and with n-grams (default: {FINALISTS} from "
            f"{FINALISTS_FROM} trials on, else 0)",
            "N",
            least=0,
        ),
    )
    final_epochs: float | None = field(
        default=None,
        metadata=_flag(
            "search", "epochs of a finalist (default: twice --max-epochs)", "X", above=0
        ),
    )
    ngrams: int = field(
        default=3,
        metadata=_flag(
            "search", "longest n-grams of the finalists' linear branch; 0: no branch", "N", least=0
        ),
    )
    refit: bool = field(
        default=True,
        metadata=_flag("search", "train the best finalist once more on train and validation"),
    )
    ensemble: int = field(
        default=0,
        metadata=_flag(
            "search",
            "average up to N finalists and trials where that gains on validation (default: 0, off)",
            "N",
            least=0,
        ),
    )
    final_seeds: int = field(
        default=0,
        metadata=_flag(
            "search", "train the winning settings again with N other seeds", "N", least=0
        ),
    )
    concurrency: int | None = field(
        default=None,
        metadata=_flag("machine", "trials that run at once (default: all that fit)", "N"),
    )
    cpus_per_trial: int | None = field(
        default=None,
        metadata=_flag(
            "machine",
            "CPU threads of a trial (default: 1; on GPUs an equal share of the cores)",
            "N",
        ),
    )
    gpus_per_trial: float | None = field(
        default=None,
        metadata=_flag(
            "machine",
            "GPUs of a trial, or a fraction of one GPU; 0 trains on the CPU (default: 0.25 where "
            "there is a GPU)",
            "X",
        ),
    )
    address: str | None = field(
        default=None,
        metadata=_flag(
            "machine",
            "Ray cluster to join: auto, or HOST:PORT (default: start Ray on this machine)",
        ),
    )
    storage: str | None = field(
        default=None,
        metadata=_flag(
            "machine",
            "where checkpoints of running trials are kept: a folder that all nodes share, s3://… "
            "or gs://… (default: the sweep's folder)",
            "PLACE",
        ),
    )
    precision: Precision = field(
        default="auto",
        metadata=_flag(
            "machine",
            "number format of the recurrent layers: " + ", ".join(PRECISIONS),
            "TYPE",
            choices=PRECISIONS,
        ),
    )
    tracking_uri: str | None = None
    experiment: str = "sentiment"
    name: str | None = field(
        default=None,
        metadata=_flag("sweep", "name of the sweep (default: data set, date and time)"),
    )
    model_name: str = field(
        default="sentiment",
        metadata=_flag("sweep", "registered model that the best one becomes a version of", "NAME"),
    )
    as_challenger: bool = field(
        default=False,
        metadata=_flag("sweep", "make the winner the challenger, better on validation or not"),
    )
    study_storage: str | None = field(
        default=None,
        metadata=_flag(
            "record",
            "database of Optuna's study, postgresql://… (default: a file in the sweep's folder)",
            "URL",
        ),
    )
    keep_models: int = field(
        default=10, metadata=_flag("record", "number of trials whose models are kept", "N", least=0)
    )
    system_metrics: bool = field(
        default=False, metadata=_flag("record", "record the load of CPU, memory and GPU")
    )
    notify: str | None = field(
        default=None,
        metadata=_flag(
            "record",
            "send how the sweep ended to a URL (a webhook), or to a command's standard input",
            "URL|COMMAND",
        ),
    )

    @cached_property
    def objectives(self) -> Objectives:
        """All objectives and their limits.

        Raises:
            InputError: they don't go together.
        """
        return Objectives.parse([self.objective, *self.further_objectives], self.limit)

    @property
    def finalist_count(self) -> int:
        """Finalists, where none are asked for by the number of trials."""
        if self.finalists is not None:
            return self.finalists
        return FINALISTS if self.trials >= FINALISTS_FROM else 0

    @property
    def finalist_epochs(self) -> float:
        """Epochs of a finalist."""
        return 2 * self.trial_epochs if self.final_epochs is None else self.final_epochs

    @property
    def trial_epochs(self) -> float:
        """Epochs of a trial that is not stopped.

        Raises:
            ValueError: they are left to the data, which is not known yet.
        """
        if self.max_epochs is None:
            raise ValueError("the epochs of a trial are known once the data is")
        return self.max_epochs

    def to_json(self) -> str:
        """Return the settings as JSON, for a later resume.

        Without the addresses of store, cluster and webhook, which are given again to resume it, and
        without the credentials in the others.
        """
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in UNNAMED:
            if not plain[name]:
                del plain[name]
        del plain["tracking_uri"], plain["address"], plain["notify"]
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
            lists = {name: tuple(plain.get(name, ())) for name in ("enqueue", *SEVERAL)}
            return cls(**{**plain, "data": DataConfig(**plain["data"]), **lists})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"the sweep's settings.json can't be read, as it is damaged or another version "
                f"wrote it ({error}): start a new sweep with --warm-start"
            ) from None
