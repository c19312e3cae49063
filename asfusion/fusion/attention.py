"""Cross-modal attention over the tokens of all modalities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, check_number
from asfusion._tokens import Tokens, is_traced
from asfusion.fusion._base import Fusion
from asfusion.fusion._layers import Layer, check_heads


class CrossAttention(Fusion):
    """Let every token of every modality attend to all others.

    Tokens are projected to one width, marked by a learned vector of their modality, and
    pass with a summary token through a small pre-norm transformer; the summary token is
    the fused vector. Masked tokens are invisible as keys, so any subset of modalities
    may be absent. No position is added: the result does not depend on the order of
    modalities or of tokens (encoders mark positions where they matter).

    Parameters
    ----------
    d_out : int
        Width of tokens inside and of the fused vector; a multiple of `n_heads`.
    n_heads : int
        Attention heads.
    n_layers : int
        Transformer layers.
    dropout : float
        Dropout inside the layers.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name).
    - Output: (B, d_out).

    Raises
    ------
    ConfigurationError
        On `build`, if `d_out` is not a multiple of `n_heads`, or there is no layer.

    References
    ----------
    .. [1] Vaswani et al., "Attention is all you need", NeurIPS 2017.
       https://doi.org/10.48550/arXiv.1706.03762
    .. [2] Tsai et al., "Multimodal transformer for unaligned multimodal language
       sequences", ACL 2019. https://doi.org/10.18653/v1/P19-1656

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.CrossAttention(d_out=8, n_heads=2).build({"labs": 4})
    >>> head({"labs": Tokens.single(torch.zeros(2, 4))}).shape
    torch.Size([2, 8])
    """

    def __init__(
        self, *, d_out: int = 64, n_heads: int = 4, n_layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__(d_out=d_out)
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.dropout = dropout

    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create projections, modality marks, the summary token and the transformer."""
        check_number(self.dropout, "dropout", minimum=0.0, maximum=0.99)
        check_heads("CrossAttention", self.d_out, self.n_heads)
        check_integer(self.n_layers, "n_layers", minimum=1)
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out) for name, width in dims.items()}
        )
        self.mark = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(self.d_out)) for name in dims}
        )
        self.summary = nn.Parameter(0.02 * torch.randn(self.d_out))
        self.layers = nn.ModuleList(
            [Layer(self.d_out, self.n_heads, self.dropout) for _ in range(self.n_layers)]
        )
        self.norm = nn.LayerNorm(self.d_out)

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the summary token (B, d_out)."""
        n_rows, device = next(iter(tokens.values())).mask.shape[0], self.summary.device
        if not self.training and not is_traced() and device.type == "cpu":
            # Nobody attends to a modality that no row of the batch has. In training it stays,
            # so that its weights have a gradient, if one of zeros, in every step; on a GPU, too,
            # which would have to be waited for.
            tokens = {name: t for name, t in tokens.items() if bool(t.mask.any())}
        summary = self.summary.expand(n_rows, 1, self.d_out)
        parts = [self.project[name](t.values) + self.mark[name] for name, t in tokens.items()]
        # The summary token is always visible: no row of keys is ever empty.
        always = torch.ones(n_rows, 1, dtype=torch.bool, device=device)
        sequence = torch.cat([summary, *parts], dim=1)
        mask = torch.cat([always, *[t.mask for t in tokens.values()]], dim=1)
        *layers, last = self.layers
        for layer in layers:
            sequence = layer(sequence, sequence, mask)
        # Of the last layer only the summary is read.
        return self.norm(last(sequence[:, :1], sequence, mask)[:, 0])  # type: ignore[no-any-return]
