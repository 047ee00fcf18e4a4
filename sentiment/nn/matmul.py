"""Matrix products on the CPU by the fastest kernel at hand, for recurrent layers.

torch takes MKL for products in float32. On CPUs of other makers MKL keeps to narrower vector
instructions than oneDNN, which comes with torch as well, and has half its speed. torch's only
switch to oneDNN for these products lets it round to bfloat16 too, which oneDNN does where the CPU
has AMX and nowhere else: so the switch is used only where one shows that nothing is rounded.
A call of oneDNN costs some 10 microseconds more, so small products stay with MKL.

Shapes: M rows, K columns of the operand, N columns of the result, D directions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SMALL_OPERATIONS = 4e6
"""Products of fewer floating point operations (2 M K N) stay with MKL."""

_SPEED_ROUNDS = 12


def product(rows: Tensor, matrix: Tensor, out: Tensor | None = None) -> Tensor:
    """Return rows (M, K) @ matrix (K, N), in `out` (M, N) if that is given.

    Args:
        rows: float32, or of the matrix's precision.
        matrix: the other factor.
        out: where to write.
    """
    with _kernel(_is_large(len(rows), matrix) and _by_onednn(matrix)):
        return torch.mm(rows, matrix, out=out)


def affine(rows: Tensor, matrix: Tensor, bias: Tensor, out: Tensor) -> None:
    """Write rows (M, K) @ matrix (K, N) + bias (N,) to `out` (M, N), in the bias's precision."""
    with _kernel(_is_large(len(rows), matrix) and _by_onednn(matrix)):
        if rows.dtype == bias.dtype:
            torch.addmm(bias, rows, matrix, out=out)
        else:
            torch.add(rows @ matrix, bias, out=out)


def precision_name(dtype: torch.dtype) -> str:
    """Return a precision's name as the settings have it."""
    return str(dtype).removeprefix("torch.")


def padded_rows(rows: int, dtype: torch.dtype) -> int:
    """Return how many rows a factor should have in place of so many; zeros behind change nothing.

    With AMX, oneDNN compiles a product for each shape anew, for 1 to 20 milliseconds, and nearly
    every batch has a number of rows of its own. Rounded up, there are four of them between a number
    and its double.
    """
    if dtype != torch.bfloat16 or not _compiles_shapes():
        return rows
    step = max(32, 2 ** (rows.bit_length() - 3))
    return -(-rows // step) * step


def filled_up(rows: Tensor, count: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return rows (M, K) in a precision, and zeros behind them up to a count of rows.

    Args:
        rows: what is to be a factor.
        count: rows of the result, see `padded_rows`.
        dtype: of the result; that of the rows if not given.
    """
    if count == len(rows):
        return rows.to(dtype or rows.dtype)
    result = rows.new_empty(count, rows.shape[1], dtype=dtype)
    zero_from(len(rows), result)
    result[: len(rows)] = rows
    return result


def zero_from(row: int, *factors: Tensor) -> None:
    """Set the rows of factors to zero from one on."""
    for factor in factors:
        factor[row:].zero_()


@cache
def bfloat16_speedup() -> float:
    """Return how many times as fast a product of a step is in bfloat16 as in float32, measured.

    What a CPU claims does not tell: with AVX512-BF16 but without AMX some take twice as long in
    bfloat16. Measuring takes some 10 milliseconds, once a process; of each side the fastest round
    counts, so that other work on the machine changes little.
    """
    rows, matrix = torch.ones(64, 256), torch.ones(256, 1024)
    reduced = rows.bfloat16(), matrix.bfloat16()
    best = [float("inf"), float("inf")]
    for _ in range(_SPEED_ROUNDS):
        for side, (left, right) in enumerate(((rows, matrix), reduced)):
            started = time.perf_counter()
            product(left, right)
            best[side] = min(best[side], time.perf_counter() - started)
    return best[0] / best[1]


class StepProducts:
    """The product of each step's rows with a matrix a direction, made within `with`."""

    def __init__(self, matrices: Sequence[Tensor], dtype: torch.dtype, rows: int) -> None:
        """Prepare the matrices.

        Args:
            matrices: D of them, (K, N).
            dtype: precision of the rows that will come; results are added in the matrices' own.
            rows: M, the most that a step has.
        """
        self._reduced = dtype != matrices[0].dtype
        self._matrices = [matrix.to(dtype).contiguous() for matrix in matrices]
        width = matrices[0].shape[1]
        self._result = self._matrices[0].new_empty(rows, len(matrices), width)
        matrix = self._matrices[0]
        self._switch = _kernel(_is_large(rows, matrix) and _by_onednn(matrix))

    def __enter__(self) -> StepProducts:
        """Choose the kernel for the steps to come."""
        self._switch.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave torch as it was."""
        self._switch.__exit__(None, None, None)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return rows (m, D, K) @ each direction's matrix, (m, D, N); overwritten next time."""
        result = self._result[: len(rows)]
        for d, matrix in enumerate(self._matrices):
            torch.mm(rows[:, d], matrix, out=result[:, d])
        return result

    def add_to(self, target: Tensor, rows: Tensor) -> None:
        """Add rows (m, D, K) @ each direction's matrix to the target (m, D, N)."""
        if self._reduced:
            target += self(rows)
            return
        for d, matrix in enumerate(self._matrices):
            target[:, d].addmm_(rows[:, d], matrix)


def _is_large(rows: int, matrix: Tensor) -> bool:
    return 2 * rows * matrix.numel() >= SMALL_OPERATIONS


def _by_onednn(matrix: Tensor) -> bool:
    return matrix.dtype == torch.float32 and _onednn_is_better()


@contextlib.contextmanager
def _kernel(onednn: bool) -> Iterator[None]:
    """Let oneDNN compute the products in float32, or leave them to torch's choice."""
    if not onednn:
        yield
        return
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


@cache
def _compiles_shapes() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


@cache
def _onednn_is_better() -> bool:
    """Return whether MKL is slow on this CPU, and oneDNN is there and rounds nothing."""
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkl.is_available():
        return False
    cpu = Path("/proc/cpuinfo")
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not cpu.exists():
        return False
    if "GenuineIntel" in cpu.read_text(errors="replace"):
        return False
    return _rounding() < 1e-6


def _rounding() -> float:
    """Return the largest error of a product by oneDNN, relative to the largest value."""
    left, right = torch.linspace(-1, 1, 2 * 256 * 256).view(2, 256, 256)
    expected = left.double() @ right.double()
    with _kernel(True):
        difference = (left @ right).double() - expected
    return float(difference.abs().max() / expected.abs().max())
