"""`python -m benchmarks.prediction`: how fast a saved model answers, tokenising included.

The model is a one-layer bidirectional LSTM of 128 units with weights as they were drawn, since
its speed does not depend on them; the texts are reviews of `imdb-25k`. In float32.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import tables
from sentiment import cli
from sentiment.config import Config
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.data.vocabulary import build_vocabulary
from sentiment.inference.bundle import Bundle
from sentiment.nn.classifier import Classifier
from sentiment.nn.devices import configure_threads
from sentiment.training.prepared_data import prepare

SETTINGS = {"embedding": "random", "cell": "lstm", "hidden_dim": 128, "bidirectional": True}
SHORT = "This film is great, and I would see it again."


def main(argv: list[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.prediction", description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000, help="reviews in one call")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    configure_threads(1)
    bundle = make_bundle()
    texts = load_dataset(DataConfig()).splits["train"].texts[: args.texts]
    bundle.predict(texts[:64])
    single = []
    for _ in range(200):
        started = time.perf_counter()
        bundle.predict([SHORT])
        single.append(1000 * (time.perf_counter() - started))
    rows = [["one short text", f"median {statistics.median(single):.1f} ms"]]
    reference = None
    for workers in args.workers:
        started = time.perf_counter()
        answers = bundle.predict(texts, workers)
        seconds = time.perf_counter() - started
        name = f"{len(texts):,} reviews in one call, {workers} processes"
        rows.append([name, f"{len(texts) / seconds:,.0f} reviews a second"])
        reference = answers if reference is None else reference
        assert np.abs(answers - reference).max() < 1e-5, "processes must not change an answer"
    table = tables.markdown(["what", "how fast"], rows)
    print(table)
    if args.write:
        tables.replace(Path(args.write), "prediction", table)


def make_bundle() -> Bundle:
    """Make a saved model's parts, untrained."""
    config = Config.from_flat(SETTINGS)
    corpus, _ = prepare(DataConfig(), [config], progress=print).for_config(config)
    text = config.text
    vocabulary = build_vocabulary(corpus.words, corpus.counts, text.vocabulary_size, text.min_count)
    torch.manual_seed(0)
    model = Classifier(config.model, len(vocabulary), config.model.embedding_dim, 2)
    torch.nn.init.normal_(model.embedding.weight)
    return Bundle(config, vocabulary, corpus.label_names, model.state_dict())


if __name__ == "__main__":
    cli.run(main)
