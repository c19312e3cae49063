"""Cross-modal attention over the tokens of all modalities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, check_number
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._base import Fusion


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
    >>> from asfusion import Tokens, fusion
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
        if self.d_out % self.n_heads:
            msg = (
                f"CrossAttention: expected d_out as a multiple of n_heads, got "
                f"d_out={self.d_out} and n_heads={self.n_heads}."
            )
            raise ConfigurationError(msg)
        check_integer(self.n_layers, "n_layers", minimum=1)
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, self.d_out) for name, width in dims.items()}
        )
        self.mark = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(self.d_out)) for name in dims}
        )
        self.summary = nn.Parameter(0.02 * torch.randn(self.d_out))
        self.layers = nn.ModuleList(
            [_Layer(self.d_out, self.n_heads, self.dropout) for _ in range(self.n_layers)]
        )
        self.norm = nn.LayerNorm(self.d_out)

    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the summary token (B, d_out)."""
        n_rows, device = next(iter(tokens.values())).mask.shape[0], self.summary.device
        if not self.training and not torch.compiler.is_compiling():
            # Nobody attends to a modality that no row of the batch has. In training it stays,
            # so that its weights have a gradient, if one of zeros, in every step.
            tokens = {name: t for name, t in tokens.items() if bool(t.mask.any())}
        summary = self.summary.expand(n_rows, 1, self.d_out)
        parts = [self.project[name](t.values) + self.mark[name] for name, t in tokens.items()]
        # The summary token is always visible: no row of keys is ever empty.
        always = torch.ones(n_rows, 1, dtype=torch.bool, device=device)
        sequence = torch.cat([summary, *parts], dim=1)
        mask = torch.cat([always, *[t.mask for t in tokens.values()]], dim=1)
        *layers, last = self.layers
        for layer in layers:
            sequence = layer(sequence, mask)
        # Of the last layer only the summary is read.
        return self.norm(last(sequence, mask, n_out=1)[:, 0])  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """Pre-norm self-attention and feed-forward with a mask over keys."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: Tensor, mask: Tensor, n_out: int | None = None) -> Tensor:
        """Return the first `n_out` tokens, by default all T, after one layer.

        All tokens of `sequence` (B, T, D) are attended to but those that `mask` (B, T) hides.
        """
        kept = sequence[:, :n_out]
        kept = kept + self.dropout(self._attend(self.norm_attention(sequence), mask, n_out))
        return kept + self.dropout(self.feed_forward(kept))  # type: ignore[no-any-return]

    def _attend(self, sequence: Tensor, mask: Tensor, n_out: int | None) -> Tensor:
        n_rows, _, width = sequence.shape
        heads = (self.n_heads, width // self.n_heads)
        weight, bias = self.queries_keys_values.weight, self.queries_keys_values.bias
        asking = nn.functional.linear(sequence[:, :n_out], weight[:width], bias[:width])
        asked = nn.functional.linear(sequence, weight[width:], bias[width:])
        # (B, heads, T, D / heads)
        queries = asking.reshape(n_rows, -1, *heads).transpose(1, 2)
        keys, values = asked.reshape(n_rows, -1, 2, *heads).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None, :]
        )
        return self.out(attended.transpose(1, 2).reshape(n_rows, -1, width))  # type: ignore[no-any-return]
