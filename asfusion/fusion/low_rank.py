"""Low-rank tensor fusion: modalities multiply."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, check_number
from asfusion._tokens import Tokens
from asfusion.fusion._base import Fusion


class LowRank(Fusion):
    """Multiply projections of the modalities: every product between them at little cost.

    The outer product of all modalities holds each interaction between them, and grows with
    every modality. Its weights are taken to be of low rank [1]_: each modality, averaged over
    its real tokens, is projected to `rank` vectors, vectors of the same rank are multiplied
    coordinate by coordinate, and the products are averaged over ranks. An absent modality
    multiplies by a vector of its own that is learned, and starts at one: it says nothing.

    Parameters
    ----------
    d_out : int
        Width of the fused vector.
    rank : int
        Products that are averaged; more of them can hold more kinds of interaction.
    dropout : float
        Dropout on each averaged modality.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality.

    Notes
    -----
    NOTE[DIFF]: projections start around one, and one is subtracted from the mean of the
    products. A product of small random factors would hardly learn, the less so the more
    modalities there are; this way each modality also speaks for itself from the start. The
    weights over ranks are left out, since the projections can hold them.

    References
    ----------
    .. [1] Liu et al., "Efficient low-rank multimodal fusion with modality-specific factors",
       ACL 2018. https://doi.org/10.18653/v1/P18-1209

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.LowRank(d_out=8, rank=2).build({"labs": 4})
    >>> head({"labs": Tokens.single(torch.zeros(2, 4))}).shape
    torch.Size([2, 8])
    """

    def __init__(self, *, d_out: int = 64, rank: int = 4, dropout: float = 0.0) -> None:
        super().__init__(d_out=d_out)
        self.rank = rank
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create a projection and a vector of absence for each modality."""
        check_integer(self.rank, "rank", minimum=1)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        wide = self.rank * self.d_out
        self.project = nn.ModuleDict({name: nn.Linear(width, wide) for name, width in dims.items()})
        for name in dims:
            nn.init.ones_(self.project[name].bias)  # type: ignore[arg-type]
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.ones(wide)) for name in dims})
        self.drop = nn.Dropout(self.dropout)

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mean product (B, d_out), less one."""
        factors = [
            torch.where(
                t.present[:, None], self.project[name](self.drop(t.pool())), self.absent[name]
            )
            for name, t in tokens.items()
        ]
        product = math.prod(factors[1:], start=factors[0])
        return product.reshape(-1, self.rank, self.d_out).mean(dim=1) - 1.0
