"""Batches against a plain reading of the same texts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.config import TextConfig
from sentiment.data.batching import TextDataset
from sentiment.data.corpus import EncodedSplit


def split_of(texts):
    return EncodedSplit(
        tokens=np.array([rank for text in texts for rank in text], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, texts)]).astype(np.int64),
        labels=np.arange(len(texts), dtype=np.int64) % 2,
    )


def truncated(text, limit, truncation):
    """What is kept of a text, in plain Python."""
    if limit == 0 or len(text) <= limit:
        return text
    if truncation == "head":
        return text[:limit]
    if truncation == "tail":
        return text[-limit:]
    head = (limit + 1) // 2
    return text[:head] + text[len(text) - (limit - head) :]


TEXTS = st.lists(st.lists(st.integers(-1, 20), min_size=1, max_size=25), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    texts=TEXTS,
    limit=st.integers(0, 30),
    truncation=st.sampled_from(["head", "tail", "head_tail"]),
    known=st.integers(0, 25),
    size=st.integers(1, 7),
)
def test_an_epoch_holds_every_text_once_as_it_is(texts, limit, truncation, known, size):
    config = TextConfig(max_length=limit, truncation=truncation)
    view = TextDataset(split_of(texts), config, known)
    seen = []
    for index, batch in view.batches(view.epoch(size, seed=5, epoch=0)):
        assert len(index) <= size
        layout = batch.layout
        assert (np.diff(layout.lengths.numpy()) <= 0).all()
        assert batch.ids.shape == (int(layout.lengths.sum()),)
        for column, text in enumerate(index):
            kept = truncated(texts[text], limit, truncation)
            ids = [rank + 2 if 0 <= rank < known else 0 for rank in kept]
            assert batch.ids[layout.sequence == column].tolist() == ids
            assert int(layout.lengths[column]) == len(ids)
            assert int(batch.labels[column]) == text % 2
        seen.extend(index.tolist())
    assert sorted(seen) == list(range(len(texts)))


@settings(max_examples=30, deadline=None)
@given(
    texts=TEXTS,
    limit=st.integers(0, 30),
    truncation=st.sampled_from(["head", "tail", "head_tail"]),
)
def test_what_is_read_of_each_text(texts, limit, truncation):
    split = split_of(texts)
    view = TextDataset(split, TextConfig(max_length=limit, truncation=truncation), 20)
    kept = [rank for text in texts for rank in truncated(text, limit, truncation)]
    assert split.tokens[view.read_positions().numpy()].tolist() == kept


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS, tokens=st.integers(1, 60))
def test_evaluation_holds_every_text_once_within_its_size(texts, tokens):
    view = TextDataset(split_of(texts), TextConfig(), 20)
    batches = list(view.in_order_of_length(tokens))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(texts)))
    for batch in batches:
        assert len(batch) == 1 or view.lengths[batch[0]] * len(batch) <= tokens


def test_the_plan_depends_on_seed_and_epoch_alone():
    view = TextDataset(split_of([[i % 5] * (1 + i % 9) for i in range(50)]), TextConfig(), 20)

    def plan(seed, epoch):
        return [batch.tolist() for batch in view.epoch(8, seed, epoch)]

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)


def test_batches_of_like_lengths_waste_few_steps():
    random = np.random.default_rng(0)
    lengths = random.integers(1, 400, 3_000)
    view = TextDataset(split_of([[0] * int(n) for n in lengths]), TextConfig(), 20)
    padded = sum(
        int(view.lengths[index[0]]) * len(index) for index in view.epoch(64, seed=0, epoch=0)
    )
    assert padded / view.lengths.sum() == pytest.approx(1.04, abs=0.04)
