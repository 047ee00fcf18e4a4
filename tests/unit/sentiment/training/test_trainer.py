"""Training on a small task whose answer is known: does it learn, repeat itself, and fail well?"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from toy_corpus import WORDS, config_of, corpus_of

from sentiment.data.corpus import EncodedSplit
from sentiment.embeddings.sources import WordVectors
from sentiment.errors import InputError, TrainingError
from sentiment.inference.metrics import score
from sentiment.ngrams.fit import fit_ngrams
from sentiment.nn.packed_rnn import has_bfloat16_lstm
from sentiment.training.batch_plan import ACTIVATION_BYTES
from sentiment.training.optim import make_optimizer, make_schedule
from sentiment.training.trainer import Trainer


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_cell_and_optimizer_learns(cell, optimizer):
    extra = {"learning_rate": 0.5, "momentum": 0.9} if optimizer == "sgd" else {}
    config = config_of(cell=cell, optimizer=optimizer, init_std=1.0, **extra)
    evaluations = list(Trainer(config, corpus_of()).evaluations())
    assert len(evaluations) == 4
    assert max(e.metrics["valid/accuracy"] for e in evaluations) > 0.9


@pytest.mark.parametrize("steps", [*range(1, 31), 99, 100])
def test_one_cycle_rises_to_its_peak_and_falls_whatever_the_number_of_steps(steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    training = config_of(schedule="one_cycle", learning_rate=0.02).training
    optimizer = make_optimizer([weight], training)
    schedule = make_schedule(optimizer, training, steps)
    rates = schedule.get_last_lr()
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        rates += schedule.get_last_lr()
    peak = rates.index(max(rates))
    assert 1 <= peak <= max(1, steps // 10)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) <= 0.02
    if steps >= 99:
        assert max(rates) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine"])
def test_the_schedule_ends_where_it_should(schedule):
    trainer = Trainer(config_of(schedule=schedule), corpus_of())
    last = list(trainer.evaluations())[-1]
    expected = 0.02 if schedule == "constant" else 0.0
    assert last.metrics["learning_rate"] == pytest.approx(expected, abs=1e-5)
    assert trainer.step == trainer.plan.steps == 4 * 19


def test_the_same_seed_gives_the_same_numbers():
    def run(seed):
        trainer = Trainer(config_of(seed=seed), corpus_of())
        return [
            {k: v for k, v in e.metrics.items() if k != "tokens_per_second"}
            for e in trainer.evaluations()
        ]

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_evaluations_stand_at_fractions_of_an_epoch_and_at_the_end():
    trainer = Trainer(config_of(epochs=1.3, evaluations_per_epoch=2.5), corpus_of())
    evaluations = list(trainer.evaluations())
    # 300 texts: an evaluation is due each 120, and at the end of 390.
    assert [e.examples for e in evaluations] == [128, 252, 364, 396]
    assert [e.finished for e in evaluations] == [False, False, False, True]
    assert all(e.examples >= due for e, due in zip(evaluations, (120, 240, 360, 390), strict=True))
    assert evaluations[-1].metrics["epoch"] == pytest.approx(396 / 300)


def test_early_evaluations_halve_the_way_to_the_next():
    settings = {"epochs": 1, "evaluations_per_epoch": 2, "early_evaluations": 2}
    trainer = Trainer(config_of(**settings), corpus_of())
    # 300 texts in batches of 16, one of 12: due at 37.5, 75, 150 and 300.
    assert [e.examples for e in trainer.evaluations()] == [48, 80, 160, 300]


def test_max_steps_ends_training():
    trainer = Trainer(config_of(max_steps=5), corpus_of())
    (only,) = trainer.evaluations()
    assert (only.examples, only.finished, trainer.step) == (80, True, 5)


def test_the_best_checkpoint_is_the_one_of_the_best_evaluation():
    trainer = Trainer(config_of(evaluations_per_epoch=4, learning_rate=0.05), corpus_of())
    evaluations = list(trainer.evaluations())
    assert evaluations[0].improved
    improved = [e for e in evaluations if e.improved]
    best = max(evaluations, key=lambda e: e.metrics["valid/accuracy"])
    assert improved[-1].examples == best.examples == trainer.best_examples
    assert trainer.best_metrics["valid/accuracy"] == best.metrics["valid/accuracy"]
    trainer.model.load_state_dict(trainer.best.weights)
    again = trainer.evaluate(trainer.valid_texts, trainer.corpus.splits["valid"].labels)
    assert again.accuracy == best.metrics["valid/accuracy"]
    assert again.loss == pytest.approx(best.metrics["valid/loss"], rel=1e-6)


def test_train_metrics_are_means_over_texts_not_over_batches():
    trainer = Trainer(
        config_of(epochs=1, learning_rate=1e-12, optimizer="sgd", dropout=0, batch_size=128),
        corpus_of(),
    )
    (only,) = trainer.evaluations()
    scores = trainer.evaluate(trainer.train_texts, trainer.corpus.splits["train"].labels)
    assert only.metrics["train/loss"] == pytest.approx(scores.loss, rel=1e-5)
    assert only.metrics["train/accuracy"] == scores.accuracy


def test_a_loss_that_is_not_finite_names_the_step():
    trainer = Trainer(config_of(), corpus_of())
    with torch.no_grad():
        trainer.model.head.bias.fill_(math.inf)
    with pytest.raises(TrainingError, match=r"not finite at step 1 \(16 examples\)"):
        list(trainer.evaluations())


def test_three_classes_with_balanced_weights():
    trainer = Trainer(config_of(class_weights="balanced", epochs=6), corpus_of(3))
    evaluations = list(trainer.evaluations())
    assert not trainer.model.binary
    assert evaluations[-1].metrics["valid/accuracy"] > 0.8
    with pytest.raises(InputError, match="bce is for two classes"):
        Trainer(config_of(loss="bce"), corpus_of(3))


def test_balanced_weights_are_inverse_frequencies():
    corpus = corpus_of()
    train = corpus.splits["train"]
    train.labels[:] = 0
    train.labels[:75] = 1
    trainer = Trainer(config_of(class_weights="balanced"), corpus)
    assert trainer._class_weights.tolist() == pytest.approx([300 / (2 * 225), 300 / (2 * 75)])


def test_frozen_vectors_stay_and_fine_tuned_ones_move():
    vectors = WordVectors(
        np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32),
        np.array([True] * 7 + [False]),
        "toy",
    )
    for frozen in (True, False):
        trainer = Trainer(config_of(freeze_embedding=frozen, epochs=1), corpus_of(), vectors)
        before = trainer.model.embedding.weight.detach().clone()
        assert before[2:9].numpy() == pytest.approx(vectors.vectors[:7])
        list(trainer.evaluations())
        moved = (trainer.model.embedding.weight != before).any(dim=1)
        assert moved.any().item() is not frozen
        assert not moved[1]
        frozen_count = trainer.parameter_counts()
        assert frozen_count["parameters/embedding"] == 50


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_bfloat16_learns_like_float32(cell):
    results = {}
    for precision in ("float32", "bfloat16"):
        trainer = Trainer(config_of(cell=cell, precision=precision, epochs=5), corpus_of())
        results[precision] = list(trainer.evaluations())[-1].metrics["valid/accuracy"]
        everywhere = cell == "gru" or has_bfloat16_lstm()
        assert trainer.precision == (precision if everywhere else "float32")
        assert all(w.dtype == torch.float32 for w in trainer.best.weights.values())
    assert results["bfloat16"] == pytest.approx(results["float32"], abs=0.05)


def test_optimizers_are_those_of_torch():
    parameter = torch.nn.Parameter(torch.ones(3))
    kinds = {}
    for name in ("sgd", "adam", "adamw", "rmsprop"):
        training = config_of(optimizer=name, weight_decay=0.01).training
        optimizer = make_optimizer([parameter], training)
        kinds[name] = type(optimizer).__name__.lower()
        assert optimizer.defaults["weight_decay"] == 0.01
        make_schedule(optimizer, training, 10)
    assert kinds == {name: name for name in kinds}


def test_the_scores_are_scikit_learns():
    trainer = Trainer(config_of(), corpus_of())
    list(trainer.evaluations())
    bundle = trainer.best
    texts = [
        " ".join(WORDS[rank] if rank >= 0 else "zzz" for rank in ranks)
        for ranks in np.split(
            trainer.corpus.splits["valid"].tokens, trainer.corpus.splits["valid"].offsets[1:-1]
        )
    ]
    labels = trainer.corpus.splits["valid"].labels
    accuracy = accuracy_score(labels, bundle.predict(texts).argmax(axis=1))
    assert accuracy == trainer.best_metrics["valid/accuracy"]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_batch_in_parts_has_the_same_gradients(cell, monkeypatch):
    config = config_of(cell=cell, dropout=0, class_weights="balanced", epochs=2)
    whole = Trainer(config, corpus_of(3))
    monkeypatch.setitem(ACTIVATION_BYTES, cell, 10_000)
    parted = Trainer(config, corpus_of(3))
    index = parted.train_texts.epoch(16, seed=0, epoch=0)[0]
    parts = parted.plan.parts(index)
    assert 1 < len(parts) <= 16
    assert np.concatenate(parts).tolist() == index.tolist()
    for one, other in zip(parted.evaluations(), _evaluations(whole, monkeypatch), strict=True):
        assert one.examples == other.examples
        for name, value in other.metrics.items():
            if name != "tokens_per_second":
                assert one.metrics[name] == pytest.approx(value, rel=1e-3), name


def _evaluations(trainer, monkeypatch):
    """Evaluations of a trainer that takes each batch whole."""
    monkeypatch.setattr(trainer.plan, "parts", lambda index: [index])
    return trainer.evaluations()


def texts_of(trainer, split):
    """The texts of an encoded split, with a word that no model knows for one outside it."""
    names = trainer.vocabulary.itos
    return [
        " ".join(names[rank + 2] if rank >= 0 else "unheard" for rank in part.tolist())
        for part in np.split(split.tokens, split.offsets[1:-1])
    ]


def assert_scored_as_evaluated(trainer, texts, labels):
    """The saved model has the metrics of the evaluation that it comes from."""
    scores = score(trainer.best.log_probabilities(texts), labels)
    for name, value in scores.metrics("valid").items():
        assert trainer.best_metrics[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("classes", [2, 3])
def test_with_an_ngram_branch_the_saved_model_scores_as_the_evaluation_did(classes):
    corpus, config = corpus_of(classes), config_of(ngrams=2, epochs=1, learning_rate=0.001)
    branch = fit_ngrams(corpus, config)
    trainer = Trainer(config, corpus, ngrams=branch)
    (evaluation,) = trainer.evaluations()
    metrics = evaluation.metrics
    # The RNN has learned nothing yet, and the blend leaves it out.
    assert metrics["valid/recurrent_accuracy"] < 0.8 < 0.95 < metrics["valid/ngrams_accuracy"]
    assert metrics["valid/accuracy"] > 0.95
    counts = trainer.parameter_counts()
    assert counts["parameters/ngrams"] == branch.model.weights.size + branch.model.bias.size
    assert counts["parameters/total"] == sum(
        counts[f"parameters/{part}"] for part in ("embedding", "recurrent", "head", "ngrams")
    )
    valid = corpus.splits["valid"]
    texts = texts_of(trainer, valid)
    assert_scored_as_evaluated(trainer, texts, valid.labels)
    assert trainer.best.metadata["blend"][1] > 0
    parts = trainer.best.part_log_probabilities(texts)
    own = score(parts["n-grams"], valid.labels).accuracy
    assert own == pytest.approx(metrics["valid/ngrams_accuracy"])
    assert score(parts["RNN"], valid.labels).accuracy == pytest.approx(
        metrics["valid/recurrent_accuracy"]
    )
    heaviest = trainer.best.heaviest_ngrams(2)
    assert list(heaviest) == list(corpus.label_names)
    assert {"good", "fine"} & set(dict(heaviest["pos"]))
    assert {"bad", "poor"} & set(dict(heaviest["neg"]))
    assert all(weight > 0 for found in heaviest.values() for _, weight in found)


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_for_macro_f1_the_saved_model_finds_more_of_a_rare_class(loss):
    corpus = corpus_of()
    for name, split in corpus.splits.items():
        # One word in six is of the other class, and of one class most texts are left out.
        random = np.random.default_rng(len(name))
        tokens = split.tokens.copy()
        wrong = random.random(len(tokens)) < 1 / 6
        tokens[wrong] = random.choice([2, 3, 5, 6], size=wrong.sum())
        corpus.splits[name] = with_rare(replace(split, tokens=tokens))
    settings = {"ngrams": 1, "epochs": 1, "learning_rate": 0.001, "loss": loss}
    trainers = {}
    for objective in ("valid/accuracy", "valid/f1"):
        config = config_of(**settings, objective=objective)
        trainers[objective] = Trainer(config, corpus, ngrams=fit_ngrams(corpus, config))
        list(trainers[objective].evaluations())
    of_accuracy, of_f1 = trainers.values()
    assert of_accuracy.best.metadata["blend"][2] == 0 < of_f1.best.metadata["blend"][2]
    assert of_f1.best_metrics["valid/f1"] > of_accuracy.best_metrics["valid/f1"]
    valid = corpus.splits["valid"]
    assert_scored_as_evaluated(of_f1, texts_of(of_f1, valid), valid.labels)


def with_rare(split):
    """Return a split of which every seventh text of the second class is left alone."""
    second = np.cumsum(split.labels == 1)
    kept = np.flatnonzero((split.labels == 0) | (second % 7 == 0))
    parts = [split.tokens[split.offsets[row] : split.offsets[row + 1]] for row in kept]
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    return EncodedSplit(np.concatenate(parts), offsets, split.labels[kept])


def test_a_branch_and_the_settings_must_fit():
    with pytest.raises(ValueError, match="ngrams=2 does not fit"):
        Trainer(config_of(ngrams=2), corpus_of())


def test_the_best_checkpoint_is_the_rnns_best():
    corpus, config = corpus_of(), config_of(ngrams=1, evaluations_per_epoch=3, epochs=3)
    trainer = Trainer(config, corpus, ngrams=fit_ngrams(corpus, config))
    metrics = {e.examples: e.metrics for e in trainer.evaluations()}
    best = max(metrics.values(), key=lambda each: each["valid/recurrent_accuracy"])
    assert trainer.best_metrics["valid/recurrent_accuracy"] == best["valid/recurrent_accuracy"]
    assert metrics[trainer.best_examples] == best


def test_without_a_validation_split_the_last_weights_are_kept():
    corpus = corpus_of()
    corpus = replace(corpus, splits={"train": corpus.splits["train"]})
    trainer = Trainer(config_of(), corpus)
    evaluations = list(trainer.evaluations())
    assert all(each.improved and each.confusion is None for each in evaluations)
    assert not any(name.startswith("valid/") for name in evaluations[-1].metrics)
    assert trainer.best_examples == trainer.examples
    assert trainer.best_metrics["train/accuracy"] > 0.9
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(trainer.best.weights[name], value), name
