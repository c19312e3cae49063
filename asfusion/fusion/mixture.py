"""Sparse mixture of experts that knows which modalities are absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from asfusion._checks import check_choice, check_integer, check_number
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._base import Fusion, presence

Gate: TypeAlias = Literal["softmax", "laplace"]
_LEAST = 1e-30  # a share of zero has an entropy of zero


class MixtureOfExperts(Fusion):
    """Let a router for each modality choose a few of the experts that all share.

    Each modality is averaged over its real tokens and projected to ``d_out``; an absent one
    is a learned vector of its own, so that its router can choose other experts than for
    a value. The router of a modality weighs its `top_k` experts, small networks that every
    modality may be sent to. What comes back is averaged over the modalities, and a small
    residual network lets them interact.

    Parameters
    ----------
    d_out : int
        Width of the fused vector, and inside the experts.
    n_experts : int
        Experts that the modalities share.
    top_k : int
        Experts that a modality of a row is sent to, at least 2: the share of a single one is
        1 whatever the router says, and teaches it nothing.
    gate : {"softmax", "laplace"}
        How well an expert suits a vector: their inner product, or minus their distance, which
        tells experts apart more evenly [1]_.
    balance : float
        Weight in the loss of how unevenly experts are used; 0 lets a few do all.
    dropout : float
        Dropout inside the experts.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality.

    Raises
    ------
    ConfigurationError
        On `build`, if there are fewer experts than `top_k`, or a number is unusable.

    Notes
    -----
    NOTE[DIFF]: the paper [1]_ puts such a layer into each block of a transformer, adds noise to
    the router, and also asks each modality to keep to few experts. Here it is one layer without
    noise, and the loss asks for one thing: that experts share the work of what is present.
    Every expert computes every vector, which is cheap at this size, and can be exported.

    References
    ----------
    .. [1] Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion",
       NeurIPS 2024. https://doi.org/10.48550/arXiv.2402.03226

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.MixtureOfExperts(d_out=8).build({"labs": 4, "mri": 16})
    >>> labs, mri = torch.zeros(2, 4), torch.zeros(2, 16)
    >>> head({"labs": Tokens.single(labs), "mri": Tokens.single(mri)}).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        *,
        d_out: int = 64,
        n_experts: int = 4,
        top_k: int = 2,
        gate: Gate = "softmax",
        balance: float = 0.01,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(d_out=d_out)
        self.n_experts = n_experts
        self.top_k = top_k
        self.gate: Gate = gate
        self.balance = balance
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create projections, vectors of absence, routers and experts."""
        self._check_parameters()
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out) for name, width in dims.items()}
        )
        self.absent = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(self.d_out)) for name in dims}
        )
        self.norm = nn.LayerNorm(self.d_out)
        self.router = nn.ModuleDict(
            {name: nn.Linear(self.d_out, self.n_experts, bias=False) for name in dims}
        )
        self.experts = nn.ModuleList([self._make_expert() for _ in range(self.n_experts)])
        self.mix = nn.Sequential(
            nn.Linear(self.d_out, self.d_out), nn.SiLU(), nn.Linear(self.d_out, self.d_out)
        )

    def _make_expert(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(self.d_out, self.d_out),
            nn.SiLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.d_out, self.d_out),
        )

    def _check_parameters(self) -> None:
        check_choice(self.gate, "gate", ("softmax", "laplace"))
        check_number(self.balance, "balance", minimum=0.0)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_integer(self.n_experts, "n_experts", minimum=2)
        if check_integer(self.top_k, "top_k", minimum=2) > self.n_experts:
            msg = (
                f"MixtureOfExperts: expected top_k of at most n_experts={self.n_experts}, got "
                f"{self.top_k}."
            )
            raise ConfigurationError(msg)

    def shares(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the experts' shares (B, M, E) in each modality; zeros but for `top_k`.

        Modalities are in the order of `dims`.
        """
        ordered = {name: tokens[name] for name in self.dims}
        return self._sparse(self._scores(self._read(ordered, presence(ordered))))

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mixed mean of what experts say (B, d_out)."""
        present = presence(tokens)
        said = self._read(tokens, present)
        scores = self._scores(said)
        if self.training:
            self.own_loss = self.balance * _unevenness(scores, present)
        answers = torch.stack([expert(said) for expert in self.experts], dim=2)
        expert_of = (self._sparse(scores).unsqueeze(-1) * answers).sum(dim=2)
        shared = (said + expert_of).mean(dim=1)
        return shared + self.mix(shared)  # type: ignore[no-any-return]

    def _read(self, tokens: Mapping[str, Tokens], present: Tensor) -> Tensor:
        """Return a vector for each modality (B, M, d_out), present or not."""
        vectors = [
            torch.where(present[:, i, None], self.project[name](t.pool()), self.absent[name])
            for i, (name, t) in enumerate(tokens.items())
        ]
        return self.norm(torch.stack(vectors, dim=1))  # type: ignore[no-any-return]

    def _scores(self, said: Tensor) -> Tensor:
        """Return how well each expert suits each modality (B, M, E)."""
        routers = [cast(Tensor, self.router[name].weight) for name in self.dims]
        experts = torch.stack(routers)  # (M, E, d_out)
        if self.gate == "laplace":
            distance: Tensor = torch.linalg.vector_norm(said.unsqueeze(2) - experts, dim=-1)
            return -distance
        return torch.einsum("bmd,med->bme", said, experts)

    def _sparse(self, scores: Tensor) -> Tensor:
        best, which = scores.topk(self.top_k, dim=-1)
        # Mixed precision gives a softmax in float32.
        shares = best.softmax(dim=-1).to(scores.dtype)
        return torch.zeros_like(scores).scatter(-1, which, shares)


def _unevenness(scores: Tensor, present: Tensor) -> Tensor:
    """Return how far the mean use of experts by what is present is from an equal one, in nats."""
    used = scores.softmax(dim=-1)
    if present.device.type == "cpu":
        if not bool(present.any()):
            return scores.new_zeros(())
        mean = used[present].mean(dim=0)
    else:  # nobody waits for a device to tell which there are
        some = present.unsqueeze(-1).to(used.dtype)
        mean = (used * some).sum(dim=(0, 1)) / some.sum().clamp(min=1.0)
        mean = torch.where(present.any(), mean, torch.full_like(mean, 1.0 / len(mean)))
    return math.log(scores.shape[-1]) + (mean * mean.clamp(min=_LEAST).log()).sum()
