"""A training resumed from a checkpoint ends as one that was never interrupted, to the bit."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_corpus import config_of, corpus_of

from sentiment.embeddings.sources import WordVectors
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.training.checkpoint import (
    MODEL_FOLDER,
    TENSORS_FILE,
    adopt_checkpoint,
    is_whole,
    load_checkpoint,
    read_notes,
    save_checkpoint,
)
from sentiment.training.trainer import Trainer

CORPUS = corpus_of()
VECTORS = WordVectors(
    np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32),
    np.array([True] * 7 + [False]),
    "toy",
)


def told(evaluations):
    """What an evaluation says, but for its speed."""
    return [
        (e.examples, e.improved, e.finished, {**e.metrics, "tokens_per_second": None})
        for e in evaluations
    ]


@settings(max_examples=15, deadline=None)
@given(
    choices=st.fixed_dictionaries(
        {
            "cell": st.sampled_from(["rnn", "gru", "lstm"]),
            "optimizer": st.sampled_from(["sgd", "momentum", "adam", "adamw", "rmsprop"]),
            "schedule": st.sampled_from(["constant", "one_cycle", "cosine"]),
            "precision": st.sampled_from(["float32", "bfloat16"]),
            "objective": st.sampled_from(["valid/accuracy", "valid/loss"]),
            "freeze_embedding": st.booleans(),
            "seed": st.integers(0, 2**31),
            "batch_size": st.integers(7, 64),
            "epochs": st.sampled_from([0.7, 1.0, 2.3]),
            "evaluations_per_epoch": st.sampled_from([1.0, 2.5, 7.0]),
            "early_evaluations": st.sampled_from([0, 1]),
            "adversarial_epsilon": st.sampled_from([0.0, 0.3]),
        }
    ),
    part=st.integers(0, 99),  # in hundredths; training flushes the denormals that floats draws
)
def test_a_training_cut_off_at_any_evaluation_ends_the_same(choices, part, tmp_path_factory):
    if choices["optimizer"] == "momentum":
        choices = {**choices, "optimizer": "sgd", "momentum": 0.9}
    config = config_of(layers=2, **choices)
    whole = Trainer(config, CORPUS, VECTORS)
    expected = told(whole.evaluations())
    count = 1 + part * (len(expected) - 1) // 99
    first = Trainer(config, CORPUS, VECTORS)
    before = told(islice(first.evaluations(), count))
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(first, folder, {"count": count})
    torch.manual_seed(0)  # another trial has used this process meanwhile
    second = Trainer(config, CORPUS, VECTORS)
    assert is_whole(folder)
    assert load_checkpoint(second, folder) == {"count": count}
    after = told(second.evaluations())
    assert before + after == expected
    assert second.step == whole.plan.steps
    assert second.best_metrics == whole.best_metrics
    assert second.best_examples == whole.best_examples
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name
    for name, value in whole.best.weights.items():
        assert torch.equal(second.best.weights[name], value), name


@pytest.fixture
def cut_off(tmp_path):
    """A checkpoint after the first of four evaluations, and its trainer."""
    trainer = Trainer(config_of(freeze_embedding=True), CORPUS, VECTORS)
    next(trainer.evaluations())
    save_checkpoint(trainer, tmp_path, {"seconds": 1.5})
    return tmp_path, trainer


def test_the_best_model_in_it_is_a_bundle(cut_off):
    folder, trainer = cut_off
    bundle = Bundle.load(folder / MODEL_FOLDER)
    assert bundle.metadata["metrics"] == trainer.best_metrics
    assert read_notes(folder) == {"seconds": 1.5, "step": 19}


def test_frozen_embeddings_are_written_once_with_the_model(cut_off):
    from safetensors.torch import load_file

    tensors = load_file(cut_off[0] / TENSORS_FILE)
    assert "model.head.bias" in tensors
    assert "model.embedding.weight" not in tensors


@pytest.mark.parametrize("damage", ["cut short", "changed", "missing", "no manifest"])
def test_a_torn_one_is_noticed(cut_off, damage):
    folder, _ = cut_off
    file = folder / TENSORS_FILE
    content = file.read_bytes()
    match damage:
        case "cut short":
            file.write_bytes(content[:-1])
        case "changed":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "missing":
            file.unlink()
        case "no manifest":
            (folder / "manifest.json").unlink()
    assert not is_whole(folder)


def test_one_of_other_settings_or_data_is_refused(cut_off):
    folder, _ = cut_off
    with pytest.raises(InputError, match="of other settings or other data"):
        load_checkpoint(Trainer(config_of(freeze_embedding=True, seed=9), CORPUS, VECTORS), folder)


def test_frozen_vectors_are_adopted_with_the_rest(tmp_path):
    settings = {"freeze_embedding": True, "embedding": "random"}
    donor = Trainer(config_of(seed=1, **settings), CORPUS)
    next(donor.evaluations())
    save_checkpoint(donor, tmp_path / "donor", {})
    config = config_of(seed=2, **settings)
    adopt_checkpoint(tmp_path / "donor", tmp_path / "adopted", config, {})
    trainer = Trainer(config, CORPUS)
    vectors = donor.model.embedding.weight
    assert not torch.equal(trainer.model.embedding.weight, vectors)
    load_checkpoint(trainer, tmp_path / "adopted")
    torch.testing.assert_close(trainer.model.embedding.weight, vectors, rtol=0, atol=0)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine"])
def test_a_training_continues_from_a_checkpoint_of_other_settings(tmp_path, schedule):
    donor = Trainer(config_of(schedule=schedule, learning_rate=2e-3, seed=1), CORPUS, VECTORS)
    next(donor.evaluations())
    save_checkpoint(donor, tmp_path / "donor", {"of": "the donor"})
    changed = {"learning_rate": 5e-3, "weight_decay": 0.01, "dropout": 0.1, "seed": 2}
    config = config_of(schedule=schedule, **changed)
    adopt_checkpoint(tmp_path / "donor", tmp_path / "adopted", config, {"of": "both"})
    assert is_whole(tmp_path / "adopted") and is_whole(tmp_path / "donor")
    trainer = Trainer(config, CORPUS, VECTORS)
    fresh = Trainer(config, CORPUS, VECTORS)
    assert load_checkpoint(trainer, tmp_path / "adopted") == {"of": "both"}
    for name, value in donor.model.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value, rtol=0, atol=0)
    assert (trainer.step, trainer.best_metrics) == (donor.step, donor.best_metrics)
    for _ in range(donor.step):
        fresh.optimizer.step()
        fresh.schedule.step()
    while trainer.step < trainer.plan.steps - 2:  # the same rate as from the first step on
        rates = [group["lr"] for group in trainer.optimizer.param_groups]
        assert rates == pytest.approx([group["lr"] for group in fresh.optimizer.param_groups])
        assert all(group["weight_decay"] == 0.01 for group in trainer.optimizer.param_groups)
        for each in (trainer, fresh):
            each.optimizer.step()
            each.schedule.step()
            each.step += 1


def test_a_checkpoint_that_is_adopted_unchanged_continues_to_the_bit(tmp_path):
    config = config_of()
    whole = Trainer(config, CORPUS, VECTORS)
    evaluations = whole.evaluations()
    next(evaluations)
    save_checkpoint(whole, tmp_path / "one", {})
    adopt_checkpoint(tmp_path / "one", tmp_path / "other", config, {})
    expected = told(evaluations)
    again = Trainer(config, CORPUS, VECTORS)
    load_checkpoint(again, tmp_path / "other")
    assert told(again.evaluations()) == expected
