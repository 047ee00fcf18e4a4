"""`python -m sentiment.prepare`: build a data set's corpus and vectors once, into the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sentiment import cli
from sentiment.config import Config, parse_assignments
from sentiment.listing import listed
from sentiment.wording import duration

if TYPE_CHECKING:
    from sentiment.training.prepared_data import PreparedData


def main(argv: list[str] | None = None) -> None:
    """Build what the settings need, and print a summary."""
    parser = cli.Parser(
        prog="python -m sentiment.prepare",
        description="Build a data set's encoded corpus and word vectors once, into the cache.",
        common=(
            "--dataset",
            "--data",
            "--data-dir",
            "--text-column",
            "--label-column",
            "--split-column",
            "--validation-share",
            "--set",
        ),
        examples=(
            "python -m sentiment.prepare",
            "python -m sentiment.prepare --data reviews.csv --set embedding=word2vec",
        ),
    )
    cli.add_data_arguments(parser)
    cli.add_set_argument(parser)
    args = parser.parse_args(argv)
    config = Config.from_flat(parse_assignments(args.set))
    data = cli.data_config(args)

    from sentiment.io.cache import cache_root
    from sentiment.training.prepared_data import prepare

    started = time.perf_counter()
    prepared = prepare(data, [config], progress=print)
    for line in summary(prepared, config):
        print(line)
    print(f"ready after {duration(time.perf_counter() - started)}, in {cache_root()}")


def summary(prepared: PreparedData, config: Config) -> Iterator[str]:
    """Yield lines that describe what was built."""
    from sentiment.data.diagnosis import TRAIN, tokenization_warning
    from sentiment.data.vocabulary import build_vocabulary
    from sentiment.embeddings.sources import coverage

    corpus, vectors = prepared.for_config(config)
    yield f"{corpus.dataset}, fingerprint {corpus.dataset_fingerprint[:12]}"
    for name, split in corpus.splits.items():
        labels = listed(
            [
                f"{int((split.labels == label).sum()):,} {label_name}"
                for label, label_name in enumerate(corpus.label_names)
            ]
        )
        yield (
            f"{name:<6} {len(split):>8,} texts {len(split.tokens):>12,} tokens  "
            f"{labels if len(split.labels) else 'no labels'}"
        )
    text = config.text
    vocabulary = build_vocabulary(corpus.words, corpus.counts, text.vocabulary_size, text.min_count)
    yield (
        f"vocabulary: {vocabulary.size:,} of {len(corpus.words):,} words of "
        f"{' and '.join(corpus.word_splits)}, and <unk> and <pad>; "
        f"commonest: {' '.join(corpus.words[:10])}"
    )
    warning = tokenization_warning(corpus, text, TRAIN)
    if warning is not None:
        yield f"warning: {warning}"
    if vectors is None:
        yield f"embedding: random, {config.model.embedding_dim}d"
    else:
        share = coverage(vectors, vocabulary.size)
        yield f"embedding: {vectors.source}, {vectors.dim}d, for {share:.1%} of the vocabulary"


if __name__ == "__main__":
    cli.run(main)
