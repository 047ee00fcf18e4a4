"""Resumption of a sweep that was interrupted, or that is to have more trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from sentiment.errors import InputError
from sentiment.io.yaml_numbers import load_yaml
from sentiment.tracking.http import one_try_each
from sentiment.wording import counted
from sweeps.config import PLACES, SweepSettings
from sweeps.search.study_location import StudyLocation
from sweeps.space.space import SearchSpace
from sweeps.tracking.mlflow_sink import MlflowSink
from sweeps.tracking.outbox import OUTBOX_FILE, Outbox
from sweeps.tracking.queries import TrialRecord, artifact_text, find_sweep, sweep_run, trials_of
from sweeps.tracking.writer import BatchWriter
from sweeps.trials.outcomes import ENDED
from sweeps.workspace import SETTINGS_FILE, SPACE_FILE, Workspace


class CompleteError(InputError):
    """A sweep has all the trials that it is to have."""

    def __init__(
        self, message: str, delivered: int, settings: SweepSettings, finished: bool
    ) -> None:
        """Keep what a caller may need.

        Args:
            message: for the user.
            delivered: entries of its outbox that the store has got just now.
            settings: the sweep's.
            finished: whether it had come to its end.
        """
        super().__init__(message)
        self.delivered = delivered
        self.settings = settings
        self.finished = finished


@dataclass(frozen=True)
class ResumedSweep:
    """What the record holds of a sweep that is resumed.

    Attributes:
        name: the sweep.
        run_id: its run; None if it was interrupted before it had one.
        settings: as it was started, but for the number of trials and the time budget.
        finished: whether it had come to its end.
        search_over: whether its time budget had ended the search, and this start gives it neither
            more time nor more trials: what comes after the search is left.
        space: what it searches.
        dataset_fingerprint: the data that it saw; None if it was interrupted before it saw any.
        ended: its trials that need no further work.
        ended_by_role: by role, the keys of the other runs that need none.
    """

    name: str
    run_id: str | None
    settings: SweepSettings
    finished: bool
    search_over: bool
    space: SearchSpace
    dataset_fingerprint: str | None
    ended: tuple[TrialRecord, ...]
    ended_by_role: Mapping[str, frozenset[str]]

    def ended_runs(self, role: str) -> frozenset[str]:
        """Return the keys of the runs of a role, such as `baseline`, that have ended."""
        return self.ended_by_role.get(role, frozenset())


def load_sweep(
    client: MlflowClient,
    experiment: str,
    uri: str | None,
    folder: Path,
    name: str | None,
    trials: int | None,
    time_budget: float | None,
    places: Mapping[str, str | None],
) -> ResumedSweep:
    """Read what is needed to resume a sweep.

    Args:
        client: client of the store.
        experiment: the experiment's name.
        uri: the store as it was asked for, None for the default one.
        folder: where the sweeps' studies lie.
        name: the sweep; the newest, if None.
        trials: how many it is to have; as many as before, if None.
        time_budget: seconds that this start of the search has; as many as before, if None.
        places: by name of the setting, where the cluster, the checkpoints and the study are; as
            before, if None.

    Raises:
        InputError: there is no such sweep, it is running, or its study is gone.
        CompleteError: it has as many trials already.
        RecordError: what its outbox holds can't be written to the store.
    """
    given: dict[str, Any] = {"trials": trials, "time_budget": time_budget, **places}
    given = {name: value for name, value in given.items() if value is not None}
    found = client.get_experiment_by_name(experiment)
    ids = [found.experiment_id] if found else []
    claimed = _begun(folder, name)
    if claimed is not None and sweep_run(client, ids, claimed.path.name) is None:
        # Interrupted between its first file and its run: it starts where it was.
        return _resumed(claimed, None, (), uri, experiment, given)
    run = find_sweep(client, ids, name)
    own = Workspace(folder / run.data.tags["sweep.name"])
    name = own.path.name
    delivered = deliver_left(client, run, own.path)
    run = client.get_run(run.info.run_id)
    every = trials_of(client, run)
    over = tuple(trial for trial in every if trial.outcome in ENDED)
    outcomes = [trial.outcome for trial in every if trial.role == "trial"]
    ran_out = "out_of_time" in outcomes and all(outcome in ENDED for outcome in outcomes)
    resumed = _resumed(own, run, over, uri, experiment, given, client, ran_out)
    study = StudyLocation(resumed.settings.study_storage)
    if every and not study.holds(own):
        if study.is_shared:
            raise InputError(
                f"--resume {name}: --study-storage has no study of that name; give the database "
                "that the sweep was started with"
            )
        raise InputError(
            f"--resume {name}: its study {own.study} is not here; resume it in the folder where it "
            "was started, or start a new one with --warm-start"
        )
    wanted = resumed.settings.trials
    begun = len(outcomes)
    if wanted < begun or (wanted == len(resumed.ended) and resumed.finished):
        cut = sum(trial.outcome == "out_of_time" for trial in resumed.ended)
        raise CompleteError(
            f"--resume {name}: it has {counted(begun, 'trial')} already"
            + (f", and the {cut} that ran out of time stay as they are" if cut else "")
            + f"; give --trials {'more than that' if resumed.finished else 'that many or more'}",
            delivered,
            resumed.settings,
            resumed.finished,
        )
    return resumed


def _begun(folder: Path, name: str | None) -> Workspace | None:
    """Return the folder of a sweep that may have no run yet: the named one, or the newest."""
    if name is not None:
        # A name that is no sweep's must not lead elsewhere.
        found = [folder / name] if Path(name).name == name else []
    else:
        found = [file.parent for file in folder.glob(f"[!.]*/{SETTINGS_FILE}")]
        found = sorted(found, key=lambda path: path.stat().st_mtime)[-1:]
    for path in found:
        own = Workspace(path)
        if own.read(SETTINGS_FILE) is not None and not own.study.is_file():
            return own
    return None


def _resumed(
    own: Workspace,
    run: Run | None,
    over: tuple[TrialRecord, ...],
    uri: str | None,
    experiment: str,
    given: Mapping[str, Any],
    client: MlflowClient | None = None,
    ran_out: bool = False,
) -> ResumedSweep:
    """Return what the folder and the run hold of a sweep.

    Args:
        own: the sweep's folder.
        run: its run, if it has one.
        over: the trials that have ended.
        uri: the store as it was asked for.
        experiment: the experiment's name.
        given: settings that this start changes.
        client: client of the store.
        ran_out: whether the time budget had ended the search.
    """
    name = own.path.name
    texts = {file: own.read(file) for file in (SETTINGS_FILE, SPACE_FILE)}
    try:
        for file, text in texts.items():
            if text is None and client is not None and run is not None:
                texts[file] = artifact_text(client, run.info.run_id, file)
        settings = SweepSettings.from_json(texts[SETTINGS_FILE] or "")
    except InputError as error:
        raise InputError(f"--resume {name}: {error}") from None
    settings = replace(settings, name=name, tracking_uri=uri, experiment=experiment, **given)
    for place in PLACES:
        # `to_json` leaves credentials out.
        if "***" in (getattr(settings, place) or ""):
            flag = place.replace("_", "-")
            raise InputError(
                f"--resume {name}: give --{flag} as at the start, {getattr(settings, place)}: its "
                "credentials are not kept"
            )
    finished = run is not None and _has_finished(run)
    return ResumedSweep(
        name=name,
        run_id=None if run is None else run.info.run_id,
        settings=settings,
        finished=finished,
        search_over=not finished and not {"trials", "time_budget"} & set(given) and ran_out,
        space=SearchSpace.from_mapping(load_yaml(texts[SPACE_FILE] or "")),
        dataset_fingerprint=None if run is None else run.data.params.get("dataset_fingerprint"),
        ended=tuple(trial for trial in over if trial.role == "trial"),
        ended_by_role={
            role: frozenset(str(trial.key) for trial in over if trial.role == role)
            for role in {trial.role for trial in over} - {"trial"}
        },
    )


def _has_finished(run: Run) -> bool:
    # The tag is set before the run is closed; a kill may come between.
    return run.info.status == "FINISHED" and run.data.tags["sweep.state"] == "finished"


def deliver_left(client: MlflowClient, run: Run, folder: Path) -> int:
    """Send the store what it did not get of a sweep; return how many entries those were.

    Args:
        client: client of the store.
        run: the sweep's run.
        folder: the sweep's own, with its outbox.

    Raises:
        InputError: the sweep is running, in another process.
        RecordError: the store does not take it.
    """
    if not (folder / OUTBOX_FILE).exists():
        return 0
    outbox = Outbox(folder)
    with one_try_each():
        BatchWriter(MlflowSink(client, run.info.run_id, outbox), outbox).close()
    return len(outbox.left)
