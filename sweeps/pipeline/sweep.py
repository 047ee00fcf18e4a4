"""One sweep from its checked settings to its registered winner: the stages in order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from mlflow import MlflowClient

from sentiment.data.corpus import text_key
from sentiment.data.diagnosis import LAUNCH, tokenization_warning
from sentiment.data.summary import brief
from sentiment.tracking.http import one_try_each
from sentiment.tracking.store import open_store
from sentiment.training.prepared_data import PreparedData, prepare
from sentiment.wording import counted
from sweeps.console.summary import SweepResult, print_result, resume_command, start_line
from sweeps.execution.local_ray import join_ending, local_ray
from sweeps.objectives import METRICS
from sweeps.pipeline.context import SweepContext
from sweeps.pipeline.earlier_sweep import past_trials
from sweeps.pipeline.executor import Executor
from sweeps.pipeline.imports import import_ahead
from sweeps.pipeline.notification import finished, send, unfinished
from sweeps.pipeline.record import open_workspace, start_tracker, subject_of
from sweeps.pipeline.running import RunningSweep
from sweeps.pipeline.stages.baselines import train_baselines
from sweeps.pipeline.stages.choice import Choice, choose_winner
from sweeps.pipeline.stages.classical import compare_classical
from sweeps.pipeline.stages.conclusion import conclude, report
from sweeps.pipeline.stages.ensemble import log_ensemble, select_members
from sweeps.pipeline.stages.finalists import train_finalists
from sweeps.pipeline.stages.refit import refit_runs
from sweeps.pipeline.stages.search import search
from sweeps.pipeline.stages.seed_replicates import replicate_seeds
from sweeps.reporting import notes
from sweeps.search.warm_start import PastTrial
from sweeps.signals import interruptible
from sweeps.tracking.orphans import close_orphans
from sweeps.tracking.pretraining import record_language_models
from sweeps.tracking.runs_view import keep_trials_view
from sweeps.tracking.tracker import SweepTracker
from sweeps.workspace import Workspace


def run(context: SweepContext) -> SweepResult:
    """Run a sweep.

    Args:
        context: its settings, checked.

    Raises:
        InputError: the store, the name or the data turn out wrong.
        RecordError: what happened can't be written to the store, or not now.
        KeyboardInterrupt: after what ran has been recorded as interrupted.
    """
    with interruptible(), one_try_each():
        past = past_trials(context)
        context.notify(brief(context.dataset))
        prepared = prepare(context.dataset, context.configs(), progress=context.notify)
        warnings = _token_warnings(context, prepared)
        client, experiment_id = open_store(context.uri, context.settings.experiment)
        workspace = open_workspace(context, client, experiment_id)
        try:
            with context.studies.lock(workspace.path.name):
                tracker = start_tracker(context, client, experiment_id, workspace)
                return _run_recorded(context, tracker, workspace, prepared, past, warnings)
        finally:
            workspace.release()
            join_ending()


def _run_stages(running: RunningSweep, past: Sequence[PastTrial]) -> tuple[SweepResult, Choice]:
    """Run the stages of a sweep, from the search to the end of its record."""
    context = running.context
    own_ray = local_ray(context.workers, context.gpus, context.settings.trials)
    with nullcontext() if context.joins_cluster else own_ray as own:
        import_ahead()
        flatness = search(running, past)
        train_finalists(running)
        selection = select_members(running)
        refit_runs(running, selection.runs if selection else ())
        log_ensemble(running, selection)
        choice = choose_winner(running)
        comparison = compare_classical(running, choice)
        confirmation = replicate_seeds(running, choice, comparison)
        train_baselines(running)
        if own is not None:
            own.end()
    return conclude(running, choice, comparison, confirmation, flatness), choice


def _run_recorded(
    context: SweepContext,
    tracker: SweepTracker,
    workspace: Workspace,
    prepared: PreparedData,
    past: Sequence[PastTrial],
    warnings: list[str],
) -> SweepResult:
    """Run a sweep whose record is open; close that, whatever happens.

    Args:
        context: the sweep.
        tracker: writes its record.
        workspace: its workspace.
        prepared: data and word vectors.
        past: trials of another sweep that the search learns from.
        warnings: what is likely to be wrong with the texts.
    """
    client, settings = tracker.client, context.settings
    checkpoints = context.checkpoints(workspace)
    _close_orphans(context, client)
    try:
        _notify_start(context, tracker)
        subject = subject_of(context, tracker)
        executor = Executor(context, tracker, prepared, checkpoints)
        record_language_models(tracker, prepared.pretrained, context.dataset)
        running = RunningSweep(context, workspace, tracker, executor, subject, warnings)
        _describe_start(running)
        result, choice = _run_stages(running, past)
    except BaseException as error:
        # Also at Control-C: the record must not stay open.
        try:
            tracker.end("interrupted")
        finally:
            command = resume_command(tracker.name, settings)
            context.notify(f"sweep {tracker.name} was interrupted; resume it: {command}")
            ended = unfinished(tracker.name, tracker.run_id, error, command)
            send(settings.notify, ended, context.notify)
        raise
    checkpoints.remove()
    report(context, client, tracker.run_id, choice.predictions)
    examples = len(context.dataset.splits["train"].texts)
    print_result(context.console, result, settings, context.uri, tracker.experiment_id, examples)
    send(settings.notify, finished(result), context.notify)
    return result


def _token_warnings(context: SweepContext, prepared: PreparedData) -> list[str]:
    """Return, and print at once, where the tokenizer did not split the texts."""
    warnings: list[str] = []
    for text in {config.text for config in context.configs()}:
        warning = tokenization_warning(prepared.corpora[text_key(text)], text, LAUNCH)
        if warning is not None and warning not in warnings:
            warnings.append(warning)
            context.notify(f"warning: {warning}")
    return warnings


def _close_orphans(context: SweepContext, client: MlflowClient) -> None:
    closed = close_orphans(client)
    if closed:
        runs = counted(len(closed), "run")
        context.notify(f"closed {runs} that an ended process had left running")


def _notify_start(context: SweepContext, tracker: SweepTracker) -> None:
    ended = None if context.resumed is None else len(context.resumed.ended)
    context.notify(
        start_line(tracker.name, context.settings, tracker.run_id, ended, context.search_over)
    )


def _describe_start(running: RunningSweep) -> None:
    """Describe the sweep on MLflow's pages, with the view of its trials."""
    context, tracker = running.context, running.tracker
    tracker.sweep.describe(notes.running_sweep(running.subject))
    searched = list(context.space.dimensions)
    tracker.ask(
        lambda: keep_trials_view(
            tracker.client,
            tracker.experiment_id,
            tracker.name,
            context.settings.objective,
            searched,
            [METRICS[name] for name in context.settings.further_objectives],
        )
    )
