"""Rows to learn from, and batches of them on the device.

Dimensions: N rows, B rows of a batch, K outputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asfusion._tokens import Prepared, Tokens
from asfusion.nn._asked import Precision
from asfusion.nn._placed import Placed, placed

_MOST_VALUES = 20_000_000
_RUNS = 64  # of neighbours, in what is drawn from at a time
_HASHED = 4096  # rows at a time


@dataclass(frozen=True, eq=False)
class Rows:
    """Prepared modalities of N rows with targets and weights.

    Parameters
    ----------
    modalities : mapping of str to Prepared
        One entry per modality, each of N rows.
    targets : Tensor of shape (N,) or (N, K)
        Class numbers (int64) or standardised regression targets.
    weights : Tensor of shape (N,)
        Weight of each row in the loss.
    positions : Tensor of int64, optional
        Which of the rows are meant; all of them by default.
    """

    modalities: Mapping[str, Prepared]
    targets: Tensor
    weights: Tensor
    positions: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.weights if self.positions is None else self.positions)

    def take(self, rows: Tensor) -> Rows:
        """Return the given rows; nothing is copied."""
        return replace(self, positions=self.at(rows))

    def at(self, rows: Tensor) -> Tensor:
        """Return where the given rows stand in the tensors."""
        return rows if self.positions is None else self.positions[rows]

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yield shuffled batches; rows on disk that lie together are drawn together."""
        near = min((prepared.n_near for prepared in self.modalities.values()), default=len(self))
        yield from batches(len(self), batch_size, near=near)

    def fingerprint(self) -> str:
        """Return a hash of the contents, which names the data of a checkpoint."""
        digest = hashlib.sha256()
        parts = [self.targets, self.weights]
        for name, prepared in sorted(self.modalities.items()):
            digest.update(name.encode())
            parts.extend([prepared.present, *(t for _, t in sorted(prepared.tensors.items()))])
        for tensor in parts:
            digest.update(repr((len(self), *tensor.shape[1:], tensor.dtype)).encode())
            for rows in torch.split(torch.arange(len(self)), _HASHED):
                part = tensor[self.at(rows)].contiguous().reshape(-1)
                digest.update(part.view(torch.uint8).numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Batch:
    """What the fusion network reads: inputs and presence of each modality."""

    inputs: dict[str, Placed | Tokens]
    present: Placed


def precision_of(modalities: Mapping[str, Prepared], precision: Precision = "auto") -> torch.dtype:
    """Return the precision of weights: what the inputs call for, or float64 where that is asked.

    Tables alone are prepared in float64 and stay so: their networks are small, and
    sums over rows then do not depend on how rows were grouped. Pixels, words and
    embeddings are computed in float32.
    """
    if precision == "float64":
        return torch.float64
    dtypes = {t.dtype for prepared in modalities.values() for t in prepared.tensors.values()}
    return torch.float64 if dtypes == {torch.float64} else torch.float32


def rows_per_pass(modalities: Mapping[str, Prepared], most: int) -> int:
    """Return how many rows pass a network at once where nothing is learned, at most `most`.

    Volumes are large, and what a network makes of them larger still: 128 of them would take
    tens of gigabytes.
    """
    tensors = [t for prepared in modalities.values() for t in prepared.tensors.values()]
    values = sum(t[0].numel() for t in tensors if len(t))
    return max(1, min(most, _MOST_VALUES // max(1, values)))


def collate(
    modalities: Mapping[str, Prepared],
    rows: Tensor,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Batch:
    """Return the given rows as a batch; the one place where absent rows become zeros."""
    present = {name: prepared.present[rows] for name, prepared in modalities.items()}
    inputs = {
        name: inputs_of(part, rows, present[name], device, dtype)
        for name, part in modalities.items()
    }
    return Batch(inputs, placed(present, device))


def inputs_of(
    prepared: Prepared, rows: Tensor, present: Tensor, device: torch.device, dtype: torch.dtype
) -> Placed | Tokens:
    """Return what the network of one modality reads of the given rows."""
    host = {key: tensor[rows] for key, tensor in prepared.tensors.items()}
    if not prepared.is_complete and not bool(present.all()):
        host = {key: _zero_absent(tensor, present) for key, tensor in host.items()}
    tensors = placed(host, device)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype != dtype:
            tensors[key] = tensor.to(dtype)
    if not prepared.is_embedded:
        return tensors
    tokens = Tokens(tensors["values"], tensors["mask"])
    return tokens.all_real() if prepared.is_complete else tokens


def batches(n_rows: int, batch_size: int, near: int | None = None) -> Iterator[Tensor]:
    """Yield shuffled batches; rows that fit into one stay as they are.

    With `near`, so many rows are shuffled at a time: short runs of neighbours from all over.
    """
    if n_rows <= batch_size:
        yield torch.arange(n_rows)
        return
    order = torch.randperm(n_rows) if near is None or near >= n_rows else _runs(n_rows, near)
    yield from torch.split(order, batch_sizes(n_rows, batch_size))


def _runs(n_rows: int, near: int) -> Tensor:
    """Return all rows in an order in which each `near` of them come from few places."""
    runs = torch.split(torch.arange(n_rows), max(1, near // _RUNS))
    drawn = torch.cat([runs[number] for number in torch.randperm(len(runs)).tolist()])
    parts = torch.split(drawn, near)
    return torch.cat([part[torch.randperm(len(part))] for part in parts])


def batch_sizes(n_rows: int, batch_size: int) -> list[int]:
    """Return the rows of each step of an epoch; a last batch of one row joins the one before."""
    full, rest = divmod(n_rows, batch_size)
    sizes = [batch_size] * full + [rest] * (rest > 0)
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


def _zero_absent(tensor: Tensor, present: Tensor) -> Tensor:
    where = present.reshape(-1, *([1] * (tensor.dim() - 1)))
    return torch.where(where, tensor, torch.zeros_like(tensor))


def drop_modalities(present: Mapping[str, Tensor], probability: float) -> dict[str, Tensor]:
    """Hide present modalities at random, leaving each row at least one that it had."""
    if probability <= 0.0 or len(present) < 2:
        return dict(present)
    had = torch.stack(list(present.values()), dim=1)
    kept = had & (torch.rand(had.shape, device=had.device) >= probability)
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, had)
    return {name: kept[:, i] for i, name in enumerate(present)}


def fewer_modalities(present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Hide a random part of each row's modalities: of two or more, at least one goes, one stays."""
    had = torch.stack(list(present.values()), dim=1)
    order = torch.where(had, torch.rand(had.shape, device=had.device), had.to(torch.float32) - 1.0)
    place = order.argsort(dim=1, descending=True).argsort(dim=1)
    # Of n modalities any number from 1 to n - 1 stays, each as likely.
    most = (had.sum(dim=1) - 1).clamp(min=1)
    stay = 1 + (torch.rand(len(had), device=had.device) * most).long()
    kept = had & (place < stay[:, None])
    return {name: kept[:, i] for i, name in enumerate(present)}
