"""Optimizers: torch's own updates, without importing torch's compiler."""

import subprocess
import sys

import pytest
import torch

from sentiment.config import TrainingConfig
from sentiment.nn.training_state import flatten_optimizer, restore_optimizer
from sentiment.training.optim import make_optimizer

THEIRS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.5, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.5, weight_decay=0.01),
}
TRAINING = """
import sys
import torch
from sentiment.config import TrainingConfig
from sentiment.nn.rnn_choice import recurrence
from sentiment.nn.training_state import flatten_optimizer
from sentiment.training.optim import make_optimizer, make_schedule

recurrence()
for name in ("sgd", "adam", "adamw", "rmsprop"):
    weight = torch.nn.Parameter(torch.ones(3))
    config = TrainingConfig(optimizer=name, schedule="one_cycle")
    optimizer = make_optimizer([weight], config)
    schedule = make_schedule(optimizer, config, 2)
    weight.square().sum().backward()
    torch.nn.utils.clip_grad_norm_([weight], 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
"""


def settings(name):
    momentum = 0.5 if name in ("sgd", "rmsprop") else 0.0
    return TrainingConfig(optimizer=name, learning_rate=0.1, momentum=momentum, weight_decay=0.01)


def step(optimizer, weight, target):
    (weight - target).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("name", THEIRS)
def test_steps_are_those_of_torch(name):
    target = torch.linspace(-1, 1, 7)
    ours, theirs = (torch.nn.Parameter(torch.zeros(7)) for _ in range(2))
    optimizer, other = make_optimizer([ours], settings(name)), THEIRS[name]([theirs])
    for _ in range(5):
        step(optimizer, ours, target)
        step(other, theirs, target)
    assert ours.grad is None
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", THEIRS)
def test_a_restored_optimizer_goes_on_to_the_bit(name):
    target = torch.linspace(-1, 1, 7)
    weight = torch.nn.Parameter(torch.zeros(7))
    optimizer = make_optimizer([weight], settings(name))
    step(optimizer, weight, target)
    copy = torch.nn.Parameter(weight.detach().clone())
    other = make_optimizer([copy], settings(name))
    plain, tensors = flatten_optimizer(optimizer)
    restore_optimizer(other, plain, {n: value.clone() for n, value in tensors.items()})
    step(optimizer, weight, target)
    step(other, copy, target)
    assert torch.equal(weight, copy)


def test_training_does_not_import_the_compiler():
    subprocess.run([sys.executable, "-c", TRAINING], check=True)
