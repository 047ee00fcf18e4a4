"""Keys of what a trial's worker reports to the driver, beside the metrics of the record."""

from collections.abc import Mapping
from typing import Any

EXAMPLES = "examples"
"""Training examples seen, the resource that the scheduler counts."""
FINISHED = "finished"
"""Whether the trial has used up its full budget."""
FAILURE = "failure"
"""The traceback of a failure that another try would only repeat."""
PRECISION = "precision"
"""In what the recurrent layers were computed: float32 or bfloat16."""
RECURRENCE = "recurrence"
"""How the machine runs recurrent layers on its CPU: see `sentiment.nn.rnn_choice.recurrence`."""
FACTS = "facts"
"""What is known of a trial as a whole, such as its parameters, under the record's names."""
EARLIER = "earlier"
"""The evaluations before it that no result of this worker has had yet."""

RESULTS = "results"
"""In a checkpoint's notes: all evaluations so far."""
ADOPTED = "adopted"
"""The same: how many of them, the first ones, are those of another trial that was taken over."""

WORKERS_READY = "SWEEPS_WORKERS_READY"
"""Environment variable: the folder in which each idle worker that is ready makes an empty file."""


def facts_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return what is known of a trial as a whole by a result, which Ray may have flattened."""
    prefix = f"{FACTS}/"
    flat = {n.removeprefix(prefix): value for n, value in result.items() if n.startswith(prefix)}
    return flat or dict(result.get(FACTS, {}))


def costs_of(evaluation: Mapping[str, Any], facts: Mapping[str, float]) -> dict[str, float]:
    """Return what a trial has cost at an evaluation, under the record's names."""
    seconds = "seconds/total"
    return {**facts, **({seconds: evaluation[seconds]} if seconds in evaluation else {})}


def evaluations(result: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return all evaluations of a result, in the order in which they were made."""
    return (*result.get(EARLIER, ()), result)
