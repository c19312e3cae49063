"""The bottleneck transformer: modalities exchange through a few tokens alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, check_number
from asfusion._tokens import Tokens
from asfusion.fusion._base import Fusion, presence
from asfusion.fusion._layers import Layer, check_heads, mean_of_present


class Bottleneck(Fusion):
    """Let modalities speak to each other through a few shared tokens alone.

    Each modality has transformer layers of its own, in which its tokens attend to each other
    and to the bottleneck tokens, and these to them. After every layer the bottleneck tokens are
    the mean of what the modalities that are present made of them [1]_: what passes between
    modalities has to be condensed, and one of many tokens cannot drown one of few.

    Parameters
    ----------
    d_out : int
        Width of tokens inside and of the fused vector; a multiple of `n_heads`.
    n_bottlenecks : int
        Tokens that modalities exchange through.
    n_heads : int
        Attention heads.
    n_layers : int
        Transformer layers of each modality. From two on, modalities act on each other.
    dropout : float
        Dropout inside the layers.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out). The same constant for every row without any modality.

    Raises
    ------
    ConfigurationError
        On `build`, if `d_out` is not a multiple of `n_heads`, or there is no layer or no
        bottleneck token.

    Notes
    -----
    NOTE[DIFF]: in the paper modalities exchange from a middle layer on, and the decisions of
    one class token per modality are averaged. Here the encoders are the layers before, all
    layers of the head exchange, and the fused vector is the mean of the bottleneck tokens.
    These do not attend to each other: beside four of them the single token of a table would
    hardly be heard, unlike the hundreds of an image.

    References
    ----------
    .. [1] Nagrani et al., "Attention bottlenecks for multimodal fusion", NeurIPS 2021.
       https://doi.org/10.48550/arXiv.2107.00135

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.Bottleneck(d_out=8, n_heads=2).build({"labs": 4})
    >>> head({"labs": Tokens.single(torch.zeros(2, 4))}).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        *,
        d_out: int = 32,
        n_bottlenecks: int = 4,
        n_heads: int = 4,
        n_layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(d_out=d_out)
        self.n_bottlenecks = n_bottlenecks
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create projections, the bottleneck tokens and a transformer for each modality."""
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_heads("Bottleneck", self.d_out, self.n_heads)
        check_integer(self.n_bottlenecks, "n_bottlenecks", minimum=1)
        check_integer(self.n_layers, "n_layers", minimum=1)
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out) for name, width in dims.items()}
        )
        self.bottlenecks = nn.Parameter(torch.empty(self.n_bottlenecks, self.d_out))
        nn.init.normal_(self.bottlenecks, std=0.02)
        self.layers = nn.ModuleList(
            [
                nn.ModuleDict(
                    {name: Layer(self.d_out, self.n_heads, self.dropout) for name in dims}
                )
                for _ in range(self.n_layers)
            ]
        )
        self.norm = nn.LayerNorm(self.d_out)

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the mean of the bottleneck tokens (B, d_out)."""
        present = presence(tokens)
        streams = {name: Tokens(self.project[name](t.values), t.mask) for name, t in tokens.items()}
        shared = self.bottlenecks.expand(present.shape[0], -1, -1)
        for number, layer in enumerate(cast("Sequence[nn.ModuleDict]", self.layers)):
            said = [layer[name](shared, *stream) for name, stream in streams.items()]
            if number + 1 < self.n_layers:  # of the last layer only the bottleneck is read
                streams = {name: _heard(layer[name], s, shared) for name, s in streams.items()}
            shared = mean_of_present(said, present, shared)
        return self.norm(shared.mean(dim=1))  # type: ignore[no-any-return]


def _heard(layer: nn.Module, stream: Tokens, shared: Tensor) -> Tokens:
    """Return a modality's tokens after they have attended to each other and to shared ones."""
    mask = torch.cat([stream.mask.new_ones(*shared.shape[:2]), stream.mask], dim=1)
    both = torch.cat([shared, stream.values], dim=1)
    return Tokens(layer(stream.values, both, mask), stream.mask)
