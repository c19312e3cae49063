"""AdamW without torch's compiler."""

from __future__ import annotations

import inspect
from typing import Any

import torch

_step: Any = inspect.unwrap(torch.optim.AdamW.step)


class AdamW(torch.optim.AdamW):
    """torch's AdamW, of which nothing is compiled.

    What torch has its compiler leave alone imports that compiler first, and sympy with it: more
    than a second and 70 MB before the first step. So those methods are called without that.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def step(self, closure: Any = None) -> Any:
        """Take one step along the gradients."""
        with torch.no_grad():
            return _step(self, closure)
