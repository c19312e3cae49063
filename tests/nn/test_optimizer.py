"""Our AdamW takes torch's steps, and its state is torch's."""

from __future__ import annotations

import torch
from torch import nn

from asfusion.nn.optimizer import AdamW


def _learn(kind: type[torch.optim.Optimizer], state: dict | None = None):
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = kind([{"params": [layer.weight]}, {"params": [layer.bias]}], lr=0.1)
    if state is not None:
        optimizer.load_state_dict(state)
    for _ in range(3):
        layer(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layer, optimizer


def test_steps_and_states_are_those_of_torch() -> None:
    (ours, state), (theirs, known) = _learn(AdamW), _learn(torch.optim.AdamW)
    assert torch.equal(ours.weight, theirs.weight)
    again, _ = _learn(AdamW, known.state_dict())
    once, _ = _learn(torch.optim.AdamW, state.state_dict())
    assert torch.equal(again.bias, once.bias)
    assert ours.weight.grad is None
