"""Text backbones that start from nothing: a small transformer, and vectors as they are.

Dimensions: B rows of a batch, L token ids of a row, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.nn.network import Backbone, Inputs

_ROTARY_BASE = 10_000.0


class TransformerBackbone(Backbone):
    """Read word pieces with a small transformer that starts from nothing.

    Pre-norm layers with rotary positions, which need no parameter and know no longest
    note. Padding is invisible as a key and is cut off where it is padding in all rows of
    a batch, so a row gives the same result alone and among longer ones.

    Parameters
    ----------
    vocab_size : int
        Number of token ids.
    d_model : int
        Width D of tokens; an even multiple of `n_heads`.
    n_layers : int
        Transformer layers.
    n_heads : int
        Attention heads.
    dropout : float
        Dropout inside the layers.
    pool : bool
        Whether a row becomes one token, the mean of its word pieces.

    Shape
    -----
    - Input: ``ids`` (B, L) int64 and ``mask`` (B, L) bool, True = real.
    - Output: `Tokens` (B, 1, D) with `pool`, else (B, longest real row, D).

    Raises
    ------
    ConfigurationError
        If `d_model` is not an even multiple of `n_heads`.

    References
    ----------
    .. [1] Xiong et al., "On layer normalization in the transformer architecture", ICML
       2020. https://doi.org/10.48550/arXiv.2002.04745
    .. [2] Su et al., "RoFormer: enhanced transformer with rotary position embedding",
       Neurocomputing 2024. https://doi.org/10.1016/j.neucom.2023.127063

    Examples
    --------
    >>> backbone = TransformerBackbone(300)
    >>> ids = torch.tensor([[2, 17, 3, 0]])
    >>> backbone({"ids": ids, "mask": ids > 0}).values.shape
    torch.Size([1, 1, 64])
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        d_model: int = 64,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.1,
        pool: bool = True,
    ) -> None:
        super().__init__()
        if d_model % (2 * n_heads):
            msg = (
                "TransformerBackbone: expected d_model as an even multiple of n_heads, got "
                f"d_model={d_model} and n_heads={n_heads}."
            )
            raise ConfigurationError(msg)
        self.d_out = d_model
        self.d_head = d_model // n_heads
        self.pool = pool
        self.embedding = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.embedding.weight, std=d_model**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList([_Layer(d_model, n_heads, dropout) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, T, d_out)."""
        ids, mask = trim_padding(inputs["ids"], inputs["mask"])
        visible = open_empty_rows(mask)
        sequence = self.dropout(self.embedding(torch.where(mask, ids, 0)))
        angles = _rotary_angles(sequence, self.d_head)
        for layer in self.layers:
            sequence = layer(sequence, visible, angles)
        return finish_tokens(self.norm(sequence), mask, pool=self.pool)

    def last_block(self) -> nn.Module:
        """Return the last transformer layer."""
        return self.layers[-1]


class VectorBackbone(Backbone):
    """Pass vectors on that were computed before, such as tf-idf: nothing to learn.

    Parameters
    ----------
    d_in : int
        Width D of the vectors.

    Shape
    -----
    - Input: ``vectors`` (B, D), floating.
    - Output: `Tokens` (B, 1, D).

    Examples
    --------
    >>> VectorBackbone(3)({"vectors": torch.ones(2, 3)}).values.shape
    torch.Size([2, 1, 3])
    """

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.d_out = d_in
        # Follows `.to(dtype)`, as weights would; there is nothing in it to save.
        self.register_buffer("dtype_of", torch.empty(0), persistent=False)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return one token per row (B, 1, d_out)."""
        return Tokens.single(inputs["vectors"].to(self.get_buffer("dtype_of").dtype))


def trim_padding(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids and mask (B, L) without the places that are padding in every row."""
    if torch.compiler.is_compiling():
        return ids, mask  # an exported graph must not depend on the data
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    length = max(1, int((mask.any(dim=0) * places).amax()))
    return ids[:, :length], mask[:, :length]


def open_empty_rows(mask: Tensor) -> Tensor:
    """Return the mask (B, L) in which a row without any token sees its first place.

    A softmax over nothing is NaN, and NaN at a masked place still spoils gradients.
    """
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(dim=1)
    return mask | first


def finish_tokens(values: Tensor, mask: Tensor, *, pool: bool) -> Tokens:
    """Return values (B, L, D) as one token per row with `pool`, else as one per place."""
    tokens = Tokens(values, mask)
    return Tokens.single(tokens.pool(), present=tokens.present) if pool else tokens


def _rotary_angles(sequence: Tensor, d_head: int) -> Tensor:
    """Return the angle of each position and pair of features (L, d_head / 2), in radians."""
    device = sequence.device
    pairs = torch.arange(0, d_head, 2, device=device, dtype=torch.float32) / d_head
    positions = torch.arange(sequence.shape[1], device=device, dtype=torch.float32)
    return torch.outer(positions, _ROTARY_BASE**-pairs)


def _rotate(vectors: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair of features by its angle."""
    cosine, sine = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class _Layer(nn.Module):
    """Pre-norm self-attention with rotary positions, and a feed-forward network."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: Tensor, visible: Tensor, angles: Tensor) -> Tensor:
        """Return the sequence (B, L, D) after one layer."""
        attended = self._attend(self.norm_attention(sequence), visible, angles)
        sequence = sequence + self.dropout(attended)
        fed: Tensor = sequence + self.dropout(self.feed_forward(sequence))
        return fed

    def _attend(self, sequence: Tensor, visible: Tensor, angles: Tensor) -> Tensor:
        n_rows, length, width = sequence.shape
        heads = (self.n_heads, width // self.n_heads)  # not -1, which no rows leave open
        split = self.queries_keys_values(sequence).reshape(n_rows, length, 3, *heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # each (B, heads, L, d_head)
        attended = nn.functional.scaled_dot_product_attention(
            _rotate(queries, angles),
            _rotate(keys, angles),
            values,
            attn_mask=visible[:, None, None, :],
        )
        joined: Tensor = self.out(attended.transpose(1, 2).reshape(n_rows, length, width))
        return joined
