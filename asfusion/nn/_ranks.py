"""The processes that torchrun has started, where they work together: within `fit`.

All of them run the same script on the same rows, and so ask the same of each other in the same
order. Outside of `fit`, each works by itself.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from asfusion._launch import launch, shares_work
from asfusion.exceptions import TrainingError

# Longer than the slowest of them needs for what another has already done.
PATIENCE = timedelta(minutes=10)


def ranks() -> Ranks | None:
    """Return the ranks to share work with; None where this process works by itself."""
    return _join() if shares_work() else None


class Ranks:
    """What processes can tell each other. Each call is made by all of them.

    Attributes
    ----------
    rank : int
        Number of this process.
    world : int
        Number of processes.
    """

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world

    def own(self, rows: Tensor) -> Tensor:
        """Return the rows that this process is to work on."""
        return rows[self.rank :: self.world]

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all (W, ...), which have one shape."""
        found = [torch.empty_like(tensor) for _ in range(self.world)]
        with answered():
            _dist().all_gather(found, tensor.contiguous())
        return torch.stack(found)

    def interleave(self, tensor: Tensor, n_rows: int) -> Tensor:
        """Return `n_rows` rows in their order, of which each has given its `own`."""
        each = -(-n_rows // self.world)
        if len(tensor) < each:  # the last of them may have a row less
            tensor = torch.cat([tensor, tensor.new_zeros(each - len(tensor), *tensor.shape[1:])])
        return self.gather(tensor).transpose(0, 1).flatten(0, 1)[:n_rows]

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add up in place what all have."""
        with answered():
            _dist().all_reduce(tensor)
        return tensor

    def most(self, numbers: list[int]) -> list[int]:
        """Return the largest that any has of each number."""
        tensor = torch.tensor(numbers, dtype=torch.int64)
        with answered():
            _dist().all_reduce(tensor, op=_dist().ReduceOp.MAX)
        return [int(number) for number in tensor]

    def first_(self, tensor: Tensor) -> None:
        """Take over in place what the first has."""
        dense = tensor.contiguous()
        with answered():
            _dist().broadcast(dense, src=0)
        if dense is not tensor:
            tensor.copy_(dense)

    def check_same(self, digest: bytes, what: str) -> None:
        """Raise in all of them, unless all have the same.

        Raises
        ------
        TrainingError
            If they do not.
        """
        own = torch.frombuffer(bytearray(digest), dtype=torch.uint8)
        found = self.gather(own)
        others = (found != found[0]).any(dim=1)
        if bool(others.any()):
            odd = ", ".join(str(int(rank)) for rank in torch.nonzero(others))
            msg = (
                f"torchrun: expected the same {what} in all {self.world} processes, got other ones "
                f"in rank(s) {odd} than in rank 0. Read the same rows in the same order in each, "
                "and give random_state a number."
            )
            raise TrainingError(msg)


@contextmanager
def answered() -> Iterator[None]:
    """Say in our words that another process is gone, or does not answer."""
    try:
        yield
    except RuntimeError as error:
        minutes = PATIENCE.total_seconds() / 60
        msg = (
            "torchrun: expected an answer of every process, but one has ended, or has not answered "
            f"for {minutes:.0f} minutes. Its own error, if it shows one, says why; all of them "
            "must make the same calls of fit."
        )
        raise TrainingError(msg) from error


@functools.cache
def _join() -> Ranks:
    """Meet the others, once per process."""
    found, dist = launch(), _dist()
    assert found is not None  # whoever takes part was launched
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with answered():
            dist.init_process_group(backend, timeout=PATIENCE)
        atexit.register(_leave)
    return Ranks(found.rank, found.world)


def _leave() -> None:
    if _dist().is_initialized():
        _dist().destroy_process_group()


def _dist() -> Any:
    import torch.distributed as dist

    return dist
