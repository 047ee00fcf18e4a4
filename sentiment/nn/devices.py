"""Where a model is trained, and in which precision."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

import torch

from sentiment.config import Precision
from sentiment.errors import InputError
from sentiment.nn.matmul import bfloat16_speedup
from sentiment.nn.packed_rnn import GATES, has_bfloat16_lstm
from sentiment.nn.rnn_choice import compiled_for
from sentiment.wording import counted

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Larger tensors are few; kept as well, they would leave holes that nothing fits.
_LARGEST_KEPT_BYTES, _KEPT_BYTES = 2**27, 2**28

SMALLEST_REDUCED = 16_000
"""Elements of a recurrent matrix below which bfloat16 gains nothing in the loops of `rnn_cpu`:
a product's fixed cost and the conversions outweigh it (docs/benchmarks.md)."""
FAST_SPEEDUP = 1.2
"""Speed of products in bfloat16 over those in float32 from which on a CPU counts as fast in it."""

RELEASE_STEPS = 25
"""Steps of a training between two calls of `release_memory`: batches differ in length, so the holes
in kept memory grow with every step."""


def configure_threads(threads: int = 1) -> None:
    """Set up the process and the calling thread for work on the CPU.

    Gradients through long sequences decay into denormal numbers, which the CPU computes many
    times more slowly; the flag that flushes them to zero belongs to a thread.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_memory()


@cache
def keep_memory() -> None:
    """Let glibc keep freed memory for the next step.

    By default it maps each tensor of a step anew and gives it back when it is freed, and the page
    faults of that cost up to half of the time of a recurrent layer. Elsewhere than on glibc
    nothing changes.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def release_memory() -> None:
    """Give back what is free between tensors in use, where `keep_memory` left it."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; `auto` is the first GPU, else the CPU.

    Raises:
        InputError: a GPU is asked for that isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: give auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        visible = counted(found, "GPU is", "GPUs are")
        raise InputError(f"--device {name}: {visible} visible here; use --device cpu")
    return device


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether matrix products in bfloat16 are faster than in float32 on the device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu = torch.cpu.get_capabilities()
    there = bool(cpu.get("amx_bf16") or cpu.get("avx512_bf16"))
    return there and bfloat16_speedup() >= FAST_SPEEDUP


def pick_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the precision for a device's matrix products; `auto` is the faster there."""
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def recurrent_precision(
    precision: Precision, device: torch.device, cell: str, hidden: int
) -> torch.dtype:
    """Return the precision of the recurrent layers; `auto` is the faster for their size.

    An LSTM stays in float32 on a CPU that has none in bfloat16, whatever is set.

    Args:
        precision: as set.
        device: where the model is trained.
        cell: rnn, gru or lstm.
        hidden: its units.
    """
    picked = pick_precision(precision, device)
    if device.type != "cpu" or picked == torch.float32:
        return picked
    stays = precision == "auto" and _is_faster_in_float32(cell, hidden)
    lacks = cell == "lstm" and not has_bfloat16_lstm()
    return torch.float32 if stays or lacks else picked


def _is_faster_in_float32(cell: str, hidden: int) -> bool:
    """Return whether recurrent layers are fastest in float32 though the CPU is fast in bfloat16."""
    if compiled_for(cell, hidden, torch.bfloat16) is not None:
        return False
    small = cell != "lstm" and GATES[cell] * hidden * hidden < SMALLEST_REDUCED
    return small or compiled_for(cell, hidden, torch.float32) is not None
