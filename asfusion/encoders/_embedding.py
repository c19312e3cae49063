"""Rows through a frozen backbone: where it computes, and how processes share them.

Dimensions: N rows, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._later import torch
from asfusion._launch import shares_work
from asfusion._progress import progress, shown_by_caller
from asfusion._tokens import Prepared, Tokens
from asfusion.encoders._cache import Embedding, stack_embeddings

if TYPE_CHECKING:
    from torch import Tensor

    from asfusion.nn._ranks import Ranks
    from asfusion.nn.network import EncoderNetwork

_ON_DEVICE = 64  # rows that pass at once where that is no CPU, to begin with
_MOST_VALUES = 20_000_000  # of their contents


def embed_prepared(
    network: EncoderNetwork, prepared: Prepared, batch_size: int = 8, device: str = "cpu"
) -> Prepared:
    """Run the backbone over prepared rows in batches, present rows only.

    The network stays on the CPU, as it was, whatever happens; on a device computes a copy, by
    larger batches, or by smaller ones where its memory runs out.

    Every pass has as many rows, the last one filled up with copies: a CPU picks its way
    through a sum by the shape of a batch, and so a row's last bits would depend on how many
    rows it came with.
    """
    from asfusion.nn._asked import asked_precision
    from asfusion.nn._device import resolve_device
    from asfusion.nn._passes import passes, sizes

    rows = torch.nonzero(prepared.present).flatten()
    if "mask" in prepared.tensors:  # sequences: batches of equal length have little padding
        lengths = prepared.tensors["mask"][rows].flatten(1).sum(dim=1)
        rows = rows[torch.argsort(lengths, stable=True)]
    where = resolve_device(device)
    most = batch_size if where.type == "cpu" else max(batch_size, _rows_at_once(prepared))
    with _computing(network, where) as there, torch.no_grad(), passes(where, asked_precision()):

        def run(batch: Tensor, size: int) -> tuple[Tensor, Tokens]:
            from asfusion.nn._placed import placed

            full = torch.cat([batch, batch[-1:].expand(size - len(batch))])
            inputs = placed({k: v[full] for k, v in prepared.tensors.items()}, where)
            values, mask = there.embed(inputs)
            return batch, Tokens(values[: len(batch)], mask[: len(batch)])

        parts = sizes.in_parts(network, rows, most, run)
        with shown_by_caller():
            shown = progress(parts, "Embedding", total=-(-len(rows) // most), unit="batch")
        found = list(_on_host(shown))
    return Prepared.embedded(_scatter(found, len(prepared), network), prepared.present)


@contextmanager
def _computing(network: EncoderNetwork, where: torch.device) -> Iterator[Any]:
    """Give the network that computes: itself on a CPU, else its copy on the device."""
    from asfusion.nn._passes import copies

    if where.type != "cpu":
        yield copies.of(network, where, None)
        return
    was_training = network.training
    try:
        yield network.to(where).eval()
    finally:
        network.train(was_training)


def _rows_at_once(prepared: Prepared) -> int:
    values = sum(t[0].numel() for t in prepared.tensors.values() if len(t))
    return max(1, min(_ON_DEVICE, _MOST_VALUES // max(1, values)))


def _on_host(parts: Iterator[tuple[Tensor, Tokens]]) -> Iterator[tuple[Tensor, Tokens]]:
    """Yield parts on the CPU; while one is copied, the device works at the next."""
    before: tuple[Tensor, Tokens] | None = None
    for part in parts:
        if before is not None:
            yield before[0], _copied(before[1])
        before = part
    if before is not None:
        yield before[0], _copied(before[1])


def _copied(tokens: Tokens) -> Tokens:
    values = tokens.values.cpu()
    wide = values.float() if values.dtype == torch.bfloat16 else values
    return Tokens(wide, tokens.mask.cpu())


def _scatter(parts: Sequence[tuple[Tensor, Tokens]], n: int, network: EncoderNetwork) -> Tokens:
    """Place embedded rows among all rows; sequences may differ in length between batches."""
    length = max((part.values.shape[1] for _, part in parts), default=1)
    dtype = parts[0][1].values.dtype if parts else torch.get_default_dtype()
    values = torch.zeros(n, length, network.backbone.d_out, dtype=dtype)
    mask = torch.zeros(n, length, dtype=torch.bool)
    for batch, part in parts:
        values[batch, : part.values.shape[1]] = part.values
        mask[batch, : part.mask.shape[1]] = part.mask
    return Tokens(values, mask)


def way_of_passes(device: str) -> str:
    """Return the kind of device and the precision, where that is another one than usual."""
    from asfusion.nn._asked import asked_precision
    from asfusion.nn._device import resolve_device

    kind, precision = resolve_device(device).type, asked_precision()
    usual = precision == "auto" or (kind == "cpu" and precision != "bfloat16")
    return kind if usual else f"{kind} {precision}"


# -- several processes -----------------------------------------------------------------


def sharing() -> Sharing | None:
    """Return how the ranks of torchrun share rows; None where this process works by itself."""
    if not shares_work():
        return None
    from asfusion.nn._ranks import ranks

    found = ranks()
    return None if found is None else Sharing(found)


class Sharing:
    """Rows that several processes embed, each once, and all then have."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def missing(self, n_rows: int, misses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return positions of the rows that any process has yet to embed."""
        self._ranks.check_same(n_rows.to_bytes(8, "little"), "number of rows")
        lacks = torch.zeros(n_rows, dtype=torch.uint8)
        lacks[torch.from_numpy(misses)] = 1
        return np.flatnonzero(self._ranks.gather(lacks).amax(dim=0).numpy())

    def embed(
        self,
        embed: Callable[[NDArray[np.int64]], dict[int, Embedding]],
        rows: NDArray[np.int64],
        keys: Sequence[str | None],
        width: int,
    ) -> dict[int, Embedding]:
        """Return the embeddings of rows by position; one process embeds each content."""
        names = {int(row): keys[row] or f"row {row}" for row in rows}
        leaders: dict[str, int] = {}
        for row, name in names.items():
            leaders.setdefault(name, row)
        own = self._ranks.own(torch.tensor(list(leaders.values()))).numpy()
        found = embed(own) if len(own) else {}
        all_of_them = self._gather([found.get(int(row)) for row in own], len(leaders), width)
        by_name = dict(zip(leaders, all_of_them, strict=True))
        told = {row: by_name[name] for row, name in names.items()}
        return {row: embedding for row, embedding in told.items() if embedding is not None}

    def _gather(
        self, own: Sequence[Embedding | None], n: int, width: int
    ) -> list[Embedding | None]:
        values, mask = stack_embeddings(own, width)
        longest = self._ranks.most([mask.shape[1]])[0]
        more = longest - mask.shape[1]
        there = torch.tensor([row is not None for row in own], dtype=torch.uint8).unsqueeze(1)
        flags = torch.nn.functional.pad(mask.to(torch.uint8), (0, more))
        values = self._ranks.interleave(torch.nn.functional.pad(values, (0, 0, 0, more)), n)
        flags = self._ranks.interleave(torch.cat([flags, there], dim=1), n).bool()
        return [
            Embedding.of_row(row, flag[:-1]) if bool(flag[-1]) else None
            for row, flag in zip(values, flags, strict=True)
        ]
