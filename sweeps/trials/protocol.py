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
EARLIER = "earlier"
"""The evaluations before it that no result of this worker has had yet."""


def evaluations(result: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return all evaluations of a result, in the order in which they were made."""
    return (*result.get(EARLIER, ()), result)
