"""FT-Transformer: every feature is a token, and attention mixes them.

Dimensions: B rows of a batch, F features, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from asfusion._tokens import Tokens
from asfusion.nn.network import Backbone, Inputs
from asfusion.nn.number_embeddings import NumberEmbedding

# Attention costs the square of the features: beyond this many, keys and values are
# compressed to this many.
_MOST_KEYS = 64
_HEADS = (8, 4, 2, 1)


class FTTransformerBackbone(Backbone):
    """Feature-tokenizer transformer.

    Parameters
    ----------
    n_features : int
        Number of features F.
    d_hidden : int
        Width of the tokens D.
    n_layers : int
        Number of transformer blocks.
    dropout : float
        Dropout of attention and of the feed-forward layers.
    numbers : NumberEmbedding, optional
        Embeddings of width `d_hidden` for the numbers; all other features, and the numbers
        too where there is none, have a linear embedding each.

    Shape
    -----
    - Input: ``{"x": (B, F)}``.
    - Output: `Tokens` (B, 1, d_hidden), the summary token.

    Notes
    -----
    Blocks and linear embeddings are those of ``rtdl_revisiting_models``, with as many of 8
    heads as divide the width; attention is torch's own fused one, which can be exported for
    batches of any size. NOTE[DIFF]: with more than 64 features, keys and values are each
    compressed to 64 by a learned map per layer [2]_, so that 600 columns fit into memory.

    References
    ----------
    .. [1] Gorishniy, Rubachev, Khrulkov, Babenko, "Revisiting deep learning models for
       tabular data", NeurIPS 2021. https://doi.org/10.48550/arXiv.2106.11959
    .. [2] Wang et al., "Linformer: self-attention with linear complexity", 2020.
       https://doi.org/10.48550/arXiv.2006.04768

    Examples
    --------
    >>> import torch
    >>> FTTransformerBackbone(3, d_hidden=8)({"x": torch.zeros(2, 3)}).values.shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        n_features: int,
        *,
        d_hidden: int = 64,
        n_layers: int = 2,
        dropout: float = 0.1,
        numbers: NumberEmbedding | None = None,
    ) -> None:
        super().__init__()
        from rtdl_revisiting_models import FTTransformerBackbone as Blocks
        from rtdl_revisiting_models import LinearEmbeddings

        self.d_out = d_hidden
        self.numbers = numbers
        n_linear = n_features if numbers is None else numbers.n_others
        self.linear = LinearEmbeddings(n_linear, d_hidden) if n_linear else None
        self.summary = nn.Parameter(
            torch.empty(d_hidden).uniform_(-(d_hidden**-0.5), d_hidden**-0.5)
        )
        self.blocks = Blocks(
            d_out=None,
            n_blocks=n_layers,
            d_block=d_hidden,
            attention_n_heads=1,
            attention_dropout=0.0,
            # "ReGLU" has half its inner width as gates: 4/3 is about two widths of a plain one.
            ffn_d_hidden_multiplier=4 / 3,
            ffn_dropout=dropout,
            residual_dropout=0.0,
        )
        n_keys = 1 + n_features if n_features > _MOST_KEYS else None
        for block in self.blocks.blocks:
            block["attention"] = _Attention(d_hidden, dropout=dropout, n_keys=n_keys)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return one token per row: what the summary token gathered."""
        x = inputs["x"].to(self.summary.dtype)
        parts = [self.summary.expand(x.shape[0], 1, -1), *self._embed(x)]
        return Tokens.single(self.blocks(torch.cat(parts, dim=1)))

    def _embed(self, x: Tensor) -> list[Tensor]:
        """Return the features as tokens, in one order for every row."""
        if self.numbers is None:
            embedded, others = [], x
        else:
            numbers, others = self.numbers(x)
            embedded = [numbers]
        return embedded if self.linear is None else [*embedded, self.linear(others)]


class _Attention(nn.Module):
    """Multi-head attention, with keys and values compressed where there are `n_keys` of them."""

    def __init__(self, width: int, *, dropout: float, n_keys: int | None) -> None:
        super().__init__()
        self.n_heads = next(n for n in _HEADS if width % n == 0)
        self.dropout = dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(layer.bias)
        self.shorten_keys = None if n_keys is None else nn.Linear(n_keys, _MOST_KEYS, bias=False)
        self.shorten_values = None if n_keys is None else nn.Linear(n_keys, _MOST_KEYS, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return what the tokens `x` gather from `context`."""
        keys = _shorten(self.key(context), self.shorten_keys)
        values = _shorten(self.value(context), self.shorten_values)
        gathered = functional.scaled_dot_product_attention(
            self._split(self.query(x)),
            self._split(keys),
            self._split(values),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(gathered.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, tokens: Tensor) -> Tensor:
        apart = tokens.reshape(*tokens.shape[:2], self.n_heads, -1)
        return apart.transpose(1, 2)


def _shorten(tokens: Tensor, layer: nn.Linear | None) -> Tensor:
    """Return fewer tokens, each a mixture of all of them."""
    if layer is None:
        return tokens
    fewer: Tensor = layer(tokens.transpose(1, 2))
    return fewer.transpose(1, 2)
