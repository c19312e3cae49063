"""Multimodal adaptation gate: a main modality, shifted by what the others say."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_choice, check_number
from asfusion._tokens import Tokens
from asfusion.fusion._base import Fusion

_LEAST = 1e-6


class AdaptationGate(Fusion):
    """Shift each token of a main modality by a gated displacement from the others.

    The others are averaged over their real tokens. For each token of the main modality, a gate
    that has seen both lets through a part of what each of them adds, and the sum is at most
    `beta` times as long as the token. The shifted tokens are averaged, and a small residual
    network follows. An absent modality adds nothing. Where the main one is absent, a learned
    token stands for it, which the others shift without bound.

    Parameters
    ----------
    d_out : int
        Width of the fused vector.
    main : str, optional
        Name of the main modality: the one that says most, or has the most tokens, such as
        a note. None is the first of the model, in the order in which encoders are given. A
        single modality is the main one, whatever `main` names.
    beta : float
        Longest displacement, as a share of the length of the token that it shifts.
    dropout : float
        Dropout on the shifted tokens.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality.

    Raises
    ------
    ConfigurationError
        On `build`, if there is no modality `main`, or a number is unusable.

    Notes
    -----
    NOTE[DIFF]: the paper [1]_ shifts words inside a pretrained language model, aligned in time
    with sound and film, and adds a constant to every displacement. Here whole modalities shift
    tokens before they are averaged, and a main modality that is alone stays where it is.

    References
    ----------
    .. [1] Rahman et al., "Integrating multimodal information in large pretrained transformers",
       ACL 2020. https://doi.org/10.18653/v1/2020.acl-main.214

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.AdaptationGate(d_out=8, main="note").build({"labs": 4, "note": 16})
    >>> labs, note = torch.zeros(2, 4), torch.zeros(2, 16)
    >>> head({"labs": Tokens.single(labs), "note": Tokens.single(note)}).shape
    torch.Size([2, 8])
    """

    def __init__(
        self, *, d_out: int = 64, main: str | None = None, beta: float = 1.0, dropout: float = 0.0
    ) -> None:
        super().__init__(d_out=d_out)
        self.main = main
        self.beta = beta
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create the projection of the main modality, and gate and displacement of the others."""
        check_number(self.beta, "beta", minimum=0.0, exclusive=True)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        self.center = self._chosen(dims)
        others = {name: width for name, width in dims.items() if name != self.center}
        self.project = nn.Linear(dims[self.center], self.d_out)
        self.stand_in = nn.Parameter(torch.randn(self.d_out))
        self.gate_token = nn.ModuleDict(
            {name: nn.Linear(self.d_out, self.d_out) for name in others}
        )
        self.gate_other = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out, bias=False) for name, width in others.items()}
        )
        self.shift = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out) for name, width in others.items()}
        )
        self.norm = nn.Sequential(nn.LayerNorm(self.d_out), nn.Dropout(self.dropout))
        self.mix = nn.Sequential(
            nn.Linear(self.d_out, self.d_out), nn.SiLU(), nn.Linear(self.d_out, self.d_out)
        )

    def _chosen(self, dims: Mapping[str, int]) -> str:
        if self.main is None or len(dims) == 1:  # as where each modality gets its own network
            return next(iter(dims))
        return check_choice(self.main, "main", tuple(dims))

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mixed mean of the shifted tokens (B, d_out)."""
        main = tokens[self.center]
        # The stand-in is one token more, real where the main modality is absent.
        stand_in = self.stand_in.expand(main.mask.shape[0], 1, self.d_out)
        values = torch.cat([self.project(main.values), stand_in], dim=1)
        mask = torch.cat([main.mask, ~main.present.unsqueeze(1)], dim=1)
        shifted = self.norm(values + self._bounded(values, self._displacement(values, tokens)))
        shared = Tokens(shifted, mask).pool()
        return shared + self.mix(shared)  # type: ignore[no-any-return]

    def _displacement(self, values: Tensor, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return what the others add to each token (B, T + 1, d_out); zeros if none is there."""
        total = torch.zeros_like(values)
        for name, shift in self.shift.items():
            other = tokens[name].pool()
            gate = self.gate_token[name](values) + self.gate_other[name](other).unsqueeze(1)
            added = gate.relu() * shift(other).unsqueeze(1)
            here = tokens[name].present[:, None, None]
            total = total + torch.where(here, added, torch.zeros_like(added))
        return total

    def _bounded(self, values: Tensor, displacement: Tensor) -> Tensor:
        """Shorten what is longer than `beta` times its token; that of the stand-in is free."""
        length = torch.linalg.vector_norm(displacement, dim=-1, keepdim=True)
        longest = self.beta * torch.linalg.vector_norm(values, dim=-1, keepdim=True)
        factor = (longest / length.clamp(min=_LEAST)).clamp(max=1.0)
        return displacement * torch.cat([factor[:, :-1], torch.ones_like(factor[:, -1:])], dim=1)
