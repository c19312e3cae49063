"""What a frozen backbone said of a content, kept so that it is asked once per process.

Keys name contents and networks, never rows: the same image is embedded once for all
epochs, folds, seeds and fusion families, and a changed file or network is another key.
Dimensions: N rows, T tokens, D width.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from asfusion._later import torch
from asfusion._tokens import Tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

DEFAULT_BYTES = 512 * 2**20
_MEMOISED_FILES = 200_000


class Embedding(NamedTuple):
    """The tokens of one row without trailing padding: values (T, D) float32 and mask (T,)."""

    values: Tensor
    mask: Tensor

    @classmethod
    def of_row(cls, values: Tensor, mask: Tensor) -> Embedding:
        """Return a copy of one row (T, D) that keeps no batch alive."""
        real = torch.nonzero(mask)
        length = int(real[-1]) + 1 if len(real) else 0
        return cls(values[:length].to(torch.float32).clone(), mask[:length].clone())

    @property
    def n_bytes(self) -> int:
        """Memory of the tensors, in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self)


class PackedEmbeddings(NamedTuple):
    """Embeddings one after the other: names, shapes (T, D), values, and masks."""

    keys: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    values: NDArray[np.float32]
    masks: NDArray[np.bool_]


class EmbeddingCache:
    """Embeddings by key, of bounded size, the longest unused dropped first.

    Parameters
    ----------
    max_bytes : int
        Largest memory of all embeddings together. Zero keeps nothing.

    Notes
    -----
    Safe in threads. Nothing is shared between processes or written to disk.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._entries: OrderedDict[str, Embedding] = OrderedDict()
        self._lock = threading.Lock()
        self._noted: set[str] | None = None

    def __len__(self) -> int:
        """Return the number of embeddings."""
        return len(self._entries)

    def find(self, keys: Iterable[str | None]) -> dict[str, Embedding]:
        """Return the embeddings that are there, and count them as used."""
        with self._lock:
            found = {}
            for key in keys:
                if key is not None and key in self._entries:
                    self._note(key)
                    self._entries.move_to_end(key)
                    found[key] = self._entries[key]
            return found

    def put(self, key: str | None, embedding: Embedding) -> None:
        """Keep an embedding, unless it has no name, and drop old ones beyond the bound."""
        with self._lock:
            if key is None or key in self._entries or embedding.n_bytes > self.max_bytes:
                return
            self._note(key)
            self._entries[key] = embedding
            self.n_bytes += embedding.n_bytes
            while self.n_bytes > self.max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self.n_bytes -= dropped.n_bytes

    @contextmanager
    def noted(self) -> Iterator[set[str]]:
        """Give the keys that are found or put within the block."""
        keys: set[str] = set()
        self._noted = keys
        try:
            yield keys
        finally:
            self._noted = None

    def packed(self, keys: Iterable[str]) -> PackedEmbeddings:
        """Return what is there of the given keys, as few arrays that `adopt` reads elsewhere."""
        found = self.find(keys)
        values, masks = [e.values for e in found.values()], [e.mask for e in found.values()]
        return PackedEmbeddings(
            tuple(found),
            tuple((len(mask), part.shape[1]) for mask, part in zip(masks, values, strict=True)),
            torch.cat([part.ravel() for part in values]).numpy()
            if values
            else np.zeros(0, np.float32),
            torch.cat(masks).numpy() if masks else np.zeros(0, dtype=bool),
        )

    def adopt(self, packed: PackedEmbeddings) -> None:
        """Take over what `packed` returned in another process, where it lies."""
        if not packed.keys:
            return
        with warnings.catch_warnings():  # arrays that are mapped are not written to, nor are ours
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            values, masks = torch.from_numpy(packed.values), torch.from_numpy(packed.masks)
        sizes, lengths = [n * width for n, width in packed.shapes], [n for n, _ in packed.shapes]
        parts = zip(torch.split(values, sizes), torch.split(masks, lengths), strict=True)
        for key, shape, (part, mask) in zip(packed.keys, packed.shapes, parts, strict=True):
            self.put(key, Embedding(part.reshape(shape), mask))

    def _note(self, key: str) -> None:
        if self._noted is not None:
            self._noted.add(key)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()
            self.n_bytes = 0


EMBEDDINGS = EmbeddingCache()
"""The cache of this process, which `Encoder.embed` uses."""


def stack_embeddings(rows: Sequence[Embedding | None], width: int) -> Tokens:
    """Return embeddings as tokens (N, T, D), rows without one masked.

    Parameters
    ----------
    rows : sequence of Embedding or None
        One entry per row.
    width : int
        Width D of the tokens.

    Returns
    -------
    Tokens
        T is the length of the longest row, at least 1.
    """
    length = max([1, *(len(row.mask) for row in rows if row is not None)])
    values = torch.zeros(len(rows), length, width)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for position, row in enumerate(rows):
        if row is not None:
            values[position, : len(row.mask)] = row.values
            mask[position, : len(row.mask)] = row.mask
    return Tokens(values, mask)


# -- names of contents and networks ----------------------------------------------------


def digest(*parts: object) -> str:
    """Return a name for plain values: equal values, equal name."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


_files: OrderedDict[tuple[str, int, int], str] = OrderedDict()
_networks: WeakKeyDictionary[nn.Module, tuple[tuple[object, ...], str]] = WeakKeyDictionary()
_copies: dict[str, str] = {}  # a line for each network that was ever kept
_memo_lock = threading.Lock()


def file_digest(path: str | os.PathLike[str]) -> str | None:
    """Return a name for the contents of a file; None if it cannot be read.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Returns
    -------
    str or None
        SHA-256 of the bytes. A file is read again when its size or its time of change
        (to the nanosecond) is another.
    """
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        key = (os.path.realpath(path), status.st_size, status.st_mtime_ns)
        with _memo_lock:
            if key in _files:
                return _files[key]
        with Path(path).open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
    with _memo_lock:
        _files[key] = name
        while len(_files) > _MEMOISED_FILES:
            _files.popitem(last=False)
    return name


def network_digest(network: nn.Module) -> str:
    """Return a name for the weights of a network and the kind of device they are on.

    Parameters
    ----------
    network : nn.Module
        The network; weights are hashed again when any of them was written to. Copies of one that
        is kept (`asfusion.nn._kept`) are hashed once.

    Returns
    -------
    str
        SHA-256 over names, shapes, types and numbers of all weights and buffers.
    """
    from asfusion.nn._kept import name_of
    from asfusion.nn._passes import version_of

    version = version_of(network)
    with _memo_lock:
        known = _networks.get(network)
    if known is not None and known[0] == version:
        return known[1]
    name = name_of(network)
    with _memo_lock:
        found = None if name is None else _copies.get(name)
    found = found or _hashed(network)
    with _memo_lock:
        _networks[network] = (version, found)
        if name is not None:
            _copies[name] = found
    return found


def _hashed(network: nn.Module) -> str:
    weights = network.state_dict(keep_vars=True)
    hasher = hashlib.sha256(type(network).__name__.encode())
    for name, tensor in weights.items():
        hasher.update(repr((name, tuple(tensor.shape), tensor.dtype, tensor.device.type)).encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        hasher.update(flat.view(torch.uint8).numpy().data)
    return hasher.hexdigest()
