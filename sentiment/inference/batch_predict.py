"""Logits and log probabilities of many texts, in large batches without gradients."""

from __future__ import annotations

import numpy as np
import torch

from sentiment.data.batching import TextDataset
from sentiment.nn.classifier import Classifier

BATCH_TOKENS = 16_384
"""Tokens of a batch: large enough for the kernels, small enough for the caches of a CPU."""


@torch.inference_mode()
def predict_logits(model: Classifier, texts: TextDataset, tokens: int = BATCH_TOKENS) -> np.ndarray:
    """Return the RNN's float32 logits of all texts, (n, 1) or (n, C), in their own order."""
    model.eval()
    result = np.empty((texts.size, model.head.out_features), dtype=np.float32)
    plan = list(texts.in_order_of_length(tokens))
    for index, batch in texts.batches(plan):
        result[index] = model(batch).float().cpu().numpy()
    return result


@torch.inference_mode()
def to_log_probabilities(model: Classifier, logits: np.ndarray) -> np.ndarray:
    """Return float32 log probabilities (n, C) of logits as `predict_logits` gives them."""
    return model.log_probabilities(torch.from_numpy(logits)).numpy()
