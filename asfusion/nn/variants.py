"""A transformer whose tokens are genetic variants.

Dimensions: B rows of a batch, Q tokens, F flags of missing calls, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asfusion.nn.ft_transformer import FTTransformerBackbone


class VariantTransformerBackbone(FTTransformerBackbone):
    """Attention over variants, each a token with an embedding of its gene.

    Parameters
    ----------
    n_tokens : int
        Variants and what is computed of them, Q.
    flagged : sequence of int
        The token of each flag: a missing call adds an embedding to its variant's token.
    genes : sequence of int
        Number of each token's gene; tokens of one gene share an embedding.
    d_hidden : int
        Width of the tokens D.
    n_layers : int
        Number of transformer blocks.
    dropout : float
        Dropout of attention and of the feed-forward layers.

    Shape
    -----
    - Input: ``{"x": (B, Q + F)}``, values before flags.
    - Output: `Tokens` (B, 1, d_hidden), the summary token.

    Examples
    --------
    >>> import torch
    >>> network = VariantTransformerBackbone(3, [1], [0, 0, 1], d_hidden=8)
    >>> network({"x": torch.zeros(2, 4)}).values.shape
    torch.Size([2, 1, 8])
    """

    flagged: Tensor
    gene_of: Tensor

    def __init__(
        self,
        n_tokens: int,
        flagged: Sequence[int],
        genes: Sequence[int],
        *,
        d_hidden: int = 32,
        n_layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(n_tokens, d_hidden=d_hidden, n_layers=n_layers, dropout=dropout)
        self.n_tokens = n_tokens
        # Positions follow from the description of the columns: no weights, nothing to store.
        for name, numbers in (("flagged", flagged), ("gene_of", genes)):
            self.register_buffer(
                name, torch.tensor(list(numbers), dtype=torch.int64), persistent=False
            )
        self.genes = nn.Embedding(max(genes) + 1, d_hidden)
        nn.init.uniform_(self.genes.weight, -(d_hidden**-0.5), d_hidden**-0.5)
        self.missing = nn.Parameter(torch.zeros(len(flagged), d_hidden)) if flagged else None

    def _embed(self, x: Tensor) -> list[Tensor]:
        """Return the variants as tokens, in one order for every row."""
        assert self.linear is not None  # there is at least one token
        tokens = self.linear(x[:, : self.n_tokens]) + self.genes(self.gene_of)
        if self.missing is not None:
            absent = x[:, self.n_tokens :].unsqueeze(-1) * self.missing
            tokens = tokens.index_add(1, self.flagged, absent)
        return [tokens]
