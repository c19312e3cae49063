"""What promises are made of: a list of them, a word where one is broken, and comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from asfusion._tokens import Tokens
from asfusion.exceptions import ContractError

Case = TypeVar("Case")
Promise = Callable[[Case], None]

_SIZES = (1, 2, 7)


class Promises(dict[str, Promise[Case]], Generic[Case]):
    """Promises by name, in the order in which they are checked."""

    def add(self, promise: Promise[Case]) -> Promise[Case]:
        """Remember a promise by the name of its function."""
        self[promise.__name__.strip("_")] = promise
        return promise

    def check(self, case: Case) -> None:
        """Raise at the first that is broken."""
        for promise in self.values():
            promise(case)


def demand(kept: object, who: object, told: str) -> None:
    """Raise unless a promise is kept."""
    if not kept:
        raise ContractError(f"{type(who).__name__}: {told}")


def are_alike(left: Tensor, right: Tensor, rtol: float = 1.3e-6, atol: float = 1e-5) -> bool:
    """Return whether tensors are of one shape and type, and as good as equal; NaN is NaN."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if not left.is_floating_point():
        return torch.equal(left, right)
    return torch.allclose(left, right, rtol=rtol, atol=atol, equal_nan=True)


def are_equal(left: Any, right: Any) -> bool:
    """Return whether two states are the same, whatever they are made of."""
    from numpy.testing import assert_equal  # here, as it brings much that nobody else needs

    try:
        assert_equal(left, right)
    except AssertionError:
        return False
    return True


def learned_by(encoder: Any) -> dict[str, Any]:
    """Return what an encoder has learned of rows, those within it too, but for its network."""
    state = {k: v for k, v in vars(encoder).items() if k.endswith("_") and k != "network_"}
    return {k: learned_by(v) if hasattr(v, "prepare") else v for k, v in state.items()}


def silent_weights(module: nn.Module) -> list[str]:
    """Return the weights that are to learn and have got no gradient, or none that is a number."""
    learning = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return [n for n, p in learning.items() if p.grad is None or not bool(p.grad.isfinite().all())]


def check_export(network: nn.Module, arguments: Callable[[int], tuple[Any, ...]]) -> None:
    """Raise unless the exported network gives the same numbers at every batch size.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    arguments : callable
        From a number of rows to the positional arguments of a pass, rows first in each tensor.
    """
    rows = torch.export.Dim("rows", min=1)
    example = arguments(3)
    shapes = pytree.tree_map_only(Tensor, lambda _: {0: rows}, example)
    exported = torch.export.export(network, example, dynamic_shapes=shapes).module()
    for n_rows in _SIZES:
        given = arguments(n_rows)
        with torch.no_grad():
            pairs = zip(_meant(exported(*given)), _meant(network(*given)), strict=True)
            told = (
                f"expected torch.export to give the same numbers for {n_rows} rows, got others. "
                "Let no step depend on the number of rows, or on what is in a tensor."
            )
            demand(all(are_alike(*pair) for pair in pairs), network, told)


def _meant(output: Tensor | Tokens) -> tuple[Tensor, ...]:
    """Return what carries meaning: anything may stand at masked places."""
    return (output.clean_values(), output.mask) if isinstance(output, Tokens) else (output,)


def all_finite(matrix: Any) -> bool:
    """Return whether an array has neither NaN nor an infinite number."""
    return bool(np.isfinite(matrix).all())
