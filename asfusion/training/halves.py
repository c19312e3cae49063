"""A prediction, whole or in two halves: encode rows once, then decide as often as needed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from asfusion._tokens import Prepared, Tokens
from asfusion.nn._asked import Precision
from asfusion.nn._passes import sizes
from asfusion.nn.network import EncoderNetwork, FusionNetwork, Inputs
from asfusion.training.rows import Rows, collate, precision_of, rows_per_pass
from asfusion.training.runner import Runner

PREDICT_BATCH = 128
_ENCODE_BATCH, _DECIDE_BATCH = 32, 1024


def predict_rows(
    network: FusionNetwork, rows: Rows, *, device: str = "auto", precision: Precision = "auto"
) -> Tensor:
    """Return outputs (N, K) in float64 on the CPU, each row independent of the others."""
    runner = Runner(device, precision_of(rows.modalities, precision), precision)
    with runner.holding(network) as there:

        def run(part: Tensor, size: int) -> Tensor:
            batch = runner.collate(rows.modalities, rows.at(part))
            said: Tensor = there(batch.inputs, batch.present)
            return said.to(runner.dtype)

        size = rows_per_pass(rows.modalities, PREDICT_BATCH)
        # On the device until all are there: each copy to the host would wait for its batch.
        parts = [*sizes.in_parts(network, torch.arange(len(rows)), size, run)]
        return torch.cat(parts).cpu().double()


def encode_rows(
    network: EncoderNetwork,
    prepared: Prepared,
    *,
    device: str = "auto",
    n_views: int = 1,
    precision: Precision = "auto",
) -> Tokens:
    """Return the tokens of one modality, absent rows masked, on the CPU.

    Parameters
    ----------
    network : EncoderNetwork
        The trained network of the modality.
    prepared : Prepared
        N rows, embedded already or not.
    device : str
        ``"auto"``, or a torch device.
    n_views : int
        Views of each row, moved a little, whose tokens are averaged; the first is the row
        as it is. Rows that are embedded already have only that one.
    precision : {"auto", "float32", "float64", "bfloat16"}
        As in `TrainingOptions`.

    Returns
    -------
    Tokens
        Values of shape (N, T, D).
    """
    runner = Runner(device, _dtype(network), precision)
    with runner.holding(network) as there:

        def run(rows: Tensor, size: int) -> Tokens:
            batch = collate({"one": prepared}, rows, device=runner.device, dtype=runner.dtype)
            tokens = _mean_of_views(there, batch.inputs["one"], n_views)
            tokens = tokens.keep(batch.present["one"])
            return Tokens(tokens.values.to("cpu", runner.dtype), tokens.mask.cpu())

        size = rows_per_pass({"one": prepared}, _ENCODE_BATCH)
        parts = [*sizes.in_parts(network, torch.arange(len(prepared)), size, run)]
    return Tokens(torch.cat([p.values for p in parts]), torch.cat([p.mask for p in parts]))


def _mean_of_views(network: EncoderNetwork, inputs: Inputs | Tokens, n_views: int) -> Tokens:
    if isinstance(inputs, Tokens) or n_views < 2:
        return network(inputs)  # type: ignore[no-any-return]
    views = [network(network.backbone.view(inputs, number)) for number in range(n_views)]
    return Tokens(torch.stack([view.values for view in views]).mean(dim=0), views[0].mask)


def decide_rows(
    network: FusionNetwork,
    tokens: Mapping[str, Tokens],
    *,
    device: str = "auto",
    precision: Precision = "auto",
) -> Tensor:
    """Return outputs (N, K) in float64 on the CPU from encoded modalities.

    Parameters
    ----------
    network : FusionNetwork
        The trained network, of which fusion head and output layer are used.
    tokens : mapping of str to Tokens
        Every modality's tokens of N rows, absent ones masked.
    device : str
        ``"auto"``, or a torch device.
    precision : {"auto", "float32", "float64", "bfloat16"}
        As in `TrainingOptions`.

    Returns
    -------
    Tensor of shape (N, K)
        Logits, or scaled targets.
    """
    runner = Runner(device, _dtype(network), precision)
    order = _by_presence(tokens)
    with runner.holding(network) as there:

        def run(rows: Tensor, size: int) -> Tensor:
            batch = {
                name: Tokens(part.values[rows].to(runner.device), part.mask[rows].to(runner.device))
                for name, part in tokens.items()
            }
            said: Tensor = there.predict(batch)
            return said.to(runner.dtype)

        parts = [*sizes.in_parts(network.fusion, order, _DECIDE_BATCH, run)]
        outputs = torch.cat(parts).cpu().double()
    return torch.empty_like(outputs).index_copy_(0, order, outputs)


def _by_presence(tokens: Mapping[str, Tokens]) -> Tensor:
    """Return positions (N,) of rows, those with the same modalities side by side.

    A batch in which nobody has a modality costs a head less than one in which somebody has.
    """
    return torch.from_numpy(np.lexsort([part.present.numpy() for part in tokens.values()]))


def _dtype(network: torch.nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
