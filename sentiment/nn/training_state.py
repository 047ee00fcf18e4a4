"""What training changes beside the weights, as tensors by name: optimizer and random generators.

With it, and the weights, a training that was stopped goes on to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_CPU, _CUDA = "random.cpu", "random.cuda"


def flatten_optimizer(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return an optimizer's state as plain values (JSON) and tensors by name."""
    whole = optimizer.state_dict()
    tensors = {
        f"optimizer.{index}.{name}": value
        for index, state in whole["state"].items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    rest = {
        str(index): {n: v for n, v in state.items() if not isinstance(v, torch.Tensor)}
        for index, state in whole["state"].items()
    }
    return {"state": rest, "groups": whole["param_groups"]}, tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer, plain: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Give an optimizer the state that `flatten_optimizer` took of another.

    Raises:
        ValueError: the other had other parameters.
    """
    state: dict[int, dict[str, Any]] = {int(i): dict(each) for i, each in plain["state"].items()}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    # torch would keep what belongs to no parameter without a word.
    if state.keys() - {index for group in plain["groups"] for index in group["params"]}:
        raise ValueError("the optimizer's state is of other parameters")
    # JSON has lists alone; torch keeps pairs such as Adam's betas as tuples.
    groups = [
        {key: tuple(v) if isinstance(v, list) and key != "params" else v for key, v in each.items()}
        for each in plain["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of torch's generators that training on a device draws from, by name."""
    state = {_CPU: torch.get_rng_state()}
    if device.type == "cuda":
        state[_CUDA] = torch.cuda.get_rng_state(device)
    return state


def restore_random(tensors: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set torch's generators to what `random_state` returned on the same kind of device.

    Raises:
        KeyError: it was of another kind.
    """
    torch.set_rng_state(tensors[_CPU])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[_CUDA], device)
