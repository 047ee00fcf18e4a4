"""A sweep's workspace and the record of it in MLflow: created for a new sweep, or resumed."""

from __future__ import annotations

from mlflow import MlflowClient

from sentiment.errors import InputError
from sentiment.nn.matmul import precision_name
from sentiment.tracking.dataset_input import dataset_input
from sentiment.tracking.runs import parameter_text
from sweeps.pipeline.context import SweepContext
from sweeps.reporting.notes import Subject
from sweeps.tracking.names import new_sweep_name
from sweeps.tracking.tracker import SweepTracker
from sweeps.workspace import SETTINGS_FILE, SPACE_FILE, STATE_FOLDER, Workspace


def open_workspace(context: SweepContext, client: MlflowClient, experiment_id: str) -> Workspace:
    """Lock the workspace of a resumed sweep, or create that of a new one.

    Args:
        context: the sweep.
        client: client of the store.
        experiment_id: the experiment, in which a new name is unique.

    Raises:
        InputError: another process runs the sweep, or another sweep has the name.
    """
    if context.resumed is None:
        return _create_workspace(context, client, experiment_id)
    workspace = Workspace(STATE_FOLDER / context.resumed.name)
    workspace.lock()
    workspace.write(context.settings.to_json(), context.space.to_yaml())
    return workspace


def _create_workspace(context: SweepContext, client: MlflowClient, experiment_id: str) -> Workspace:
    """Create the workspace under the name that was asked for or a new one."""
    settings, space, studies = context.settings, context.space.to_yaml(), context.studies
    name = settings.name or new_sweep_name(client, experiment_id, context.dataset.name)
    stem, count = name, 1
    while True:
        try:
            path = STATE_FOLDER / name
            if studies.is_shared and studies.holds(Workspace(path)):
                raise FileExistsError(path)
            return Workspace.create(path, settings.to_json(), space)
        except FileExistsError:
            if settings.name is not None:
                raise name_in_use(name) from None
        # Another sweep was started in the same second.
        count += 1
        name = f"{stem}-{count}"


def name_in_use(name: str) -> InputError:
    """Return the error of a new sweep under the name of another."""
    return InputError(
        f"--name {name}: there is a sweep of that name; resume it by --resume {name}, "
        f"or name another (or remove {STATE_FOLDER / name} if its record is gone)"
    )


def start_tracker(
    context: SweepContext, client: MlflowClient, experiment_id: str, workspace: Workspace
) -> SweepTracker:
    """Start the record of a sweep, or continue it.

    Args:
        context: the sweep.
        client: client of the store.
        experiment_id: the experiment.
        workspace: the sweep's workspace, which this process has locked.
    """
    settings, resumed = context.settings, context.resumed
    parameters = {
        "dataset": context.dataset.name,
        "dataset_fingerprint": context.dataset.fingerprint,
        "trials": str(settings.trials),
        "max_epochs": f"{settings.trial_epochs:g}",
        "sampler": settings.sampler,
        "scheduler": settings.scheduler,
        "time_budget": parameter_text(settings.time_budget),
        "seed": str(settings.seed),
        "workers": str(context.workers),
        "cores": str(context.cores),
        **settings.objectives.as_parameters(),
    }
    if resumed and resumed.run_id is not None:
        tracker = SweepTracker.resume(
            client,
            client.get_run(resumed.run_id),
            parameters={**parameters, "objective": settings.objective},
            folder=workspace.path,
            notify=context.notify,
        )
        tracker.sweep.log_text(context.space.to_yaml(), SPACE_FILE)
    else:
        tracker = SweepTracker.start(
            client,
            experiment_id,
            workspace.path.name,
            objective=settings.objective,
            parameters=parameters,
            precision=precision_name(context.dtype),
            space_yaml=context.space.to_yaml(),
            inputs=[dataset_input(context.dataset, settings.data)],
            folder=workspace.path,
            notify=context.notify,
        )
    tracker.sweep.log_text(settings.to_json(), SETTINGS_FILE)
    return tracker


def subject_of(context: SweepContext, tracker: SweepTracker) -> Subject:
    """Return what the notes on MLflow's pages describe."""
    tags = tracker.ask(lambda: tracker.client.get_run(tracker.run_id)).data.tags
    return Subject(
        name=tracker.name,
        run_id=tracker.run_id,
        experiment_id=tracker.experiment_id,
        settings=context.settings,
        dataset=context.dataset,
        space=context.space,
        rungs=context.rungs,
        command=tags["provenance.command"],
        commit=tags.get("provenance.git_commit"),
        threads=context.workers.cpus,
    )
