"""Batches on the device, the next one on its way while one is learned from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asfusion._tokens import Tokens
from asfusion.nn._placed import Placed, known, sent
from asfusion.training.rows import Rows
from asfusion.training.runner import Runner


class Loaded(NamedTuple):
    """A batch of B rows.

    Parameters
    ----------
    inputs : mapping of str to tensors or Tokens
        What networks read, on the device.
    present : mapping of str to Tensor of shape (B,), bool
        Rows that have each modality, on the host: what is hidden of them is drawn there.
    targets, weights : Tensor of shape (B,) or (B, K)
        On the device.
    """

    inputs: Mapping[str, Placed | Tokens]
    present: Mapping[str, Tensor]
    targets: Tensor
    weights: Tensor


class Feed:
    """Loads batches of rows.

    Parameters
    ----------
    rows : Rows
        Where they are taken from.
    runner : Runner
        Where they go.
    """

    def __init__(self, rows: Rows, runner: Runner) -> None:
        self.rows, self.runner = rows, runner
        self._waiting: tuple[Tensor, Loaded, Any] | None = None

    def load(self, part: Tensor) -> Loaded:
        """Return rows (B,) as a batch: the one that is on its way, if it is of the same tensor."""
        if self._waiting is not None and self._waiting[0] is part:
            return _arrived(*self._waiting[1:])
        return self._load(part)

    def _load(self, part: Tensor) -> Loaded:
        rows, dtype = self.rows.at(part), self.runner.dtype
        batch = self.runner.collate(self.rows.modalities, rows)
        targets = sent(self.rows.targets[rows], self.runner.device)
        weights = sent(self.rows.weights[rows], self.runner.device).to(dtype)
        if targets.is_floating_point():
            targets = targets.to(dtype)
        present = {name: known(batch.present, name) for name in batch.present}
        return Loaded(batch.inputs, present, targets, weights)

    def ahead(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield rows, those that come next already on their way.

        On CUDA their copy has a stream of its own. A CPU has nothing to gain.
        """
        if self.runner.device.type != "cuda":
            yield from parts
            return
        side = torch.cuda.Stream(self.runner.device)  # type: ignore[no-untyped-call]
        coming: tuple[Tensor, Loaded, Any] | None = None
        for part in parts:
            with torch.cuda.stream(side):
                self._waiting, coming = coming, (part, self._load(part), side.record_event())
            if self._waiting is not None:
                yield self._waiting[0]
        self._waiting = coming
        if coming is not None:
            yield coming[0]
        self._waiting = None


def _arrived(loaded: Loaded, event: Any) -> Loaded:
    """Let what computes wait for a copy, and memory stay until it was read."""
    stream = torch.cuda.current_stream(loaded.weights.device)
    stream.wait_event(event)
    for tensor in _tensors(loaded):
        tensor.record_stream(stream)
    return loaded


def _tensors(loaded: Loaded) -> Iterator[Tensor]:
    yield from (loaded.targets, loaded.weights)
    for part in loaded.inputs.values():
        yield from part if isinstance(part, Tokens) else part.values()
