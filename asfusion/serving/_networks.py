"""Networks of torch as graphs, for batches of any size."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from asfusion.exceptions import ConfigurationError
from asfusion.serving._graph import OPSET

Inputs = dict[str, dict[str, Tensor]]
_ROWS = 3  # of the example: neither one nor two, which torch takes for other words


class Whole(nn.Module):
    """A fusion network and what the target makes of its outputs, from tensors one by one.

    Parameters
    ----------
    network : FusionNetwork
        In evaluation mode.
    keys : sequence of (modality, tensor) names
        What the tensors are; behind them comes the presence of each modality.
    activate : callable
        From outputs (N, K) in float64 to predictions.
    """

    def __init__(
        self,
        network: nn.Module,
        keys: Sequence[tuple[str, str]],
        activate: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.network, self.keys, self.activate = network, list(keys), activate

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return predictions (N, K)."""
        inputs: Inputs = {}
        for (name, key), tensor in zip(self.keys, tensors, strict=False):
            inputs.setdefault(name, {})[key] = tensor
        present = dict(zip(inputs, tensors[len(self.keys) :], strict=True))
        return self.activate(self.network(inputs, present).double())


class Pooled(nn.Module):
    """The mean token of a backbone: what early fusion reads of it."""

    def __init__(self, backbone: nn.Module, keys: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.keys = backbone, list(keys)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return vectors (N, D) in float64."""
        tokens = self.backbone(dict(zip(self.keys, tensors, strict=True)))
        return tokens.pool().double()  # type: ignore[no-any-return]


def to_onnx(
    module: nn.Module, tensors: Sequence[Tensor], open_sizes: Sequence[Mapping[int, str]], who: str
) -> Any:
    """Return the graph of a module in evaluation mode, with its rows left open.

    Parameters
    ----------
    module : nn.Module
        On the CPU, in evaluation mode.
    tensors : sequence of Tensor
        An example, `_ROWS` rows of each input.
    open_sizes : sequence of mapping of int to str
        Which other sizes of each are left open, by their name.
    who : str
        What it is, for messages.

    Raises
    ------
    ConfigurationError
        If torch cannot write it.
    """
    rows = torch.export.Dim("rows", min=1)
    names = {name for own in open_sizes for name in own.values()}
    sizes = {name: torch.export.Dim(f"size{n}", min=1) for n, name in enumerate(sorted(names))}
    shapes = tuple({0: rows, **{n: sizes[name] for n, name in own.items()}} for own in open_sizes)
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(
                module, tuple(tensors), strict=False, dynamic_shapes=(shapes,)
            )
            made = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, verbose=False)
        except Exception as error:
            msg = (
                f"export: {who} expected networks that torch writes as ONNX for any number of "
                f"rows, got {type(error).__name__}. Use another backbone or fusion head."
            )
            raise ConfigurationError(msg) from None
    return made.model_proto  # type: ignore[union-attr]


def example(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return rows of an input by which a network is followed."""
    if dtype.is_floating_point:
        return torch.zeros(_ROWS, *shape, dtype=dtype)
    return torch.ones(_ROWS, *shape, dtype=dtype)


def plain(network: nn.Module, precision: str) -> nn.Module:
    """Return a copy for the CPU, in evaluation mode."""
    return copy.deepcopy(network).to("cpu", getattr(torch, precision)).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch says of other packages that it does without."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
