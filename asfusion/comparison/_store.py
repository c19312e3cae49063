"""Answers of a comparison on the disk, so that one that was killed goes on where it was.

A file per fit, named by a hash of everything that the answer depends on: a changed run asks
for other names and never meets an old answer. Files are arrays only, and read as such.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import sys
import types
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._files import clear_leftovers, write_file
from asfusion._frames import Frame
from asfusion._later import torch
from asfusion._splits import Split
from asfusion._version import __version__
from asfusion._versions import _accelerator, _packages, _platform
from asfusion._warn import warn_user
from asfusion.comparison._runs import ComparedRows, Run
from asfusion.encoders._base import Encoder
from asfusion.encoders._cache import digest, file_digest, network_digest
from asfusion.estimators._base import columns_of
from asfusion.exceptions import CheckpointError
from asfusion.imaging._cells import is_content
from asfusion.imaging._in_memory import content_digest
from asfusion.imaging.fingerprint import folder_digest

Floats = NDArray[np.float64]

_FORMAT = "asfusion-comparison-1"
_DEEPEST = 100
_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)


class AnswerStore:
    """A folder of finished answers.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    data : ComparedRows
        What is compared on.

    Raises
    ------
    CheckpointError
        If the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], data: ComparedRows) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = (
                f"checkpoint: expected a folder, or a path where one can be made, got an error "
                f"({error.strerror}). Name another."
            )
            raise CheckpointError(msg) from None
        self.data_digest = digest(_FORMAT, _versions(), data_digest(data))
        self.is_writable = True

    def model_name(self, run: Run) -> str:
        """Return a name for a run with all its parameters."""
        return digest(describe([type(run), vars(run)]))

    def file_name(self, model_name: str, fold: Split, seed: int) -> str:
        """Return the file of what a model answers for the test rows of a fold."""
        rows = [array_digest(part) for part in fold]
        return digest(self.data_digest, model_name, rows, seed) + ".npz"

    def read(self, name: str, shape: tuple[int, int, int]) -> tuple[Floats, float] | None:
        """Return answers (E, n, K) and the seconds that they took; None if they are not there.

        A damaged file is as good as none, with a warning.
        """
        path = self.folder / name
        try:
            if not path.is_file():
                return None
            limit = 2 * 8 * int(np.prod(shape)) + 65_536
            if path.stat().st_size > limit:
                raise ValueError
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                answers, seconds = arrays["answers"], arrays["seconds"]
            if answers.dtype != np.float64 or answers.shape != shape or seconds.shape != ():
                raise ValueError
            return answers, float(seconds)
        except Exception:  # whatever the bytes are, they are no answer
            msg = "checkpoint: a file of it is damaged. Its model is fitted again on that fold."
            warn_user(msg)
            return None

    def write(self, name: str, answers: Floats, seconds: float) -> None:
        """Keep answers (E, n, K); a disk that is full ends the keeping, not the comparison."""
        if not self.is_writable:
            return
        buffer = io.BytesIO()
        np.savez(buffer, answers=answers, seconds=np.float64(seconds))
        try:
            clear_leftovers(self.folder / name)
            write_file(self.folder / name, buffer.getvalue())
        except OSError as error:
            self.is_writable = False
            msg = (
                f"checkpoint: an answer could not be written ({error.strerror}). The comparison "
                "goes on without; if it is stopped, what follows is lost."
            )
            warn_user(msg)


# -- names of contents -----------------------------------------------------------------


def data_digest(data: ComparedRows) -> str:
    """Return a name for the contents of rows: cells, files that they name, targets, patients."""
    columns: dict[str, list[str]] = {}
    for encoder in data.encoders.values():
        for name in (*columns_of(encoder, data.frame), *encoder._columns_beside()):
            column = _column_digest(data.frame, name, encoder)
            columns.setdefault(name, []).append(column)
    target = (type(data.target).__name__, data.target.get_params(), data.target.class_names())
    rows = [array_digest(part) for part in (data.y, data.groups)]
    return digest(columns, target, rows, data.is_grouped, describe(data.encoders))


def _column_digest(frame: Frame, name: str, encoder: Encoder) -> str:
    kind = frame.kind(name)
    if kind in ("number", "boolean"):
        return digest(kind, array_digest(frame.numbers(name)))
    cells = encoder._cell_sources(frame, name)
    return digest(kind, [_cell_digest(cell, encoder.reads_files) for cell in cells])


def _cell_digest(cell: Any, reads_files: bool) -> object:
    if is_content(cell):
        return content_digest(cell) or _unknown()
    if not (cell and reads_files):
        return cell
    return file_digest(cell) or folder_digest(cell) or cell


def array_digest(array: NDArray[Any]) -> str:
    """Return a name for the type, shape and numbers of an array."""
    if array.dtype.hasobject:
        return digest("objects", array.shape, [describe(item) for item in array.ravel()])
    head = repr((array.dtype.str, array.shape)).encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def describe(value: Any) -> object:
    """Return plain values that are equal, also in another process, for equal parameters.

    Parameters of parameters are followed to the end, and classes down to their code. What
    cannot be told is equal to nothing.
    """
    return _Describer().of(value)


class _Describer:
    """Follows parameters, also where they lead back to themselves."""

    def __init__(self) -> None:
        self.path: list[int] = []

    def of(self, value: Any) -> object:
        """Return the description of a value."""
        if isinstance(value, _PLAIN):
            return (type(value).__name__, repr(value))
        if id(value) in self.path:
            return ("again", self.path.index(id(value)))
        if len(self.path) > _DEEPEST:
            return _unknown()
        self.path.append(id(value))
        try:
            return self._of_content(value)
        finally:
            self.path.pop()

    def _of_content(self, value: Any) -> object:
        if isinstance(value, type):
            return _describe_class(value)
        if isinstance(value, np.ndarray):
            return ("array", array_digest(value))
        kind = _describe_class(type(value))
        if isinstance(value, Mapping):
            return ("map", kind, [(self.of(k), self.of(value[k])) for k in value])
        if isinstance(value, list | tuple | range):
            return ("sequence", kind, [self.of(item) for item in value])
        if isinstance(value, set | frozenset):
            return ("set", kind, sorted(repr(self.of(item)) for item in value))
        if isinstance(value, types.FunctionType):
            return self._of_function(value)
        return self._of_object(value, kind)

    def _of_function(self, function: types.FunctionType) -> object:
        cells = function.__closure__ or ()
        try:
            closed = [self.of(cell.cell_contents) for cell in cells]
        except ValueError:  # a cell that is still empty
            return _unknown()
        defaults = self.of([function.__defaults__, function.__kwdefaults__])
        return ("function", function.__module__, _code(function.__code__), defaults, closed)

    def _of_object(self, value: Any, kind: object) -> object:
        if hasattr(value, "get_params"):
            params = value.get_params(deep=False)
            read = value._folders() if hasattr(value, "_folders") else {}  # of an encoder
            folders = [(name, folder_digest(path)) for name, path in read.items()]
            return ("estimator", kind, self.of(params), folders)
        if "torch" in sys.modules and isinstance(value, torch.nn.Module):
            return ("network", kind, network_digest(value), self.of(_own(value)))
        if isinstance(value, np.random.RandomState):
            return ("random", self.of(value.get_state(legacy=False)))
        if isinstance(value, np.random.Generator):
            return ("random", self.of(value.bit_generator.state))
        if isinstance(value, np.ufunc):
            return ("ufunc", kind, value.__name__)
        try:  # what would be needed to make it again
            made = value.__reduce_ex__(2)
        except Exception:  # whoever refuses to be copied cannot be told
            return _unknown()
        if isinstance(made, str):
            return ("name", kind, getattr(value, "__module__", None), made)
        if any(part is value for part in made[1]):
            return _unknown()
        rest = [None if part is None else list(part) for part in made[3:5]]
        return ("object", kind, self.of(list(made[:3])), self.of(rest))


def _unknown() -> object:
    """Return what is equal to nothing."""
    return ("unknown", uuid.uuid4().hex)


def _describe_class(kind: type) -> object:
    """Return names of a class and its bases, with the version of their package and their code."""
    told: list[object] = []
    for base in kind.__mro__:
        package = sys.modules.get(base.__module__.partition(".")[0])
        told.append((base.__module__, base.__qualname__, getattr(package, "__version__", None)))
        told += [
            (name, _code(code)) for name, member in vars(base).items() for code in _codes(member)
        ]
    return ("class", digest(told))


def _codes(member: Any) -> list[types.CodeType]:
    """Return the code of a member of a class: of a function, a method or a property."""
    if isinstance(member, property):
        functions = [member.fget, member.fset]
    else:
        functions = [getattr(member, "__func__", member)]
    plain = [inspect.unwrap(f) for f in functions if isinstance(f, types.FunctionType)]
    return [f.__code__ for f in plain if isinstance(f, types.FunctionType)]


def _own(network: torch.nn.Module) -> dict[str, Any]:
    """Return the settings of a network: what is neither private nor torch's."""
    return {
        name: value
        for name, value in vars(network).items()
        if not name.startswith("_") and name != "training"
    }


def _code(code: types.CodeType) -> object:
    """Return what a function does: its instructions, names and constants."""
    constants = [
        _code(item) if isinstance(item, types.CodeType) else repr(item)
        for item in code.co_consts
        if not isinstance(item, frozenset)
    ]
    sets = [sorted(map(repr, item)) for item in code.co_consts if isinstance(item, frozenset)]
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars)
    return (names, hashlib.sha256(code.co_code).hexdigest(), constants, sets)


def _versions() -> object:
    """Return what is installed, as far as answers may depend on it."""
    python = {key: value for key, value in _platform().items() if key != "system"}
    # What is installed, not what happens to be loaded: another process loads other parts.
    packages = ("numpy", "scipy", "scikit-learn", "torch", "pandas", "polars", "xgboost")
    installed = [(name, metadata.version(name)) for name in packages]
    return (
        __version__,
        python,
        sys.platform,
        _accelerator(),
        sorted(_packages().items()),
        installed,
    )
