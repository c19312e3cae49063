"""AdamW without torch's compiler, and with little between a step and its kernel."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_step: Any = inspect.unwrap(torch.optim.AdamW.step)
_zero_grad: Any = inspect.unwrap(torch.optim.Optimizer.zero_grad)
_USUAL = {"fused": True, "amsgrad": False, "maximize": False, "capturable": False}


class AdamW(torch.optim.AdamW):
    """torch's AdamW, of which nothing is compiled.

    What torch has its compiler leave alone imports that compiler first, and sympy with it: more
    than a second and 70 MB before the first step. So those methods are called without that. Where
    all weights are alike and all have a gradient, the fused kernel is called as it is: what torch
    does before it takes as long as the step of a small network. Hooks are not called.
    """

    # Whether all weights are of one kind and have taken a step, and of how many that was seen.
    _looked_at, _is_alike = (0, 0), False

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        if not set_to_none:
            _zero_grad(self, set_to_none=False)
            return
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def step(self, closure: Any = None) -> Any:
        """Take one step along the gradients."""
        with torch.no_grad():
            if closure is not None or not self._is_plain():
                return _step(self, closure)
            for group in self.param_groups:
                self._move(group)
        return None

    step.hooked = True  # type: ignore[attr-defined] # torch wraps what is not

    def _is_plain(self) -> bool:
        """Return whether the kernel alone does what torch's step would."""
        weights = [weight for group in self.param_groups for weight in group["params"]]
        if any(weight.grad is None for weight in weights):
            return False
        size = len(weights), len(self.state)  # which grows with the first step of each weight
        if self._looked_at != size:
            self._looked_at = size
            known = all(weight in self.state for weight in weights)
            self._is_alike = known and len({(w.device, w.dtype) for w in weights}) == 1
        groups = self.param_groups
        return self._is_alike and all(g.get(key) == value for g in groups for key, value in _ITEMS)

    def _move(self, group: dict[str, Any]) -> None:
        weights, states = group["params"], [self.state[weight] for weight in group["params"]]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            weights,
            [weight.grad for weight in weights],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


_ITEMS = tuple(_USUAL.items())


def clip_gradients(weights: Sequence[Tensor], most: float) -> None:
    """Scale gradients so that the norm of all of them together is at most `most`.

    As torch's `clip_grad_norm_`, of weights on one device; nothing is asked of the device.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        return
    with torch.no_grad():
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0)), 2.0)
        torch._foreach_mul_(gradients, torch.clamp(most / (norm + 1e-6), max=1.0))
