"""Concatenation: the plain head that others have to beat."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_number
from asfusion._tokens import Tokens
from asfusion.fusion._base import Fusion, presence


class Concat(Fusion):
    """Put the modalities side by side and mix them with a small network.

    Each modality is averaged over its real tokens; an absent one contributes a learned
    vector of its own instead of zeros, so that absence differs from an average patient.

    Parameters
    ----------
    d_out : int
        Width of the fused vector.
    dropout : float
        Dropout before the mixing layer.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out).

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.Concat(d_out=8).build({"labs": 4})
    >>> head({"labs": Tokens.single(torch.zeros(2, 4))}).shape
    torch.Size([2, 8])
    """

    def __init__(self, *, d_out: int = 64, dropout: float = 0.0) -> None:
        super().__init__(d_out=d_out)
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create the mixing layer and one learned vector per modality for its absence."""
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        self.absent = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(width)) for name, width in dims.items()}
        )
        self.mix = nn.Sequential(
            nn.Dropout(self.dropout), nn.Linear(sum(dims.values()), self.d_out), nn.SiLU()
        )

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mixed concatenation (B, d_out)."""
        present = presence(tokens)
        parts = [
            torch.where(present[:, i, None], modality.pool(), self.absent[name])
            for i, (name, modality) in enumerate(tokens.items())
        ]
        return self.mix(torch.cat(parts, dim=1))  # type: ignore[no-any-return]
