"""Frozen backbones with weights of others, read from disk once and copied from then on.

A comparison fits the same encoder in every fold, for every way of fusion. Its backbone is
the same in all of them: building it, drawing weights that are then overwritten and hashing those
that were read takes longer than all that is learned.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from asfusion._random import torch_seed
from asfusion.nn._hub import find_file
from asfusion.nn._passes import version_of
from asfusion.nn.network import Backbone

_MOST_BYTES = 512 << 20


class Kept(NamedTuple):
    """Which backbone a copy is of, as long as its weights are as they were copied."""

    name: str
    version: tuple[object, ...]


class KeptBackbones:
    """Backbones by name, of bounded size, the longest unused dropped first.

    What is handed out is a copy, so that nothing that is done to it, or learned by it, is seen by
    others. Safe in threads; nothing is shared between processes.

    Parameters
    ----------
    max_bytes : int
        Largest memory of all of them together. A larger network is built anew each time.
    """

    def __init__(self, max_bytes: int = _MOST_BYTES) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._entries: OrderedDict[str, Backbone] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._entries)

    def copy_of(self, name: str, make: Callable[[], Backbone]) -> Backbone:
        """Return a copy of the backbone of that name, which is made where there is none.

        It is made from a seed of its own: what is drawn behind it does not depend on whether it
        was there.
        """
        found = self.find(name)
        if found is None:
            # One thread at a time is in here, and another may have made it meanwhile.
            with torch_seed(0):
                found = self.find(name) or self._put(name, make().eval())
        made = copy.deepcopy(found)
        vars(made)["kept_as"] = Kept(name, version_of(made))
        return made

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()
            self.n_bytes = 0

    def find(self, name: str) -> Backbone | None:
        """Return the backbone of a name, which nobody may change; None if it is not kept."""
        with self._lock:
            if name in self._entries:
                self._entries.move_to_end(name)
            return self._entries.get(name)

    def _put(self, name: str, made: Backbone) -> Backbone:
        size = _n_bytes(made)
        with self._lock:
            if size <= self.max_bytes:
                self._entries[name] = made
                self.n_bytes += size
            while self.n_bytes > self.max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self.n_bytes -= _n_bytes(dropped)
        return made


KEPT = KeptBackbones()
"""The backbones of this process."""


def name_of(network: nn.Module) -> str | None:
    """Return of which backbone that is kept a network is a copy to the bit; None if of none.

    Training writes the best weights back, frozen ones, too: what was written to is compared.
    """
    kept: Kept | None = vars(network).get("kept_as")
    if kept is None:
        return None
    version = version_of(network)
    if kept.version == version:
        return kept.name
    first = KEPT.find(kept.name)
    if first is None or not _are_equal(first, network):
        return None
    vars(network)["kept_as"] = Kept(kept.name, version)
    return kept.name


def _are_equal(first: nn.Module, second: nn.Module) -> bool:
    weights, others = first.state_dict(), second.state_dict()
    same = weights.keys() == others.keys() and all(
        others[name].dtype == tensor.dtype and others[name].device == tensor.device
        for name, tensor in weights.items()
    )
    return same and all(torch.equal(others[name], tensor) for name, tensor in weights.items())


def _n_bytes(network: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def weights_known(source: str, *, download: bool) -> tuple[Any, ...] | None:
    """Return what tells the files of weights apart from others, without reading them.

    Parameters
    ----------
    source : str
        A file, a folder, or a name on the Hugging Face hub.
    download : bool
        Whether the hub may be asked.

    Returns
    -------
    tuple or None
        Place, size and time of change of each file; None where there is none on this machine.
    """
    path = Path(source)
    if not path.exists():
        found = find_file(source, "config.json", download=download)
        if found is None:
            return None
        path = Path(found).parent  # named by the commit
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    states = [(file.resolve(), file.stat()) for file in files]
    return tuple((str(file), s.st_size, s.st_mtime_ns, s.st_ino) for file, s in states) or None
