"""Weights in 8 bits: what a quantized saved model holds in place of its large float32 tensors.

A tensor is cut into tiles; each has one float32 scale, its greatest absolute value divided by 127,
and each weight becomes the nearest multiple of it, an int8. The embedding has a tile a row: word
vectors differ in length. The weights of n-grams have a tile for each 64 of a class: one scale for
all would lose the many small weights beside the few large ones (docs/decisions/0030-export.md).
Recurrent layers and head are small, and stay as they are.

The keys of the n-grams increase, so int32 differences hold them, without loss.

Shapes: R rows and S columns of a tensor, r rows and s columns of a tile.
"""

from __future__ import annotations

import numpy as np
import torch

from sentiment.ngrams.model import PREFIX

NGRAMS_A_TILE = 64
SCALE = ".scale"
"""End of the name of a tensor's scales."""
STEPS = ".steps"
"""End of the name of the differences that stand for n-gram keys."""
QUANTIZED = ("embedding.weight", f"{PREFIX}weight")
"""The tensors that are quantized, where a model has them."""
_KEYS = f"{PREFIX}keys."
_MOST = 127


def quantize(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a model's tensors with its large ones quantized; see `dequantize`."""
    result: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        if name in QUANTIZED:
            numbers, scales = _quantized(value.numpy(), *_tile(name, value))
            result[name] = torch.from_numpy(numbers)
            result[name + SCALE] = torch.from_numpy(scales)
        elif name.startswith(_KEYS):
            steps = np.diff(value.numpy(), prepend=0)
            fits = not len(steps) or steps.max() <= np.iinfo(np.int32).max
            key = name + STEPS if fits else name
            result[key] = torch.from_numpy(steps.astype(np.int32)) if fits else value
        else:
            result[name] = value
    return result


def dequantize(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors that `quantize` was given, the quantized ones near what they were.

    Those are float32 again, so they take as much memory as before.

    Raises:
        ValueError: a tensor and its scales don't fit each other.
    """
    result: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        if name.endswith(STEPS):
            if value.dtype != torch.int32 or value.dim() != 1:
                raise ValueError(f"{name} is not a list of 32-bit numbers")
            result[name.removesuffix(STEPS)] = value.cumsum(0)
        elif name in QUANTIZED:
            result[name] = _dequantized(name, value, weights.get(name + SCALE))
        elif name.removesuffix(SCALE) not in QUANTIZED:
            result[name] = value
    return result


def rows_a_tile(name: str) -> int:
    """Return r of a quantized tensor."""
    return NGRAMS_A_TILE if name.startswith(PREFIX) else 1


def _tile(name: str, value: torch.Tensor) -> tuple[int, int]:
    return rows_a_tile(name), 1 if name.startswith(PREFIX) else value.shape[1]


def _quantized(values: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 (R, S) and the float32 scales (ceil(R / r), S / s) of float32 (R, S)."""
    tiles = _tiles(values, rows, columns)
    scales = np.abs(tiles).max(axis=(1, 3), initial=0) / np.float32(_MOST)
    spread = np.where(scales == 0, np.float32(1), scales)[:, None, :, None]
    numbers = np.rint(tiles / spread).astype(np.int8)
    return numbers.reshape(-1, values.shape[1])[: len(values)], scales


def _dequantized(name: str, value: torch.Tensor, scales: torch.Tensor | None) -> torch.Tensor:
    if value.dtype != torch.int8 or value.dim() != 2 or not value.shape[1] or scales is None:
        raise ValueError(f"{name} is not a matrix in int8 with scales")
    rows, columns = _tile(name, value)
    shape = (-(-len(value) // rows), value.shape[1] // columns)
    if scales.dtype != torch.float32 or tuple(scales.shape) != shape:
        raise ValueError(f"{name}{SCALE} is not of shape {shape} in float32")
    tiles = _tiles(value.numpy(), rows, columns) * scales.numpy()[:, None, :, None]
    return torch.from_numpy(tiles.reshape(-1, value.shape[1])[: len(value)])


def _tiles(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return (R, S), with rows of zeros up to a whole tile, as (ceil(R / r), r, S / s, s)."""
    padded = np.pad(values, ((0, -len(values) % rows), (0, 0)))
    return padded.reshape(-1, rows, values.shape[1] // columns, columns)
