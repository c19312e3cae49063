"""A limit on the size of networks that are built from a description of others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from asfusion.exceptions import ShapeError

_SLACK = 100_000  # values of parts that are built and then replaced


@contextmanager
def at_most_values(stored: int) -> Iterator[None]:
    """Stop building a network once it is far larger than the weights that it is for.

    A saved model describes its network and brings the weights. One that describes a
    network of a billion units and brings a few bytes would otherwise take all memory
    before the weights turn out not to fit. A layer's memory is reserved, but not yet
    filled, when its parameters are registered, so that stopping there is cheap.

    Parameters
    ----------
    stored : int
        How many values the stored weights have.

    Raises
    ------
    ShapeError
        While building, once more than twice as many were asked for.
    """
    thread, total = threading.get_ident(), 0

    def count(_module: nn.Module, _name: str, value: Any) -> None:
        nonlocal total
        if value is None or threading.get_ident() != thread:
            return
        total += value.numel()
        if total > 2 * stored + _SLACK:
            msg = (
                f"Network: expected about {stored} stored values to fill it, got a description "
                "of a far larger one. Build it as it was described when the weights were stored."
            )
            raise ShapeError(msg)

    hooks = (
        nn.modules.module.register_module_parameter_registration_hook(count),
        nn.modules.module.register_module_buffer_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
