"""torch's optimizers without the import of torch's compiler."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch


@cache
def eager(kind: type[torch.optim.Optimizer]) -> Any:
    """Return a class of torch's optimizers without the wrappers for `torch.compile`.

    They import torch's compiler, `torch._dynamo`, at the first use of an optimizer: 1.6 seconds of
    a core in every process that trains, as much as all the rest of torch. Nothing here is compiled.
    """
    wrapped = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)
