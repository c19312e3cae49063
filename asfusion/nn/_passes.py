"""How networks compute where nothing is learned: precision, copies on a device, batch sizes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from asfusion.nn._asked import Precision

T = TypeVar("T")

# -- precision -------------------------------------------------------------------------


def passes(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Let networks compute in a precision: bfloat16 where that is asked for, else float32.

    On CUDA, ``"auto"`` multiplies float32 by its tensor cores (TF32: ten bits of each factor).
    """
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    usual = precision == "auto" and device.type == "cuda"
    return _tensor_cores.used() if usual else nullcontext()


class _TensorCores:
    """Who multiplies by tensor cores now: the setting belongs to all threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users, self._before = 0, "highest"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let float32 be TF32 inside the block; the last one to leave sets it back."""
        with self._lock:
            if self._n_users == 0:
                self._before = torch.get_float32_matmul_precision()
                torch.set_float32_matmul_precision("high")  # convolutions have it by default
            self._n_users += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                if self._n_users == 0:
                    torch.set_float32_matmul_precision(self._before)


_tensor_cores = _TensorCores()


# -- copies on a device ----------------------------------------------------------------


def version_of(network: nn.Module) -> tuple[object, ...]:
    """Return what is another one once any weight of a network was written to or replaced."""
    weights = network.state_dict(keep_vars=True)
    return tuple((t.data_ptr(), t._version, t.dtype) for t in weights.values())


class Copies:
    """Copies of networks on devices, kept as long as a network lives and its weights stay.

    So weights travel once, however often a model predicts, and the network itself never moves.
    """

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[nn.Module, tuple[object, nn.Module]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> nn.Module:
        """Return a network on the device, in evaluation mode.

        Parameters
        ----------
        network : nn.Module
            On the CPU.
        device : torch.device
            Another one.
        dtype : torch.dtype or None
            Of its weights; None as they are.
        """
        state = str(device), dtype, version_of(network)
        with self._lock:
            found = self._kept.get(network)
            if found is not None and found[0] == state:
                return found[1].eval()
        there = copy.deepcopy(network).to(device=device, dtype=dtype).eval()
        with self._lock:
            self._kept[network] = state, there
        return there


copies = Copies()


# -- sizes of batches ------------------------------------------------------------------


class Sizes:
    """How many rows passed each network without running out of memory, remembered."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()

    def in_parts(
        self, network: nn.Module, rows: Tensor, most: int, run: Callable[[Tensor, int], T]
    ) -> Iterator[T]:
        """Yield what `run` makes of the rows, some at a time: half as many when memory runs out.

        Parameters
        ----------
        network : nn.Module
            What the rows pass.
        rows : Tensor of shape (N,)
            Positions.
        most : int
            Rows at a time, to begin with.
        run : callable
            Of positions and of how many rows pass at once.
        """
        start = 0
        while start < len(rows):
            size = min(most, self._known.get(network, most))
            try:
                made = run(rows[start : start + size], size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
                self._known[network] = size // 2
                _free_memory()
                continue
            start += size
            yield made


sizes = Sizes()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return "not enough memory" in text or "can't allocate memory" in text


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
