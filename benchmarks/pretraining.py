"""`python -m benchmarks.pretraining`: the speed and memory of pretraining beside its layers alone.

Steps of a language model on the texts of a data set, and the same batches through its recurrent
layers alone, forward and backward, in turns. The softmax over the vocabulary should not dominate.
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import tables
from sentiment import cli
from sentiment.config import Config, parse_assignments
from sentiment.data.batching import Batch
from sentiment.data.corpus import load_corpus
from sentiment.data.datasets import load_dataset
from sentiment.nn.devices import release_memory
from sentiment.pretraining.lm_task import FORWARD, LanguageModelTask

STEPS = 10
SETTINGS = {
    "pretraining": "lm",
    "embedding": "random",
    "embedding_dim": 128,
    "hidden_dim": 512,
    "bidirectional": False,
}


def main(argv: list[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.pretraining", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of both in turns")
    cli.add_set_argument(parser)
    cli.add_data_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object in the end")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    config = Config.from_flat({**SETTINGS, **parse_assignments(args.set)})
    dataset = load_dataset(cli.data_config(args), print)
    task = LanguageModelTask(config, load_corpus(dataset, config.text, progress=print), FORWARD)
    training = task.training()
    batches = itertools.cycle(training.first_batches(STEPS * 4))
    layers = training.model.recurrent

    def alone(batch: Batch) -> None:
        inputs = torch.randn(batch.layout.rows, layers.input_size).requires_grad_()
        layers(inputs, batch.layout).sum().backward()
        layers.zero_grad()

    speeds: dict[str, list[float]] = {"layers alone": [], "language model": []}
    for _ in range(args.rounds + 1):  # the first warms up
        chosen = [next(batches) for _ in range(STEPS)]
        speeds["layers alone"].append(_speed(alone, chosen))
        speeds["language model"].append(_speed(training.train_step, chosen))
    found = {name: statistics.median(each[1:]) for name, each in speeds.items()}
    ratio = found["language model"] / found["layers alone"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    model = config.model
    row = [
        f"{model.cell.upper()} {model.hidden_dim}, {model.embedding_dim}d",
        *(f"{found[name]:,.0f}" for name in speeds),
        f"{ratio:.2f}",
        f"{peak:.1f} GB",
    ]
    names = [f"{name}, tokens/s" for name in speeds]
    table = tables.markdown(["", *names, "share of the layers' speed", "peak memory"], [row])
    print(table)
    if args.write:
        tables.replace(Path(args.write), "pretraining", table)
    if args.json:
        print(json.dumps({"settings": config.flat(), "speed": found, "peak_gb": peak}))


def _speed(step: Callable[[Batch], object], batches: list[Batch]) -> float:
    """Return tokens a second of the process's CPU."""
    started = time.process_time()
    for batch in batches:
        step(batch)
    seconds = time.process_time() - started
    release_memory()
    return sum(batch.layout.rows for batch in batches) / seconds


if __name__ == "__main__":
    cli.run(main)
