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
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from safetensors import safe_open

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

    def __len__(self) -> int:
        """Return the number of embeddings."""
        return len(self._entries)

    def find(self, keys: Iterable[str | None]) -> dict[str, Embedding]:
        """Return the embeddings that are there, and count them as used."""
        with self._lock:
            found = {}
            for key in keys:
                if key is not None and key in self._entries:
                    self._entries.move_to_end(key)
                    found[key] = self._entries[key]
            return found

    def put(self, key: str | None, embedding: Embedding) -> None:
        """Keep an embedding, unless it has no name, and drop old ones beyond the bound."""
        with self._lock:
            if key is None or key in self._entries or embedding.n_bytes > self.max_bytes:
                return
            self._entries[key] = embedding
            self.n_bytes += embedding.n_bytes
            while self.n_bytes > self.max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self.n_bytes -= dropped.n_bytes

    def save(self, path: Path) -> None:
        """Write everything, if there is any, to a file that `adopt` reads elsewhere."""
        with self._lock:
            parts = list(self._entries.items())
        tensors: dict[str, Tensor] = {}
        for number, (_, embedding) in enumerate(parts):
            tensors |= {f"values {number}": embedding.values, f"mask {number}": embedding.mask}
        names = {str(number): key for number, (key, _) in enumerate(parts)}
        if not tensors:  # safetensors cannot read back a file of none
            return
        from safetensors.torch import save_file

        save_file(tensors, path, metadata=names)

    def adopt(self, path: Path) -> None:
        """Take over what `save` wrote; nothing, where it had nothing to write."""
        if not path.exists():
            return
        with safe_open(path, framework="pt") as file:
            for number, key in (file.metadata() or {}).items():
                values = file.get_tensor(f"values {number}")
                self.put(key, Embedding(values, file.get_tensor(f"mask {number}")))

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
    from asfusion.nn._kept import name_of, version_of

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
