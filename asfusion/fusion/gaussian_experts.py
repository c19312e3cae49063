"""Product of Gaussian experts: each modality narrows what the others leave open."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, check_number
from asfusion._tokens import Tokens
from asfusion.fusion._base import Fusion, presence


class GaussianExperts(Fusion):
    """Multiply what modalities believe of one latent vector.

    Each modality gives a mean and a precision for each coordinate of a latent vector. Their
    product with a standard normal prior is again a Gaussian: precisions add up, and means are
    averaged by them. An absent modality is a factor of one, so it drops out exactly; where all
    are absent, the prior is left. In training a vector is drawn from the product, and its
    divergence from the prior is a small part of the loss; afterwards the mean is used. A small
    residual network reads the vector.

    Parameters
    ----------
    d_out : int
        Width of the latent and of the fused vector.
    d_hidden : int
        Width of the network of each modality.
    kl_weight : float
        Weight in the loss of the divergence from the prior (nats, summed over coordinates and
        averaged over rows).
    dropout : float
        Dropout in the network of each modality.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality, in evaluation.

    Notes
    -----
    NOTE[DIFF]: the paper [1]_ decodes the latent vector to the modalities themselves; here
    it is read for what is to be predicted, an information bottleneck. Subsets of modalities,
    which the paper samples in each step, come from ``modality_dropout`` of the estimator.

    References
    ----------
    .. [1] Wu and Goodman, "Multimodal generative models for scalable weakly-supervised
       learning", NeurIPS 2018. https://doi.org/10.48550/arXiv.1802.05335

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.GaussianExperts(d_out=8).build({"labs": 4}).eval()
    >>> nothing = Tokens.single(torch.zeros(2, 4), present=torch.zeros(2, dtype=torch.bool))
    >>> head.uncertainty({"labs": nothing}).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        *,
        d_out: int = 32,
        d_hidden: int = 32,
        kl_weight: float = 1e-3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(d_out=d_out)
        self.d_hidden = d_hidden
        self.kl_weight = kl_weight
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create the network of each modality, and the one that reads the latent vector."""
        check_integer(self.d_hidden, "d_hidden", minimum=1)
        check_number(self.kl_weight, "kl_weight", minimum=0.0)
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        self.believe = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(width, self.d_hidden),
                    nn.SiLU(),
                    nn.Dropout(self.dropout),
                    nn.Linear(self.d_hidden, 2 * self.d_out),
                )
                for name, width in dims.items()
            }
        )
        self.mix = nn.Sequential(
            nn.Linear(self.d_out, self.d_out), nn.SiLU(), nn.Linear(self.d_out, self.d_out)
        )

    def posterior(self, tokens: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """Return mean and variance (B, d_out) of the product; 0 and 1 where nothing is present."""
        ordered = {name: tokens[name] for name in self.dims}
        said = torch.stack([self.believe[name](t.pool()) for name, t in ordered.items()], dim=1)
        means, raw = said.chunk(2, dim=-1)
        here = presence(ordered).unsqueeze(-1)
        precisions = torch.where(here, nn.functional.softplus(raw), torch.zeros_like(raw))
        variance = 1.0 / (1.0 + precisions.sum(dim=1))
        return (precisions * means).sum(dim=1) * variance, variance

    def uncertainty(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the share (B,) of the prior's variance that is left, the mean of coordinates.

        A further modality never raises it, whether it agrees with the others or not: that is a
        product of Gaussians.
        """
        return self.posterior(tokens)[1].mean(dim=1)

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the latent vector as it is read (B, d_out)."""
        latent, variance = self.posterior(tokens)
        if self.training:
            self.own_loss = self.kl_weight * _divergence(latent, variance).mean()
            latent = latent + variance.sqrt() * torch.randn_like(latent)
        return latent + self.mix(latent)  # type: ignore[no-any-return]


def _divergence(mean: Tensor, variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (B,) from a standard normal, in nats."""
    return 0.5 * (variance + mean.square() - 1.0 - variance.log()).sum(dim=1)
