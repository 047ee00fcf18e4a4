"""The training of one language model: a loop that can be killed and resumed to the bit.

Shapes: V words of the vocabulary with the special ones, E embedding size.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from sentiment.data.batching import Batch, TextDataset
from sentiment.data.vocabulary import SPECIALS
from sentiment.errors import TrainingError
from sentiment.nn.devices import RELEASE_STEPS, release_memory
from sentiment.nn.eager_optimizer import eager
from sentiment.nn.training_state import (
    flatten_optimizer,
    random_state,
    restore_optimizer,
    restore_random,
)
from sentiment.pretraining.language_model import LanguageModel
from sentiment.pretraining.partial import PartialPretraining, Progress
from sentiment.pretraining.sampled_softmax import sampled_cross_entropy

LEARNING_RATE = 2e-3
"""Peak of Adam's learning rate; it falls by half a cosine after a short rise."""
WARM_UP_STEPS, LEAST_RATE = 200, 0.01
SAMPLE = 1_024
"""Words of the softmax's sample; a vocabulary that is not much larger is taken as a whole."""
SAMPLE_POWER = 0.75
"""Power of the words' frequencies that the sample is drawn by (Mikolov et al., 2013)."""
TOKENS_A_STEP, STEPS_AN_EPOCH, FEWEST_TEXTS = 10_000, 200, 16
"""A step has that many tokens, or fewer texts where the epoch would have fewer steps than that."""
EVALUATIONS_AN_EPOCH = 4
EVALUATED_TOKENS = 50_000
"""Tokens of validation that the perplexity is measured on, under the whole softmax."""
SAVE_SECONDS, REPORT_SECONDS = 60.0, 2.0
_ROWS = 1_024


@dataclass
class _State:
    """What changes from step to step beside the tensors."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)


class LanguageModelTraining:
    """Trains a language model; `run` goes to the end, from where a killed one has stopped."""

    def __init__(
        self,
        model: LanguageModel,
        texts: TextDataset,
        valid: TextDataset | None,
        counts: np.ndarray,
        *,
        epochs: float,
        seed: int,
        partial: PartialPretraining,
    ) -> None:
        """Prepare it.

        Args:
            model: on its device.
            texts: what is learnt from.
            valid: what the perplexity is measured on.
            counts: (V,) how often each word stands in the texts.
            epochs: passes over the texts.
            seed: of the order of texts and of all that is drawn.
            partial: where the state is kept.
        """
        self.model = model
        self._texts, self._valid = texts, valid
        self._device = model.bias.device
        self._dtype = model.recurrent.compute_dtype or torch.float32
        self._seed, self._partial = seed, partial
        self._batch_size = batch_size(texts)
        self._steps_an_epoch = math.ceil(texts.size / self._batch_size)
        self.steps = math.ceil(epochs * self._steps_an_epoch)
        self._optimizer = eager(torch.optim.Adam)(model.parameters(), LEARNING_RATE, fused=True)
        self._chances = torch.from_numpy(counts.astype(np.float64) ** SAMPLE_POWER)
        self._chances[: len(SPECIALS)] = 0
        self._state = _State()

    def run(self) -> list[dict[str, float]]:
        """Train to the end.

        Returns:
            The evaluations: step, epoch, tokens seen, mean loss of the sampled softmax since the
            one before, seconds, and perplexity where there is a validation split.

        Raises:
            TrainingError: the loss is not finite.
        """
        torch.manual_seed(self._seed)
        self._resume()
        state = self._state
        saved = reported = began = time.perf_counter()
        first = state.step
        while state.step < self.steps:
            epoch, done = divmod(state.step, self._steps_an_epoch)
            plan = self._texts.epoch(self._batch_size, self._seed, epoch)
            plan = plan[done : done + self.steps - state.step]
            for _, batch in self._texts.batches(plan):
                started = time.perf_counter()
                state.losses.append(self.train_step(batch))
                state.tokens += batch.layout.rows
                state.step += 1
                if self._evaluation_due():
                    self._evaluate()
                now = time.perf_counter()
                state.seconds += now - started
                if now - reported > REPORT_SECONDS:
                    self._report((now - began) / (state.step - first))
                    reported = now
                if now - saved > SAVE_SECONDS:
                    self._save()
                    saved = time.perf_counter()
        return state.history

    def first_batches(self, count: int) -> list[Batch]:
        """Return the batches that the first steps read."""
        plan = self._texts.epoch(self._batch_size, self._seed, 0)[:count]
        return [batch for _, batch in self._texts.batches(plan)]

    def train_step(self, batch: Batch) -> float:
        """Train on a batch, and return the loss, in nats a word; the caller counts the steps.

        Raises:
            TrainingError: the loss is not finite.
        """
        model = self.model.train()
        predictions, targets = model(batch)
        if not len(targets):  # texts of one word each
            return 0.0
        sample, log_expected = self._draw()
        loss = sampled_cross_entropy(
            predictions,
            targets,
            model.embedding.weight,
            model.bias,
            sample,
            log_expected,
            self._dtype,
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        self._optimizer.param_groups[0]["lr"] = LEARNING_RATE * self._course(self._state.step)
        self._optimizer.step()
        if (self._state.step + 1) % RELEASE_STEPS == 0:
            release_memory()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"pretraining: the loss is not finite at step {self._state.step:,}: "
                "set precision=float32"
            )
        return value

    def _course(self, step: int) -> float:
        """Return the share of the peak learning rate at a step."""
        rising = min(1.0, (step + 1) / min(WARM_UP_STEPS, 1 + self.steps // 10))
        falling = (1 + math.cos(math.pi * step / self.steps)) / 2
        return rising * max(LEAST_RATE, falling)

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a sample of words and the log of each word's expected number in such."""
        words = len(self._chances) - len(SPECIALS)
        if words <= 2 * SAMPLE:
            every = torch.arange(len(SPECIALS), len(self._chances), device=self._device)
            return every, torch.zeros(len(self._chances), device=self._device)
        drawn = torch.multinomial(self._chances, min(SAMPLE, int((self._chances > 0).sum())))
        expected = self._chances * (len(drawn) / self._chances.sum())
        log_expected = expected.clamp(1e-30, 1.0).log().float()
        return drawn.to(self._device), log_expected.to(self._device)

    def _evaluation_due(self) -> bool:
        step, interval = self._state.step, self._steps_an_epoch / EVALUATIONS_AN_EPOCH
        return step == self.steps or int(step / interval) > int((step - 1) / interval)

    def _evaluate(self) -> None:
        state = self._state
        evaluation = {
            "step": state.step,
            "epoch": state.step / self._steps_an_epoch,
            "tokens": state.tokens,
            "loss": float(np.mean(state.losses)),
            "seconds": state.seconds,
        }
        if self._valid is not None:
            evaluation["perplexity"] = perplexity(self.model, self._valid)
        state.losses = []
        state.history.append(evaluation)

    def _report(self, seconds_a_step: float) -> None:
        state = self._state
        loss = float(np.mean(state.losses[-50:])) if state.losses else state.history[-1]["loss"]
        self._partial.report(Progress(state.step, self.steps, seconds_a_step, loss))

    def _save(self) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        _, of_optimizer = flatten_optimizer(self._optimizer)
        tensors |= of_optimizer | random_state(self._device)
        self._partial.save(self._state.step, vars(self._state), tensors)

    def _resume(self) -> None:
        found = self._partial.load()
        if found is None:
            return
        state, tensors = found
        self._state = _State(**state)
        self.model.load_state_dict(
            {name: tensors[f"model.{name}"] for name in self.model.state_dict()}
        )
        # All of Adam's state is tensors, and the learning rate is set anew at each step.
        plain, _ = flatten_optimizer(self._optimizer)
        restore_optimizer(self._optimizer, plain, tensors)
        restore_random(tensors, self._device)


def batch_size(texts: TextDataset) -> int:
    """Return the texts of a step."""
    most = TOKENS_A_STEP / float(texts.lengths.mean())
    return max(FEWEST_TEXTS, int(min(most, texts.size / STEPS_AN_EPOCH)))


@torch.no_grad()
def perplexity(model: LanguageModel, texts: TextDataset, tokens: int = EVALUATED_TOKENS) -> float:
    """Return the perplexity under the whole softmax on evenly chosen texts of about so many tokens.

    Words outside the vocabulary and the first of a text, which are not predicted, do not count.
    """
    model.eval()
    every = max(1, int(texts.lengths.sum()) // tokens)
    plan = [index[::every] for index in texts.in_order_of_length(20_000 * every, 64 * every)]
    words, dtype = model.embedding.weight, model.recurrent.compute_dtype or torch.float32
    table = words.to(dtype).T
    total, count = 0.0, 0
    for _, batch in texts.batches(plan):
        predictions, targets = model(batch)
        for rows, own in zip(predictions.split(_ROWS), targets.split(_ROWS), strict=True):
            logits = (rows.to(dtype) @ table).float() + model.bias
            logits[:, : len(SPECIALS)] = -torch.inf
            total += float(functional.cross_entropy(logits, own, reduction="sum"))
            count += len(own)
    return math.exp(min(total / max(count, 1), 700.0))
