"""The optimizer and the course of its learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import lr_scheduler

from sentiment.config import TrainingConfig
from sentiment.nn.eager_optimizer import eager

WARM_UP = 0.1
"""Share of the steps in which one-cycle's rate rises: short, so that early rungs can compare."""


_RATES = {"lr", "initial_lr", "max_lr", "min_lr"}
"""What of a group of parameters is proportional to the learning rate set; one-cycle has all."""
_RATES_OF_GROUPS = {"base_lrs", "_last_lr"}
"""The same of a schedule, a value for each group."""


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: TrainingConfig
) -> torch.optim.Optimizer:
    """Make the optimizer, by torch's fastest way of each (`fused` where there is one).

    It is torch's own but for its wrappers, see `eager`.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    match config.optimizer:
        case "sgd":
            return eager(torch.optim.SGD)(
                trained, rate, momentum=config.momentum, weight_decay=decay, fused=True
            )
        case "adam":
            return eager(torch.optim.Adam)(trained, rate, weight_decay=decay, fused=True)
        case "adamw":
            return eager(torch.optim.AdamW)(trained, rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return eager(torch.optim.RMSprop)(
                trained, rate, momentum=config.momentum, weight_decay=decay, foreach=True
            )


def make_schedule(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, steps: int
) -> lr_scheduler.LRScheduler:
    """Make the learning rate's course over all `steps`; its peak is the learning rate set.

    One-cycle follows Smith and Topin (2017, arXiv:1708.07120), cosine Loshchilov and Hutter
    (2016, arXiv:1608.03983) without restarts.
    """
    match config.schedule:
        case "constant":
            return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
        case "one_cycle":
            return lr_scheduler.OneCycleLR(
                optimizer,
                config.learning_rate,
                total_steps=steps + 1,
                # A warm-up that ends with the step it starts at would divide by zero.
                pct_start=max(WARM_UP, 2 / (steps + 1)),
                cycle_momentum=False,
            )
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def rescale(
    optimizer: dict[str, Any],
    schedule: dict[str, Any],
    before: TrainingConfig,
    after: TrainingConfig,
) -> None:
    """Change learning rate and weight decay of a saved optimizer and schedule, in place.

    Args:
        optimizer: plain values of `flatten_optimizer`.
        schedule: `state_dict` of what `make_schedule` returned.
        before: the settings of both.
        after: the settings that they shall have.
    """
    factor = after.learning_rate / before.learning_rate
    for group in optimizer["groups"]:
        group["weight_decay"] = after.weight_decay
        for name in group.keys() & _RATES:
            group[name] *= factor
    for name in schedule.keys() & _RATES_OF_GROUPS:
        schedule[name] = [factor * rate for rate in schedule[name]]
