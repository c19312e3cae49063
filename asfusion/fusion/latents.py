"""Latents that read the modalities: the Perceiver's way, for any number of tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, check_number
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._base import Fusion, presence
from asfusion.fusion._layers import Layer, check_heads, mean_of_present

# A saved model cannot ask for more work than its weights show, save here, where layers share them.
_MOST_LAYERS = 64


class Latents(Fusion):
    """Let a few learned latent tokens read every modality, again and again.

    The latents attend to each modality that a row has, by weights of that modality [2]_, and
    then to each other [1]_; this is done `n_layers` times by the same weights, and the fused
    vector is the mean of the latents. The cost grows with the number of tokens, not with its
    square. A modality that a row lacks is skipped.

    Parameters
    ----------
    d_out : int
        Width of the latents and of the fused vector; a multiple of `n_heads`.
    n_latents : int
        Latent tokens.
    n_heads : int
        Attention heads.
    n_layers : int
        Times that the latents read all modalities, at most 64; the number of weights stays.
    dropout : float
        Dropout inside the layers.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality.

    Raises
    ------
    ConfigurationError
        On `build`, if `d_out` is not a multiple of `n_heads`, there is no layer or latent, or too
        many layers.

    Notes
    -----
    NOTE[DIFF]: HEALNet [2]_ reads modalities one after the other, each from where the one before
    left the latents, so that their order matters. Here all are read from the same latents, and
    what the present ones make of them is averaged: there is no order, and nobody waits for a
    modality that a row lacks.

    References
    ----------
    .. [1] Jaegle et al., "Perceiver: general perception with iterative attention", ICML 2021.
       https://doi.org/10.48550/arXiv.2103.03206
    .. [2] Hemker et al., "HEALNet: multimodal fusion for heterogeneous biomedical data",
       NeurIPS 2024. https://doi.org/10.48550/arXiv.2311.09115

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.Latents(d_out=8, n_heads=2).build({"labs": 4})
    >>> head({"labs": Tokens.single(torch.zeros(2, 4))}).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        *,
        d_out: int = 32,
        n_latents: int = 4,
        n_heads: int = 4,
        n_layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(d_out=d_out)
        self.n_latents = n_latents
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create projections, the latents, a layer to read each modality and one to mix."""
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_heads("Latents", self.d_out, self.n_heads)
        check_integer(self.n_latents, "n_latents", minimum=1)
        check_integer(self.n_layers, "n_layers", minimum=1)
        if self.n_layers > _MOST_LAYERS:
            msg = f"Latents, n_layers: expected at most {_MOST_LAYERS}, got {self.n_layers}."
            raise ConfigurationError(msg)
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out) for name, width in dims.items()}
        )
        self.latents = nn.Parameter(torch.empty(self.n_latents, self.d_out))
        nn.init.normal_(self.latents, std=0.02)
        self.read = nn.ModuleDict(
            {name: Layer(self.d_out, self.n_heads, self.dropout) for name in dims}
        )
        self.mix = Layer(self.d_out, self.n_heads, self.dropout)
        self.norm = nn.LayerNorm(self.d_out)

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mean of the latents (B, d_out)."""
        present = presence(tokens)
        visible = present.new_ones(present.shape[0], self.n_latents)
        contents = {
            name: Tokens(self.project[name](t.values), t.mask) for name, t in tokens.items()
        }
        latents = self.latents.expand(present.shape[0], -1, -1)
        for _ in range(self.n_layers):
            said = [self.read[name](latents, *part) for name, part in contents.items()]
            latents = mean_of_present(said, present, latents)
            latents = self.mix(latents, latents, visible)
        return self.norm(latents.mean(dim=1))  # type: ignore[no-any-return]
