"""Export a network for batches of any size, and compare it with itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from asfusion._tokens import Tokens

SIZES = (1, 2, 7)


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
    for n_rows in SIZES:
        given = arguments(n_rows)
        with torch.no_grad():
            torch.testing.assert_close(_meant(exported(*given)), _meant(network(*given)))


def _meant(output: Tensor | Tokens) -> Tensor | Tokens:
    """Return what carries meaning: anything may stand at masked places."""
    return output._replace(values=output.clean_values()) if isinstance(output, Tokens) else output
