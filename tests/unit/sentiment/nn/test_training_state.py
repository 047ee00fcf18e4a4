"""The state of a training as tensors: what is restored is what was, to the bit."""

import pytest
import torch

from sentiment.nn.eager_optimizer import eager
from sentiment.nn.training_state import (
    flatten_optimizer,
    random_state,
    restore_optimizer,
    restore_random,
)

CPU = torch.device("cpu")


def adam_of(*weights):
    return eager(torch.optim.Adam)(weights, 0.1, betas=(0.8, 0.9), fused=True)


def stepped(optimizer, *weights):
    for weight in weights:
        weight.grad = torch.linspace(-1, 1, weight.numel())
    optimizer.step()
    return optimizer


def test_a_fresh_optimizer_with_the_tensors_alone_goes_on_to_the_bit():
    weights = [torch.nn.Parameter(torch.zeros(size)) for size in (3, 5)]
    optimizer = stepped(adam_of(*weights), *weights)
    _, tensors = flatten_optimizer(optimizer)
    names = ("step", "exp_avg", "exp_avg_sq")
    assert set(tensors) == {f"optimizer.{index}.{name}" for index in (0, 1) for name in names}
    kept = {name: value.clone() for name, value in tensors.items()}
    copies = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    other = adam_of(*copies)
    plain, _ = flatten_optimizer(other)
    restore_optimizer(other, plain, kept)
    stepped(optimizer, *weights)
    stepped(other, *copies)
    for weight, copy in zip(weights, copies, strict=True):
        assert torch.equal(weight, copy)


def test_an_optimizer_of_other_parameters_is_refused():
    weights = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    plain, tensors = flatten_optimizer(stepped(adam_of(*weights), *weights))
    with pytest.raises(ValueError, match="parameter group"):
        restore_optimizer(adam_of(weights[0]), plain, tensors)
    one = adam_of(weights[0])
    with pytest.raises(ValueError, match="of other parameters"):
        restore_optimizer(one, flatten_optimizer(one)[0], tensors)


def test_what_is_drawn_after_a_restore_is_what_was_drawn_before():
    state = random_state(CPU)
    first = torch.rand(4)
    torch.rand(7)
    restore_random(state, CPU)
    assert torch.equal(torch.rand(4), first)
    with pytest.raises(KeyError):
        restore_random({}, CPU)
