"""`python -m benchmarks.epoch`: a whole epoch's loop against the tutorials' loop.

Both sides train the `bilstm-1` recipe on the same reviews of `imdb-25k`: twenty batches drawn
evenly over all lengths of an epoch's batches, since the tutorials' loop would take hours for the
epoch. Theirs is torchtext's BucketIterator, nn.LSTM on a PackedSequence and Adam; ours is the
trainer as it is, an evaluation of one review included. One process, one thread, denormals flushed
on both sides.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import tables
from benchmarks.tutorial_loop import TutorialModel, bucket_batches, step
from sentiment import cli
from sentiment.config import Config
from sentiment.data.batching import TextDataset
from sentiment.data.corpus import Corpus, EncodedSplit
from sentiment.data.datasets import DataConfig
from sentiment.data.vocabulary import PAD_ID, Vocabulary, build_vocabulary
from sentiment.nn.devices import configure_threads, has_fast_bfloat16
from sentiment.recipes.recipe import load_recipe
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer


def main(argv: list[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.epoch", description=__doc__)
    parser.add_argument("--batches", type=int, default=20, help="batches of the sample")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of our side")
    parser.add_argument("--write", metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args(argv)
    configure_threads(1)
    config = Config.from_flat(load_recipe("bilstm-1").settings)
    # The source of word vectors does not change what a step costs.
    config = config.replace(embedding="random", epochs=1)
    prepared = prepare(DataConfig(), [config], progress=print)
    corpus, _ = prepared.for_config(config)
    sample = subset(corpus, chosen(corpus, config, args.batches))
    tokens = len(sample.splits["train"].tokens)
    precisions = ["float32", "bfloat16"] if has_fast_bfloat16(torch.device("cpu")) else ["float32"]
    sides: dict[str, list[float]] = {precision: [] for precision in precisions}
    theirs: list[float] = []
    for round_ in range(args.rounds):
        for precision in precisions:
            sides[precision].append(seconds(ours(sample, config.replace(precision=precision))))
        if round_ == 0:
            theirs.append(seconds(tutorials(sample, config)))
    slow = theirs[0]
    rows = [["the tutorials' loop", f"{slow:,.1f}", f"{tokens / slow:,.0f}", "1"]]
    for precision, taken in sides.items():
        median = statistics.median(taken)
        speed, ratio = f"{tokens / median:,.0f}", f"{slow / median:.0f}"
        rows.append([f"ours, {precision}", f"{median:,.1f}", speed, ratio])
    header = ["loop", f"seconds, {tokens:,} tokens", "tokens/s", "times as fast"]
    table = tables.markdown(header, rows)
    print(table)
    if args.write:
        tables.replace(Path(args.write), "epoch", table)


def chosen(corpus: Corpus, config: Config, batches: int) -> np.ndarray:
    """Return the reviews of batches at even distances in the order of their lengths."""
    known = _vocabulary(corpus, config).size
    texts = TextDataset(corpus.splits["train"], config.text, known)
    plan = texts.epoch(config.training.batch_size, config.training.seed, 0)
    plan.sort(key=lambda index: int(texts.lengths[index].sum()))
    picked = np.linspace(0, len(plan) - 1, min(batches, len(plan))).round().astype(int)
    return np.concatenate([plan[i] for i in picked])


def subset(corpus: Corpus, texts: np.ndarray) -> Corpus:
    """Return a corpus whose training split has these texts alone, and one to validate on."""
    train = corpus.splits["train"]

    def take(index: np.ndarray) -> EncodedSplit:
        parts = [train.tokens[train.offsets[i] : train.offsets[i + 1]] for i in index]
        return EncodedSplit(
            tokens=np.concatenate(parts),
            offsets=np.cumsum([0, *map(len, parts)], dtype=np.int64),
            labels=train.labels[index],
        )

    return dataclasses.replace(corpus, splits={"train": take(texts), "valid": take(texts[:1])})


def seconds(run: Callable[[], None]) -> float:
    """Time one run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def ours(corpus: Corpus, config: Config) -> Callable[[], None]:
    """Our trainer over the sample."""
    trainer = Trainer(config, corpus)

    def run() -> None:
        for _ in trainer.evaluations():
            pass

    return run


def tutorials(corpus: Corpus, config: Config) -> Callable[[], None]:
    """The tutorials' loop over the sample."""
    words = _vocabulary(corpus, config).itos
    train, model_config = corpus.splits["train"], config.model
    texts = [
        [corpus.words[rank] if rank >= 0 else words[0] for rank in train.tokens[start:end]]
        for start, end in zip(train.offsets[:-1], train.offsets[1:], strict=True)
    ]
    model = TutorialModel(
        len(words),
        model_config.embedding_dim,
        model_config.cell,
        model_config.hidden_dim,
        model_config.layers,
        model_config.bidirectional,
        model_config.dropout,
        PAD_ID,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config.training.learning_rate)

    def run() -> None:
        labels = train.labels.tolist()
        for ids, lengths, y in bucket_batches(texts, labels, words, config.training.batch_size):
            step(model, optimizer, ids, lengths, y)

    return run


def _vocabulary(corpus: Corpus, config: Config) -> Vocabulary:
    text = config.text
    return build_vocabulary(corpus.words, corpus.counts, text.vocabulary_size, text.min_count)


if __name__ == "__main__":
    cli.run(main)
