"""Gated fusion: a learned weight per modality and row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_number
from asfusion._tokens import Tokens
from asfusion.fusion._base import Fusion, presence


class Gated(Fusion):
    """Weigh modalities by a learned gate, per patient.

    Each modality is averaged over its real tokens, projected to ``d_out`` and summed
    with weights that are a softmax over the modalities **present** for that row; a small
    residual network then lets the summed modalities interact.

    Parameters
    ----------
    d_out : int
        Width of the fused vector.
    dropout : float
        Dropout on each projected modality.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality.

    Notes
    -----
    NOTE[DIFF]: the gated multimodal unit of the paper [1]_ gates each coordinate by a
    sigmoid of all modalities together; here the gate is one weight per modality, from
    its own content, and the weights sum to one over what is present. An absent modality
    therefore cannot move the others' contents, and the weights can be read as shares.

    References
    ----------
    .. [1] Arevalo et al., "Gated multimodal units for information fusion", ICLR
       workshop 2017. https://doi.org/10.48550/arXiv.1702.01992

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.Gated(d_out=8).build({"labs": 4})
    >>> head({"labs": Tokens.single(torch.zeros(2, 4))}).shape
    torch.Size([2, 8])
    """

    def __init__(self, *, d_out: int = 64, dropout: float = 0.0) -> None:
        super().__init__(d_out=d_out)
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create a projection and a gate for each modality."""
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(width, self.d_out), nn.SiLU(), nn.Dropout(self.dropout)
                )
                for name, width in dims.items()
            }
        )
        self.gate = nn.ModuleDict({name: nn.Linear(width, 1) for name, width in dims.items()})
        self.mix = nn.Sequential(
            nn.Linear(self.d_out, self.d_out), nn.SiLU(), nn.Linear(self.d_out, self.d_out)
        )

    def weights(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return each modality's share (B, M), in the order of `dims`; zeros where absent."""
        present = presence(tokens)
        pairs = [(self.gate[name], modality.pool()) for name, modality in tokens.items()]
        scores = torch.cat([gate(vector) for gate, vector in pairs], dim=1)
        # A finite floor instead of -inf: softmax over a row of -inf would be NaN.
        floor = torch.finfo(scores.dtype).min
        shares = torch.softmax(scores.masked_fill(~present, floor), dim=1)
        return shares * present

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mixed weighted sum (B, d_out)."""
        parts = [self.project[name](modality.pool()) for name, modality in tokens.items()]
        shared = (torch.stack(parts, dim=1) * self.weights(tokens).unsqueeze(-1)).sum(dim=1)
        return shared + self.mix(shared)  # type: ignore[no-any-return]
