"""Layers of attention that several heads share.

Dimensions: B rows, M modalities, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer
from asfusion.exceptions import ConfigurationError
from asfusion.fusion._base import masked_mean


def check_heads(head: str, d_out: int, n_heads: int) -> None:
    """Raise unless the width can be split over the attention heads."""
    check_integer(n_heads, "n_heads", minimum=1)
    if d_out % n_heads:
        msg = (
            f"{head}: expected d_out as a multiple of n_heads, got "
            f"d_out={d_out} and n_heads={n_heads}."
        )
        raise ConfigurationError(msg)


def mean_of_present(said: Sequence[Tensor], present: Tensor, otherwise: Tensor) -> Tensor:
    """Return the mean (B, N, D) of what M modalities say over those that `present` (B, M) marks.

    Rows without any keep `otherwise` (B, N, D).
    """
    stacked = torch.stack(list(said), dim=1).flatten(2)
    mean = masked_mean(stacked, present).reshape(-1, *otherwise.shape[1:])
    return torch.where(present.any(dim=1)[:, None, None], mean, otherwise)


class Layer(nn.Module):
    """Pre-norm attention and feed-forward with a mask over keys."""

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

    def forward(self, own: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """Return own tokens (B, N, D) after they have attended to others (B, T, D).

        `mask` (B, T) hides others. What comes of rows where it hides all of them is finite, and
        means nothing. Own tokens attend to each other where they are among the others.
        """
        normed = self.norm_attention(others)
        asking = normed if own is others else self.norm_attention(own)
        # Softmax over no keys would be NaN.
        mask = mask | ~mask.any(dim=1, keepdim=True)
        own = own + self.dropout(self._attend(asking, normed, mask))
        return own + self.dropout(self.feed_forward(own))  # type: ignore[no-any-return]

    def _attend(self, own: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        n_rows, _, width = others.shape
        heads = (self.n_heads, width // self.n_heads)
        weight, bias = self.queries_keys_values.weight, self.queries_keys_values.bias
        asking = nn.functional.linear(own, weight[:width], bias[:width])
        asked = nn.functional.linear(others, weight[width:], bias[width:])
        # (B, heads, T, D / heads)
        queries = asking.reshape(n_rows, -1, *heads).transpose(1, 2)
        keys, values = asked.reshape(n_rows, -1, 2, *heads).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None, :]
        )
        return self.out(attended.transpose(1, 2).reshape(n_rows, -1, width))  # type: ignore[no-any-return]
