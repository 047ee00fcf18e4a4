"""Going on with a sweep that was cut off, or that is to have more trials."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from sentiment.errors import InputError
from sentiment.tracking_server import one_try_each
from sweeps.delivery import Delivery
from sweeps.history import TrialRecord, find_sweep, trials_of
from sweeps.journal import JOURNAL_FILE, Journal
from sweeps.settings import SweepSettings
from sweeps.space import Space
from sweeps.writer import BatchWriter

SETTINGS_FILE = "settings.json"
"""Among the artifacts of a sweep's run: what the sweep was asked to do."""


class CompleteError(InputError):
    """A sweep has all the trials that it is to have."""

    def __init__(self, message: str, delivered: int) -> None:
        """Say so.

        Args:
            message: for the user.
            delivered: entries of its journal that the store has got just now.
        """
        super().__init__(message)
        self.delivered = delivered


@dataclass(frozen=True)
class ResumedSweep:
    """What a sweep's record holds for the one that goes on with it.

    Attributes:
        name: the sweep.
        run_id: its run.
        settings: as it was started, but for the number of trials.
        space: what it searches.
        dataset_fingerprint: the data that it saw.
        ended: its trials that need no further work.
        ended_baselines: names of the baselines that need none.
        ended_confirmations: the same of confirmations.
    """

    name: str
    run_id: str
    settings: SweepSettings
    space: Space
    dataset_fingerprint: str
    ended: tuple[TrialRecord, ...]
    ended_baselines: frozenset[str]
    ended_confirmations: frozenset[str]


def load_sweep(
    client: MlflowClient,
    experiment: str,
    uri: str | None,
    folder: Path,
    name: str | None,
    trials: int | None,
) -> ResumedSweep:
    """Read what is needed to go on with a sweep.

    Args:
        client: client of the store.
        experiment: the experiment's name.
        uri: the store as it was asked for, None for the default one.
        folder: where the sweeps' studies lie.
        name: the sweep; the newest, if None.
        trials: how many it is to have; as many as before, if None.

    Raises:
        InputError: there is no such sweep, it is running, or its study is gone.
        CompleteError: it has as many trials already.
        RecordError: what its journal holds can't be written to the store.
    """
    found = client.get_experiment_by_name(experiment)
    run = find_sweep(client, [found.experiment_id] if found else [], name)
    name = run.data.tags["sweep.name"]
    delivered = deliver_left(client, run, folder / name)
    run = client.get_run(run.info.run_id)
    study = folder / name / "study.db"
    if not study.is_file():
        raise InputError(
            f"--resume {name}: its study {study} is not here; resume it in the folder where it was "
            "started, or start a new one with --warm-start"
        )
    try:
        settings = SweepSettings.from_json(_artifact(client, run.info.run_id, SETTINGS_FILE))
        space = _artifact(client, run.info.run_id, "space.yaml")
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--resume {name}: its record has no settings: {reason}") from None
    every = trials_of(client, run)
    over = [trial for trial in every if trial.outcome in ("completed", "stopped_early", "failed")]
    ended = tuple(trial for trial in over if trial.role == "trial")
    wanted = settings.trials if trials is None else trials
    if wanted < len(ended) or (wanted == len(ended) and run.data.tags["sweep.state"] == "finished"):
        raise CompleteError(
            f"--resume {name}: it has {len(ended)} trials already; give --trials more than that",
            delivered,
        )
    settings = replace(settings, name=name, trials=wanted, tracking_uri=uri, experiment=experiment)
    return ResumedSweep(
        name=name,
        run_id=run.info.run_id,
        settings=settings,
        space=Space.from_mapping(yaml.safe_load(space)),
        dataset_fingerprint=run.data.params["dataset_fingerprint"],
        ended=ended,
        ended_baselines=frozenset(str(trial.key) for trial in over if trial.role == "baseline"),
        ended_confirmations=frozenset(
            str(trial.key) for trial in over if trial.role == "confirmation"
        ),
    )


def deliver_left(client: MlflowClient, run: Run, folder: Path) -> int:
    """Send the store what it did not get of a sweep; return how many entries those were.

    Args:
        client: client of the store.
        run: the sweep's run.
        folder: the sweep's own, with its journal.

    Raises:
        InputError: the sweep is running, in another process.
        RecordError: the store does not take it.
    """
    if not (folder / JOURNAL_FILE).exists():
        return 0
    journal = Journal(folder)
    with one_try_each():
        BatchWriter(Delivery(client, run.info.run_id, journal), journal).close()
    return len(journal.left)


def _artifact(client: MlflowClient, run_id: str, file: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run_id, file, scratch)).read_text(encoding="utf-8")
