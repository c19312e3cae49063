"""One job of many, as it runs in a worker or here, and what all of them read."""

from __future__ import annotations

import importlib
import importlib.util
import pickle  # noqa: TID251 (what it reads, this program has written)
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

_LARGE = 2**20  # bytes from which on joblib hands an array over as a file that is mapped


class Shared:
    """What all jobs read: packed once, and unpacked once by each process.

    Large arrays in it are left out of what is packed and handed over as they are: joblib maps
    them into the workers of this machine, read-only, where they take no memory of their own.

    Parameters
    ----------
    value : object
        Anything that can be sent.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self._name = uuid4().hex
        self._packed: tuple[NDArray[np.uint8], list[NDArray[np.uint8]]] | None = None

    def pack(self) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
        """Return the value as bytes, and the large arrays of it."""
        if self._packed is None:
            large: list[NDArray[np.uint8]] = []

            def stays(buffer: Any) -> bool:
                raw = buffer.raw()
                if raw.nbytes <= _LARGE:
                    return True
                large.append(np.frombuffer(raw, dtype=np.uint8))
                return False

            rest = _dumps()(self.value, protocol=5, buffer_callback=stays)
            self._packed = np.frombuffer(rest, dtype=np.uint8), large
        return self._packed

    def __reduce__(self) -> Any:
        return _unpack, (self._name, *self.pack())

    def __sizeof__(self) -> int:
        """Return the bytes to send, by which Dask sends them once to a worker."""
        rest, large = self.pack()
        return sum(part.nbytes for part in (rest, *large))


def _dumps() -> Callable[..., bytes]:
    """Return what joblib writes with for its own workers, classes of a notebook included."""
    try:
        from cloudpickle import dumps  # type: ignore[import-untyped] # noqa: TID251
    except ImportError:  # joblib before 1.6 brings its own
        from joblib.externals.cloudpickle import dumps
    return dumps  # type: ignore[no-any-return]


_unpacked: dict[str, Any] = {}  # the last one, of this process
_unpacking = threading.Lock()


def _unpack(name: str, rest: NDArray[np.uint8], large: list[NDArray[np.uint8]]) -> Shared:
    with _unpacking:
        if name not in _unpacked:
            _unpacked.clear()
            # Bytes that the caller packed for this process. They came in a pickle of joblib's: who
            # could change them has no need to.
            _unpacked[name] = pickle.loads(rest.data, buffers=large)  # noqa: S301
        shared = Shared(_unpacked[name])
    shared._name = name
    return shared


class Job:
    """A function of one item, called where a worker is.

    Parameters
    ----------
    function : callable
        Of an item and, if there is any, of what all jobs read.
    fits_models : bool
        Whether a job has its process for itself, on one thread: seeds and numbers of threads
        belong to a whole process, and sums depend on how many threads share them.
    marks : str, optional
        Folder of this machine where a job leaves its number while it is done.
    """

    def __init__(
        self, function: Callable[..., Any], *, fits_models: bool, marks: str | None = None
    ) -> None:
        self.function, self.fits_models, self.marks = function, fits_models, marks

    def __call__(self, number: int, item: Any, *shared: Shared) -> tuple[int, float, Any]:
        """Return the number of the job, the seconds that it took, and the answer."""
        mark = None if self.marks is None else Path(self.marks, str(number))
        if mark is not None:
            mark.touch()
        took = self.clock()
        answer = self.do(item, *shared)
        if mark is not None:
            mark.unlink(missing_ok=True)
        return number, took(), answer

    def do(self, item: Any, *shared: Shared) -> Any:
        """Return the answer to one item."""
        with ExitStack() as stack:
            if self.fits_models:
                stack.enter_context(_alone)
                stack.enter_context(one_thread())
                stack.enter_context(no_jobs_within())
            return self.function(item, *(part.value for part in shared))

    def clock(self) -> Callable[[], float]:
        """Return what tells how many seconds of work there were since now.

        Of a fit those of the processor count: a machine that others use makes the wall clock long.
        It is believed a quarter, as a fit may wait for files, or for processes that decode them.
        """
        processor, wall = time.process_time(), time.perf_counter()
        if not self.fits_models:
            return lambda: time.perf_counter() - wall
        return lambda: max(time.process_time() - processor, (time.perf_counter() - wall) / 4)


_alone = threading.RLock()  # workers of Dask may have several threads


@contextmanager
def no_jobs_within() -> Iterator[None]:
    """Let joblib work one after the other inside the block: its workers are busy with us."""
    from joblib import parallel_config

    with parallel_config(backend="sequential"):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Let numerical libraries work on one thread inside the block."""
    with _controller().limit(limits=1), _torch_on_one_thread():
        yield


_found: tuple[int, Any] = (0, None)


def _controller() -> Any:
    """Return what limits threads; libraries are looked for again when there may be more."""
    from threadpoolctl import ThreadpoolController

    global _found
    if _found[0] != len(sys.modules):
        _found = (len(sys.modules), ThreadpoolController())
    return _found[1]


@contextmanager
def _torch_on_one_thread() -> Iterator[None]:
    before: list[int] = []

    def limit(torch: ModuleType) -> None:
        before.append(torch.get_num_threads())
        torch.set_num_threads(1)

    waiting = _Import("torch", limit)
    if "torch" in sys.modules:
        limit(importlib.import_module("torch"))  # whole: another thread may be importing it
    else:
        waiting.begin()
    try:
        yield
    finally:
        waiting.end()
        if before:
            sys.modules["torch"].set_num_threads(before[0])


class _Import:
    """Does something to a module as soon as it is imported.

    The list of finders is replaced, never changed: other threads may be going through it, and one
    that is taken out would let them miss the finder behind it.
    """

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self.name, self.then = name, then

    def begin(self) -> None:
        """Wait for the module."""
        sys.meta_path = [self, *sys.meta_path]

    def end(self) -> None:
        """Wait no longer."""
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return how to import the module, as the finders behind this one say."""
        if name != self.name:
            return None
        self.end()
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loader, load = spec.loader, spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                del loader.exec_module  # its own again
                load(module)
                self.then(module)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
