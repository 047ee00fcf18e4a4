"""Matrix products on the CPU: whatever kernel is chosen, nothing is rounded below its precision."""

import pytest
import torch

from sentiment.nn.matmul import (
    SMALL_OPERATIONS,
    StepProducts,
    affine,
    padded_rows,
    product,
)

SHAPES = [(3, 5, 7), (64, 128, 384), (2_000, 100, 96)]


@pytest.mark.parametrize("shape", SHAPES)
def test_products_in_float32_are_exact_to_its_precision(shape):
    torch.manual_seed(0)
    rows, inner, columns = shape
    left, right, bias = torch.randn(rows, inner), torch.randn(inner, columns), torch.randn(columns)
    exact = left.double() @ right.double()
    scale = exact.abs().max()
    assert (product(left, right).double() - exact).abs().max() < 1e-6 * scale
    out = torch.empty(rows, 2, columns)
    affine(left, right, bias, out=out[:, 1])
    assert (out[:, 1].double() - exact - bias).abs().max() < 1e-6 * scale
    affine(left.bfloat16(), right.bfloat16(), bias, out=out[:, 0])
    assert 1e-4 * scale < (out[:, 0].double() - exact - bias).abs().max() < 2e-2 * scale


@pytest.mark.parametrize("amx", [True, False])
def test_rows_of_products_in_bfloat16_take_few_numbers_with_amx(monkeypatch, amx):
    monkeypatch.setattr("sentiment.nn.matmul._compiles_shapes", lambda: amx)
    numbers = range(1, 20_001)
    padded = [padded_rows(number, torch.bfloat16) for number in numbers]
    if not amx:
        assert padded == list(numbers)
        return
    assert all(
        number <= more < 1.25 * number + 32 for number, more in zip(numbers, padded, strict=True)
    )
    assert padded[1_288] == 1_536
    assert len({more for more in padded if 1_024 < more <= 2_048}) == 4
    assert len(set(padded)) < 40
    assert [padded_rows(number, torch.float32) for number in numbers] == list(numbers)


def test_sizes_lie_on_both_sides_of_the_choice():
    work = [2 * rows * inner * columns for rows, inner, columns in SHAPES]
    assert min(work) < SMALL_OPERATIONS < max(work)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hidden", [8, 128])
def test_steps_of_both_directions(dtype, hidden):
    torch.manual_seed(0)
    matrices = [torch.randn(hidden, 3 * hidden) for _ in range(2)]
    rows = torch.randn(64, 2, hidden).to(dtype)
    expected = torch.stack([rows[:, d].float() @ matrices[d] for d in range(2)], dim=1)
    before = torch.backends.mkldnn.matmul.fp32_precision
    with StepProducts(matrices, dtype, rows=64) as products:
        result = products(rows[:40])
        target = torch.ones(40, 2, 3 * hidden)
        products.add_to(target, rows[:40])
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    tolerance = expected.abs().max() * (1e-5 if dtype == torch.float32 else 2e-2)
    assert (result - expected[:40]).abs().max() < tolerance
    assert (target - 1 - expected[:40]).abs().max() < tolerance
