"""Our training loop against the tutorials' loop on torch's packed modules, step by step."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from benchmarks.tutorial_loop import TutorialModel, bucket_batches, step
from sentiment.config import Config
from sentiment.data.datasets import DataConfig
from sentiment.data.vocabulary import PAD_ID
from sentiment.training.evaluation import RunningScores
from sentiment.training.prepared_data import prepare
from sentiment.training.trainer import Trainer

SETTINGS = {
    "embedding": "random",
    "embedding_dim": 20,
    "hidden_dim": 16,
    "dropout": 0,
    "pooling": "last",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "gradient_clip": 0,
    "weight_decay": 0,
    "precision": "float32",
    "batch_size": 32,
    "tokenizer": "whitespace",
}


@pytest.mark.parametrize(
    ("cell", "layers", "bidirectional"),
    [("lstm", 1, True), ("lstm", 2, False), ("gru", 2, True), ("rnn", 1, True)],
)
def test_losses_agree_over_fifty_steps(cell, layers, bidirectional):
    config = Config.from_flat(
        {**SETTINGS, "cell": cell, "layers": layers, "bidirectional": bidirectional}
    )
    corpus, vectors = prepare(DataConfig(dataset="rotten-tomatoes"), [config]).for_config(config)
    trainer = Trainer(config, corpus, vectors)
    model = trainer.model
    theirs = TutorialModel(
        len(trainer.vocabulary), 20, cell, 16, layers, bidirectional, 0.0, PAD_ID
    )
    theirs.load_state_dict(model.state_dict())
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    plan = trainer.train_texts.epoch(32, seed=3, epoch=0)[:50]
    losses = []
    for index, batch in trainer.train_texts.batches(plan):
        running = RunningScores(trainer.device)
        trainer._train_step(index, [batch], running)
        packed = PackedSequence(batch.ids, torch.tensor(batch.layout.sizes))
        ids, lengths = pad_packed_sequence(packed, padding_value=PAD_ID)
        loss = step(theirs, optimizer, ids, lengths, batch.labels)
        losses.append((float(running.loss / running.weight), loss))
    assert len(losses) == 50
    assert losses[0][0] != pytest.approx(losses[-1][0], abs=1e-3)
    for ours, expected in losses:
        assert ours == pytest.approx(expected, abs=1e-4)


def test_bucket_batches_are_ours_of_the_same_words():
    words = ("<unk>", "<pad>", "good", "film", "bad")
    texts = [["good", "film"], ["bad"], ["what", "a", "bad", "film"]]
    ((ids, lengths, labels),) = bucket_batches(texts, [1, 0, 0], words, 3)
    assert lengths.tolist() == [4, 2, 1]
    assert ids.t().tolist() == [[0, 0, 4, 3], [2, 3, 1, 1], [4, 1, 1, 1]]
    assert labels.tolist() == [0, 1, 0]
