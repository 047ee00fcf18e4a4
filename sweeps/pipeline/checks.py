"""Checks of a sweep's settings before anything is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from rich.console import Console

from sentiment.data.datasets import Dataset, load_dataset
from sentiment.data.tokenizer import tokenizer
from sentiment.embeddings.sources import VectorSpec
from sentiment.errors import InputError
from sentiment.io.processes import available_cores
from sentiment.nn.devices import pick_precision
from sentiment.recipes.recipe import Recipe, baseline_recipes
from sentiment.tracking.store import check_writable, find_store, tracking_uri
from sentiment.wording import counted
from sweeps.config import ENOUGH_EXAMPLES, SweepSettings, default_epochs
from sweeps.execution.local_ray import check_no_other
from sweeps.execution.ray_cluster import asks_for_token, check_storage, cluster_nodes
from sweeps.execution.ray_directory import choose_directory
from sweeps.execution.resources import Node, Workers, describe_nodes, plan_workers
from sweeps.pipeline.context import SweepContext, check_same_data
from sweeps.pipeline.earlier_sweep import with_best_settings
from sweeps.pipeline.notification import check_notify
from sweeps.pipeline.record import name_in_use
from sweeps.pipeline.resume import ResumedSweep
from sweeps.registry.versions import check_model_name
from sweeps.search.cost_model import TrialCost
from sweeps.search.population import PBT, check_population
from sweeps.search.rungs import FIRST_RUNG, plan_rungs, plan_turns
from sweeps.search.samplers import make_sampler
from sweeps.search.study_location import StudyLocation
from sweeps.space.space import SearchSpace
from sweeps.terminal import notify
from sweeps.tracking.names import check_sweep_name
from sweeps.tracking.queries import sweep_run
from sweeps.trials.checkpoint_storage import Storage
from sweeps.workspace import STATE_FOLDER, Workspace

FEW_EXAMPLES = ENOUGH_EXAMPLES // 2
"""Training examples of a trial below which a sweep warns."""


def check(
    settings: SweepSettings,
    console: Console,
    quiet: bool = False,
    resumed: ResumedSweep | None = None,
) -> SweepContext:
    """Check the settings of a sweep against the machine, the data and the store.

    Nothing is written. Where the settings name a cluster,
    `sweeps.execution.ray_cluster.joined_ray` has joined it.

    Args:
        settings: the settings.
        console: where to print.
        quiet: print no live view.
        resumed: the sweep that is resumed; None for a new one.

    Raises:
        InputError: the settings are wrong, or don't fit the machine, the data or the store; or
            this process runs a Ray already.
        SweepError: the disk of Ray's files is full.
    """
    started = time.monotonic()
    storage = None if settings.storage is None else Storage(settings.storage)
    studies = StudyLocation(settings.study_storage)
    nodes = _available_nodes(settings)
    if settings.storage is not None or len(nodes) > 1:
        joined = settings.address is not None
        check_storage(storage or Storage(STATE_FOLDER), settings.storage, joined)
    workers = plan_workers(
        nodes,
        cpus_per_trial=settings.cpus_per_trial,
        gpus_per_trial=settings.gpus_per_trial,
        concurrency=settings.concurrency,
    )
    on_gpu = workers.gpus > 0
    population = settings.scheduler == PBT
    name = settings.space or (PBT if population else "gpu" if on_gpu else "cpu")
    if resumed:
        space = resumed.space
    else:
        space = SearchSpace.load(name).fix(settings.overrides).enqueue(settings.enqueue)
        space = space.believe(settings.prior)
    if population:
        check_population(settings, space)
    make_sampler(settings.sampler, space, settings.seed)
    check_model_name(settings.model_name)
    check_notify(settings.notify)
    uri = tracking_uri(settings.tracking_uri)
    _check_store(settings, uri, studies, new=resumed is None)
    for line in _machine_lines(settings, nodes, workers, name, resumed is not None):
        notify(console, line)
    dtype = pick_precision(settings.precision, torch.device("cuda" if on_gpu else "cpu"))
    dataset = load_dataset(settings.data, lambda line: notify(console, line))
    if resumed and resumed.dataset_fingerprint is not None:
        check_same_data(dataset, resumed.dataset_fingerprint, resumed.name)
    texts = dataset.splits["train"].texts
    if resumed is None:
        epochs = default_epochs(len(texts)) if settings.max_epochs is None else settings.max_epochs
        settings = replace(settings, max_epochs=epochs, first_rung=FIRST_RUNG)
        space, transferred = with_best_settings(space, settings, uri, dataset)
        if transferred is not None:
            notify(console, transferred)
    context = SweepContext(
        settings=settings,
        resumed=resumed,
        console=console,
        quiet=quiet,
        uri=uri,
        nodes=nodes,
        workers=workers,
        space=space,
        dataset=dataset,
        # What takes long on a GPU is the number of steps, hardly the size of a layer.
        cost=None if on_gpu else TrialCost(texts),
        rungs=(
            plan_turns(settings.trial_epochs, len(texts))
            if population
            else plan_rungs(settings.trial_epochs, len(texts), settings.first_rung)
        ),
        dtype=dtype,
        recipes=_baseline_recipes(settings, dataset),
        studies=studies,
        storage=storage,
        started=started,
    )
    _check_configs(context)
    if resumed is None and context.rungs.budget < FEW_EXAMPLES:
        proposed = default_epochs(len(texts))
        if settings.trial_epochs < proposed:
            notify(console, _few_examples(settings.trial_epochs, len(texts), proposed))
    return context


def _few_examples(epochs: float, texts: int, proposed: float) -> str:
    return (
        f"warning: {epochs:g} epochs of {counted(texts, 'text')} are few to learn from, so trials "
        f"can hardly be told apart: leave --max-epochs at its default of {proposed:g}"
    )


def recipes_for(dataset: Dataset) -> list[Recipe]:
    """Return the recipes whose loss suits the number of the data's classes."""
    two = len(dataset.label_names) == 2
    return [recipe for recipe in baseline_recipes() if two or recipe.settings["loss"] != "bce"]


def _baseline_recipes(settings: SweepSettings, dataset: Dataset) -> list[Recipe]:
    """Return the recipes for the data, with what they share with the trials."""
    shared = {
        "precision": settings.precision,
        "seed": settings.seed,
        "language": settings.overrides.get("language", "en"),
    }
    return [
        replace(recipe, settings={**recipe.settings, **shared}) for recipe in recipes_for(dataset)
    ]


def _available_nodes(settings: SweepSettings) -> Sequence[Node]:
    if settings.address is not None:
        return cluster_nodes()
    check_no_other()
    choose_directory()
    return [Node(available_cores(), torch.cuda.device_count())]


def _machine_lines(
    settings: SweepSettings, nodes: Sequence[Node], workers: Workers, space: str, resumed: bool
) -> Iterator[str]:
    """Yield what the sweep runs on, and which space it searches for what reason."""
    gpus = sum(node.gpus for node in nodes)
    if resumed:
        space, why = "of the sweep", "it is resumed"
    elif settings.space:
        why = "as asked for"
    elif settings.scheduler == PBT:
        why = f"for --scheduler {PBT}"
    else:
        here = counted(gpus, "GPU is", "GPUs are")
        why = f"{here} here" if workers.gpus > 0 else "no GPU is used"
    if settings.address is not None:
        yield f"cluster: {describe_nodes(nodes)}"
        if not asks_for_token():
            yield "note: whoever reaches this cluster can run code on it; docs/scaling.md"
        if workers.gpus > 0 and any(not node.gpus for node in nodes):
            yield "trials run on the GPUs alone; with --gpus-per-trial 0 on all cores"
    cores = counted(sum(node.cpus for node in nodes), "core")
    yield f"space {space} ({why}); {workers}, of {cores}"


def _check_store(settings: SweepSettings, uri: str, studies: StudyLocation, new: bool) -> None:
    """Raise an InputError where the store, if it is there, can't take this sweep."""
    name = settings.name
    if name is not None:
        check_sweep_name(name)
    check_writable(uri)
    client = find_store(uri)
    if name is None or not new:
        return
    workspace = Workspace(STATE_FOLDER / name)
    in_use = workspace.path.exists() or studies.holds(workspace)
    if client is not None:
        experiment = client.get_experiment_by_name(settings.experiment)
        ids = [experiment.experiment_id] if experiment else []
        in_use = in_use or (bool(ids) and sweep_run(client, ids, name) is not None)
    if in_use:
        raise name_in_use(name)


def _check_configs(context: SweepContext) -> None:
    """Raise an InputError where the space needs what isn't there, or can't fit the data."""
    configs = context.configs()
    for config in configs:
        VectorSpec.of(config.model)
    for text in {config.text for config in configs}:
        tokenizer(text)
    losses = context.space.combinations(["loss"])
    dataset = context.dataset
    if len(dataset.label_names) > 2 and {"loss": "bce"} in losses:
        raise InputError(
            f"loss=bce is for two classes, {dataset.name} has "
            f"{len(dataset.label_names)}: leave loss at auto"
        )
