"""Training: a generator of evaluations. Saving, recording and stopping are the caller's."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sentiment.config import Config
from sentiment.data.batching import Batch, TextDataset
from sentiment.data.corpus import Corpus
from sentiment.data.identity import DATA, portable
from sentiment.data.vocabulary import Vocabulary, build_vocabulary
from sentiment.embeddings.sources import WordVectors, embedding_matrix
from sentiment.errors import InputError, TrainingError
from sentiment.inference.batch_predict import predict_logits, to_log_probabilities
from sentiment.inference.bundle import Bundle
from sentiment.inference.metrics import Scores, score
from sentiment.ngrams.blend import Blend
from sentiment.ngrams.fit import FittedNgrams, outputs
from sentiment.nn.classifier import Classifier
from sentiment.nn.devices import (
    RELEASE_STEPS,
    configure_threads,
    recurrent_precision,
    release_memory,
)
from sentiment.nn.matmul import precision_name
from sentiment.nn.training_state import (
    flatten_optimizer,
    random_state,
    restore_optimizer,
    restore_random,
)
from sentiment.objective import is_better
from sentiment.pretraining.pretrained import PretrainedLayers
from sentiment.training.adversarial import mean_norm, perturbation, tracked
from sentiment.training.batch_plan import BatchPlan
from sentiment.training.evaluation import (
    Evaluation,
    RunningScores,
    TrainerState,
    ValidationScores,
    hits,
    score_validation,
)
from sentiment.training.logit_adjustment import log_frequencies
from sentiment.training.optim import make_optimizer, make_schedule
from sentiment.training.unlabelled import UnlabelledLoss

BLEND, STRENGTH, PRIOR = "blend", "ngram_strength", "ngram_prior"
"""A bundle's metadata: how its parts are added up, and the regularization of its branch."""

FINITE_CHECK_STEPS = 50
"""On a GPU each look at the loss waits for the device, so it is looked at every so many steps."""


class Trainer:
    """Trains one model, once: go through its `evaluations`.

    The best checkpoint is that of the RNN's best value of the objective on validation: an n-gram
    branch is the same at every evaluation, and so strong that beside it the RNN's progress is lost
    in the noise of the blend. Without a validation split the latest weights are the best.
    """

    def __init__(
        self,
        config: Config,
        corpus: Corpus,
        vectors: WordVectors | None = None,
        device: torch.device | str = "cpu",
        threads: int = 1,
        ngrams: FittedNgrams | None = None,
        pretrained: PretrainedLayers | None = None,
    ) -> None:
        """Make the model, the optimizer and the plan of batches.

        Args:
            config: all settings.
            corpus: the encoded splits; train is read, and valid if it is there.
            vectors: of the corpus's words, where the embedding has a source.
            device: where to train.
            threads: CPU threads.
            ngrams: the n-gram branch, where the settings ask for one.
            pretrained: the layers that training starts from, where the settings ask for them.

        Raises:
            InputError: the settings don't fit the data.
            ValueError: the settings ask for an n-gram branch or pretrained layers and there are
                none, or reversed.
        """
        if (config.training.pretraining != "none") != (pretrained is not None):
            raise ValueError(
                f"pretraining={config.training.pretraining} does not fit what is given"
            )
        if bool(config.model.ngrams) != (ngrams is not None):
            raise ValueError(f"ngrams={config.model.ngrams} does not fit the branch {ngrams}")
        self.config = config
        self.corpus = corpus
        self.ngrams = ngrams
        self.device = torch.device(device)
        configure_threads(threads)
        self.dtype = recurrent_precision(
            config.training.precision, self.device, config.model.cell, config.model.hidden_dim
        )
        training = config.training
        torch.manual_seed(training.seed)
        classes = len(corpus.label_names)
        if config.model.loss == "bce" and classes != 2:
            raise InputError(f"loss=bce is for two classes, {corpus.dataset} has {classes}")
        text = config.text
        self.vocabulary: Vocabulary = build_vocabulary(
            corpus.words, corpus.counts, text.vocabulary_size, text.min_count
        )
        known = self.vocabulary.size
        dim = config.model.embedding_dim if vectors is None else vectors.dim
        matrix = embedding_matrix(
            vectors, known, dim, config.model.init_std, torch.default_generator
        )
        self.model = Classifier(config.model, len(self.vocabulary), dim, classes, matrix)
        if pretrained is not None:
            self.model.load_state_dict(pretrained.tensors(), strict=False)
        norm = mean_norm(self.model.embedding.weight)
        self._perturbation = training.adversarial_epsilon * norm
        self.model.to(self.device)
        if self.dtype != torch.float32:
            self.model.recurrent.compute_dtype = self.dtype
        self.train_texts = TextDataset(corpus.splits["train"], text, known, self.device)
        valid = corpus.splits.get("valid")
        self.valid_texts = None if valid is None else TextDataset(valid, text, known, self.device)
        self._valid_labels = None if valid is None else np.asarray(valid.labels)
        self._class_weights = self._weights(classes)
        self._log_frequencies = log_frequencies(
            corpus.splits["train"].labels, classes, outputs(config, classes)
        )
        self._unlabelled: UnlabelledLoss | None = None
        if UnlabelledLoss.is_asked_for(training):
            self._unlabelled = UnlabelledLoss(config, corpus, known, self.device, norm)
        self.plan = BatchPlan(config, self.train_texts, self.device)
        self.optimizer = make_optimizer(self.model.parameters(), training)
        self.schedule = make_schedule(self.optimizer, training, self.plan.steps)
        self.examples = 0
        self.step = 0
        self.best_metrics: dict[str, float] = {}
        self.best_examples = 0
        self._best_value: float | None = None
        self._blend: Blend | None = None
        self._best_weights: dict[str, torch.Tensor] = {}

    def evaluations(self) -> Generator[Evaluation, None, None]:
        """Train, and yield an evaluation at each of them; the last one has `finished` set.

        Of a trainer that was restored only those are yielded that come after its checkpoint.

        Raises:
            TrainingError: the loss is not finite; the message names the step.
        """
        evaluations = self.plan.evaluations_due(self.examples)
        running = RunningScores(self.device)
        for index, parts in self.plan.batches(self.step):
            self._train_step(index, parts, running)
            finished = self.step == self.plan.steps
            due = self.plan.evaluations_due(self.examples)
            if finished or due > evaluations:
                evaluations = due
                yield self._evaluation(running, finished)
                running = RunningScores(self.device)

    @property
    def best(self) -> Bundle:
        """The best checkpoint so far by the objective, as a saved model."""
        return Bundle(
            config=self.config,
            vocabulary=self.vocabulary,
            label_names=self.corpus.label_names,
            weights=self._best_weights,
            metadata={
                **({} if self.corpus.data is None else {DATA: portable(self.corpus.data)}),
                "dataset": self.corpus.dataset,
                "dataset_fingerprint": self.corpus.dataset_fingerprint,
                "precision": self.precision,
                "examples": self.best_examples,
                "metrics": self.best_metrics,
                **self._branch_metadata(),
            },
        )

    def _branch_metadata(self) -> dict[str, Any]:
        if self.ngrams is None or self._blend is None:
            return {}
        strength, prior = self.ngrams.regularization
        return {BLEND: list(self._blend), STRENGTH: strength, PRIOR: prior}

    @property
    def precision(self) -> str:
        """Precision of the recurrent layers as it was chosen."""
        return precision_name(self.dtype)

    def parameter_counts(self) -> dict[str, int]:
        """Count the model's parameters under their names in the record."""
        counts = self.model.parameter_counts()
        if self.ngrams is not None:
            branch = self.ngrams.model.weights.size + self.ngrams.model.bias.size
            counts |= {"total": counts["total"] + branch, "ngrams": branch}
        return {f"parameters/{part}": n for part, n in counts.items()}

    def evaluate(self, texts: TextDataset, labels: np.ndarray) -> Scores:
        """Score the RNN's present weights on texts, in the precision of training."""
        return score(to_log_probabilities(self.model, predict_logits(self.model, texts)), labels)

    @property
    def state(self) -> TrainerState:
        """All that changes in training, as it is between two evaluations."""
        plain, tensors = flatten_optimizer(self.optimizer)
        tensors |= {f"model.{name}": value for name, value in self._trained_weights().items()}
        tensors |= random_state(self.device)
        progress = {
            "step": self.step,
            "examples": self.examples,
            "best_metrics": self.best_metrics,
            "best_examples": self.best_examples,
            "best_value": self._best_value,
            "blend": None if self._blend is None else list(self._blend),
            "optimizer": plain,
            "schedule": self.schedule.state_dict(),
        }
        return TrainerState(progress, tensors)

    def restore(self, state: TrainerState, best_weights: dict[str, torch.Tensor]) -> None:
        """Resume from the state of a trainer of the same settings and data, before any training.

        What follows is what would have followed there, to the bit on the same kind of device.

        Args:
            state: of the other trainer.
            best_weights: of its best checkpoint, as in `best`.

        Raises:
            KeyError, ValueError, RuntimeError: the state is of other settings.
        """
        progress, tensors = state.progress, state.tensors
        weights = {name: tensors[f"model.{name}"] for name in self._trained_weights()}
        # Frozen ones follow from the seed, which may differ: see `checkpoint.adopt_checkpoint`.
        weights |= {name: best_weights[name] for name in self._frozen}
        self.model.load_state_dict(weights, strict=False)
        restore_optimizer(self.optimizer, progress["optimizer"], tensors)
        self.schedule.load_state_dict(progress["schedule"])
        self.step = progress["step"]
        self.examples = progress["examples"]
        self.best_metrics = progress["best_metrics"]
        self.best_examples = progress["best_examples"]
        # A checkpoint of an earlier version had no branch, so the model's value was the RNN's.
        known = self.best_metrics.get(self.config.training.objective)
        self._best_value = progress.get("best_value", known)
        blend = progress.get("blend")
        self._blend = None if blend is None else Blend(*blend)
        self._best_weights = best_weights
        restore_random(tensors, self.device)

    def _trained_weights(self) -> dict[str, torch.Tensor]:
        """Return the model's weights but for frozen ones, which are as they were made."""
        every, frozen = self.model.state_dict(), self._frozen
        return {name: value for name, value in every.items() if name not in frozen}

    @property
    def _frozen(self) -> set[str]:
        return {name for name, one in self.model.named_parameters() if not one.requires_grad}

    def _train_step(self, index: np.ndarray, parts: list[Batch], running: RunningScores) -> None:
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = self._class_weights[torch.cat([part.labels for part in parts])].sum()
        for part in parts:
            embedded, read = self.model.embed(part)
            if self._perturbation:
                embedded = tracked(embedded)
            logits = self.model.classify(embedded, read, part.layout)
            loss = self._loss(logits, part.labels)
            (loss / total).backward()
            if self._perturbation:
                assert embedded.grad is not None
                moved = perturbation(embedded.grad, read, self._perturbation)
                moved = moved + self.model.embed(part)[0]
                again = self.model.classify(moved, read, part.layout)
                (self._loss(again, part.labels) / total).backward()
            with torch.no_grad():
                running.loss += loss
                running.hits += hits(logits, part.labels)
        running.weight += total
        if self._unlabelled is not None:
            self._unlabelled.backward(self.model, self.step)
        clip = self.config.training.gradient_clip
        if clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip, foreach=True)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self.examples += len(index)
        running.count += len(index)
        running.tokens += int(self.train_texts.lengths[index].sum())
        if self.device.type == "cpu" or self.step % FINITE_CHECK_STEPS == 0:
            self._check_finite(running)
        if self.step % RELEASE_STEPS == 0:
            release_memory()

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of the texts' losses."""
        weights = self._class_weights[labels]
        if self.model.binary:
            losses = functional.binary_cross_entropy_with_logits(
                logits.squeeze(1), labels.float(), reduction="none"
            )
        else:
            losses = functional.cross_entropy(logits, labels, reduction="none")
        return (losses * weights).sum()

    def _weights(self, classes: int) -> torch.Tensor:
        """Return each class's weight; balanced weights are n / (C * texts of the class)."""
        if self.config.training.class_weights == "none":
            return torch.ones(classes, device=self.device)
        counts = np.bincount(self.corpus.splits["train"].labels, minlength=classes)
        weights = counts.sum() / (classes * np.maximum(counts, 1))
        return torch.as_tensor(weights, dtype=torch.float32, device=self.device)

    def _check_finite(self, running: RunningScores) -> None:
        if not math.isfinite(float(running.loss)):
            raise TrainingError(
                f"the loss is not finite at step {self.step} ({self.examples:,} examples): "
                "lower learning_rate, or set gradient_clip"
            )

    def _evaluation(self, running: RunningScores, finished: bool) -> Evaluation:
        self._check_finite(running)  # Waits for the device, so that its time counts here.
        seconds = time.perf_counter() - running.started
        trained = {
            "train/loss": float(running.loss / running.weight),
            "train/accuracy": float(running.hits) / running.count,
        }
        scored = self._score_validation()
        if scored is None:
            improved, reached = True, trained
            self._blend = self.ngrams.blend if self.ngrams else None
        else:
            objective, reached = self.config.training.objective, scored.metrics
            improved = self._best_value is None or is_better(
                objective, scored.value, self._best_value
            )
            if improved:
                self._best_value, self._blend = scored.value, scored.blend
        if improved:
            self.best_metrics = reached
            self.best_examples = self.examples
            self._best_weights = self._weights_to_save()
        metrics = {
            **trained,
            **reached,
            "epoch": self.examples / self.train_texts.size,
            "learning_rate": float(self.schedule.get_last_lr()[0]),
            "tokens_per_second": running.tokens / seconds,
        }
        confusion = None if scored is None else scored.confusion
        return Evaluation(self.examples, metrics, improved, finished, confusion)

    def _score_validation(self) -> ValidationScores | None:
        if self.valid_texts is None or self._valid_labels is None:
            return None
        branch = None
        if self.ngrams is not None and self.ngrams.valid_logits is not None:
            branch = self.ngrams.valid_logits, self._log_frequencies
        objective = self.config.training.objective
        try:
            return score_validation(
                self.model, self.valid_texts, self._valid_labels, objective, branch
            )
        except TrainingError as error:
            raise TrainingError(f"{error} after step {self.step}") from None

    def _weights_to_save(self) -> dict[str, torch.Tensor]:
        """Return a copy of the weights on the CPU, the blend multiplied into both heads."""
        weights = {
            name: value.detach().to("cpu", copy=True)
            for name, value in self.model.state_dict().items()
        }
        if self.ngrams is None or self._blend is None:
            return weights
        weights["head.weight"] *= self._blend.recurrent
        weights["head.bias"] *= self._blend.recurrent
        weights["head.bias"] -= self._blend.frequencies * torch.from_numpy(self._log_frequencies)
        return weights | self.ngrams.model.scaled(self._blend.ngrams).tensors()
