"""A few warm processes that decode for this one, and may die of it.

A worker gets a path and plain fields and gives back JSON or raw numbers, whose amount is known
before. One that is late, dies, or answers anything else is replaced. Nothing is pickled.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError

_TIME_S = 6.0  # so that a caller waits at most 10 s, the start of a new worker included
_HEADER_S = 8  # nested items of thousands of frames take their time
_START_S = 60.0  # imports on a busy machine
_BYTES_PER_S = 5 * 2**20  # the slowest decoders do five times that
_MOST = min(4, os.cpu_count() or 1)
_JSON_BYTES = 6 * 2**20
_USES = 2000  # then a worker is replaced: decoders leak
_FRAME = b"\x01"
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from asfusion.imaging.dicom._worker import main; main()"
)
_WORDS = {
    "memory": "expected an image that decodes in the memory that one of its size takes, got one "
    "that needs more.",
    "missing": "expected an existing file, got a path where there is none.",
    "permission": "expected a file that may be read, got one without permission.",
    "other": "expected a readable file, got one that is damaged or cut short.",
}


class _Lost(Exception):
    """The worker is gone."""


class _Worker:
    """One process and the pipes to it."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[3])
        paths = json.dumps([root, *(entry or os.getcwd() for entry in sys.path)])  # noqa: PTH109
        threads = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
        self.n_uses = 0
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **dict.fromkeys(threads, "1")},
        )
        try:
            with self.deadline(_START_S):
                self.read_json()
        except BaseException:
            self.end()
            raise

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[list[bool]]:
        """Kill the process if the block takes longer; say in the list whether it did."""
        late: list[bool] = []

        def stop() -> None:
            late.append(True)
            self.process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()

    def ask(self, question: dict[str, Any]) -> None:
        """Send a question."""
        data = json.dumps(question).encode("ascii")
        view = memoryview(struct.pack("<L", len(data)) + data)
        pipe = self.process.stdin
        try:
            while pipe is not None and view:
                view = view[pipe.write(view) :]
        except OSError:
            raise _Lost from None

    def read(self, view: memoryview) -> None:
        """Fill a buffer from the answer."""
        pipe, done = self.process.stdout, 0
        while pipe is not None and done < len(view):
            n = pipe.readinto(view[done:])  # type: ignore[attr-defined]
            if not n:
                raise _Lost
            done += n

    def read_bytes(self, n: int) -> bytes:
        """Return the next bytes of the answer."""
        buffer = bytearray(n)
        self.read(memoryview(buffer))
        return bytes(buffer)

    def read_json(self) -> Any:
        """Return the next piece of JSON of the answer."""
        (length,) = struct.unpack("<L", self.read_bytes(4))
        if length > _JSON_BYTES:
            raise _Lost
        return json.loads(self.read_bytes(length))

    def end(self) -> None:
        """Kill the process and forget it."""
        with suppress(OSError):
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self.process.wait()


class _Pool:
    """Workers that wait, and how many there are."""

    def __init__(self) -> None:
        self.free = threading.Condition()
        self.idle: list[_Worker] = []
        self.n_started = 0

    def take(self) -> _Worker:
        """Return a worker that waits, or a new one."""
        with self.free:
            while not self.idle and self.n_started >= _MOST:
                self.free.wait()
            if self.idle:
                return self.idle.pop()
            self.n_started += 1
        try:
            return _Worker()
        except BaseException:
            self.drop(None)
            raise

    def give(self, worker: _Worker) -> None:
        """Put a worker back, or in its place let another start."""
        worker.n_uses += 1
        if worker.n_uses >= _USES:
            self.drop(worker)
            return
        with self.free:
            self.idle.append(worker)
            self.free.notify()

    def drop(self, worker: _Worker | None) -> None:
        """Let another start in place of a worker that is no more."""
        if worker is not None:
            worker.end()
        with self.free:
            self.n_started -= 1
            self.free.notify()

    def close(self) -> None:
        """End the workers that wait."""
        with self.free:
            idle, self.idle = self.idle, []
            self.n_started -= len(idle)
        for worker in idle:
            worker.end()


_pool = _Pool()
_strangers: list[_Pool] = []  # of the process that forked this one


def _after_fork() -> None:
    """Leave the workers to the process that started them."""
    global _pool
    for worker in _pool.idle:
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()
        worker.process.returncode = 0  # not ours to wait for
    _strangers.append(_pool)
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _pool.close())


@contextmanager
def _asked(question: dict[str, Any], path: Path, n_bytes: int) -> Iterator[_Worker]:
    """Give a worker that was asked; the block reads its answer."""
    question = {**question, "path": os.fsencode(path).hex()}
    pool = _pool
    worker = _sent(pool, question)
    seconds = _TIME_S + max(0.0, n_bytes / _BYTES_PER_S - _TIME_S)
    done = False
    try:
        with worker.deadline(seconds) as late:
            try:
                yield worker
                done = True
            except DicomReadError:
                done = True
                raise
            except _Lost:
                raise DicomReadError(_lost(bool(late), seconds)) from None
            done = not late
    finally:
        pool.give(worker) if done else pool.drop(worker)


def _sent(pool: _Pool, question: dict[str, Any]) -> _Worker:
    """Return a worker that got the question; one that died while it waited is replaced."""
    for _ in range(_MOST + 1):
        try:
            worker = pool.take()
        except (OSError, _Lost, ValueError):
            break
        try:
            worker.ask(question)
        except _Lost:
            pool.drop(worker)
            continue
        except BaseException:
            pool.drop(worker)
            raise
        return worker
    msg = (
        "expected a system on which this process may start another one, in which compressed or "
        "very large files are decoded; it could not. Store the file uncompressed, or smaller."
    )
    raise DicomReadError(msg)


def _lost(late: bool, seconds: float) -> str:
    if late:
        return (
            f"expected compressed data that decode within {seconds:.0f} s, got data that take "
            "longer."
        )
    return "expected compressed data that can be decoded, got data on which the decoder failed."


def _next(worker: _Worker) -> None:
    """Read whether the answer goes on; raise what the worker reports if it does not."""
    if worker.read_bytes(1) == _FRAME:
        return
    fault = worker.read_json()
    words = fault.get("words") or _WORDS.get(fault.get("kind"), _WORDS["other"])
    if fault.get("kind") == "memory":
        worker.n_uses = _USES  # it ends itself: memory that ran out may be broken
    raise DicomReadError(str(words))


def plain_answer(do: str, path: Path) -> Any:
    """Return what a worker says of a file, as plain JSON.

    Parameters
    ----------
    do : {"header", "directory"}
        What to ask.
    path : Path
        The file.
    """
    with _asked({"do": do}, path, _HEADER_S * _BYTES_PER_S) as worker:
        _next(worker)
        return worker.read_json()


def fill(
    values: NDArray[Any], question: dict[str, Any], path: Path, n_bytes: int | None = None
) -> None:
    """Fill an array, one frame after another, with what a worker decodes.

    Parameters
    ----------
    values : ndarray of shape (n, ...)
        Where to put `n` frames; memory is touched as they come.
    question : dict
        What to ask: plain fields.
    path : Path
        The file.
    n_bytes : int, optional
        How many bytes it may take the time of; those of `values` by default.
    """
    with _asked(question, path, values.nbytes if n_bytes is None else n_bytes) as worker:
        for frame in values:
            _next(worker)
            worker.read(np.atleast_1d(frame).data.cast("B"))
