"""Text backbones that start from nothing: a small transformer, and vectors as they are.

Dimensions: B rows of a batch, L token ids of a row, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from asfusion._tokens import Tokens, is_traced
from asfusion.exceptions import ConfigurationError
from asfusion.nn._placed import known, sent
from asfusion.nn.network import Backbone, Inputs

Pooling: TypeAlias = Literal["mean", "cls", "last", "attention"]
Read: TypeAlias = Callable[[Tensor, Tensor], Tokens]

_ROTARY_BASE = 10_000.0
_BUCKET_WASTE = 512  # padded places that cost about as much as one more pass


class TransformerBackbone(Backbone):
    """Read word pieces with a small transformer that starts from nothing.

    Pre-norm layers with rotary positions, which need no parameter and know no longest
    note. Padding is invisible as a key, and rows of a batch pass in buckets of about equal
    length, each cut to its longest, so that little padding is computed.

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
        Whether a row (or a window of it) becomes one token.
    pooling : {"mean", "cls", "last", "attention"}
        How: the mean of its word pieces, the first or the last of them, or a mean with learned
        weights.

    Shape
    -----
    - Input: ``ids`` (B, L) int64 and ``mask`` (B, L) bool, True = real; or (B, W, L) for rows
      of up to W windows.
    - Output: `Tokens` (B, W, D) with `pool`, W = 1 without windows, else (B, W times longest
      real window, D).

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
        pooling: Pooling = "mean",
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
        self.layers = nn.ModuleList(
            [RotaryLayer(d_model, n_heads, dropout) for _ in range(n_layers)]
        )
        self.norm = nn.LayerNorm(d_model)
        self.finish = Finish(d_model, pool=pool, pooling=pooling)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, T, d_out)."""
        return read_windows(self._read, inputs["ids"], inputs["mask"], known(inputs, "mask"))

    def _read(self, ids: Tensor, mask: Tensor) -> Tokens:
        visible = open_empty_rows(mask)
        sequence = self.dropout(self.embedding(torch.where(mask, ids, 0)))
        angles = _rotary_angles(sequence, self.d_head)
        for layer in self.layers:
            sequence = layer(sequence, visible, angles)
        tokens: Tokens = self.finish(self.norm(sequence), mask)
        return tokens

    def last_block(self) -> nn.Module:
        """Return the last transformer layer."""
        return self.layers[-1]

    def embedding_table(self) -> nn.Module:
        """Return what turns token ids into embeddings."""
        return self.embedding


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


def trim_padding(ids: Tensor, mask: Tensor, host: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids and mask (B, L) without the places that are padding in every row."""
    places = torch.arange(1, host.shape[1] + 1, device=host.device)
    length = max(1, int((host.any(dim=0) * places).amax()))
    return ids[:, :length], mask[:, :length]


def open_empty_rows(mask: Tensor) -> Tensor:
    """Return the mask (B, L) in which a row without any token sees its first place.

    A softmax over nothing is NaN, and NaN at a masked place still spoils gradients.
    """
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(dim=1)
    return mask | first


class Finish(nn.Module):
    """Turn the values of word pieces into the tokens of a row.

    Parameters
    ----------
    width : int
        Width D.
    pool : bool
        Whether a row becomes one token.
    pooling : {"mean", "cls", "last", "attention"}
        How.
    unit_length : bool
        Whether that token is scaled to length one.
    """

    def __init__(
        self, width: int, *, pool: bool, pooling: Pooling = "mean", unit_length: bool = False
    ) -> None:
        super().__init__()
        self.pool, self.pooling, self.unit_length = pool, pooling, unit_length
        self.scores: nn.Linear | None = None
        if pool and pooling == "attention":
            self.scores = nn.Linear(width, 1)
            nn.init.zeros_(self.scores.weight)  # a plain mean to begin with
            nn.init.zeros_(self.scores.bias)

    def forward(self, values: Tensor, mask: Tensor) -> Tokens:
        """Return one token per row with `pool`, else one per place (B, L, D)."""
        tokens = Tokens(values, mask)
        if not self.pool:
            return tokens
        if self.pooling == "cls":
            vectors = tokens.clean_values()[:, 0]
        elif self.pooling == "last":
            places = torch.arange(mask.shape[1], device=mask.device)
            last = (mask * places).amax(dim=1)[:, None, None]
            chosen = tokens.clean_values().gather(1, last.expand(-1, 1, values.shape[2]))
            vectors = chosen.squeeze(1)
        elif self.scores is not None:
            scores = self.scores(tokens.clean_values()).squeeze(-1)
            hidden = ~open_empty_rows(mask)
            weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=1)
            vectors = (weights.unsqueeze(-1) * tokens.clean_values()).sum(dim=1)
        else:
            vectors = tokens.pool()
        if self.unit_length:
            vectors = nn.functional.normalize(vectors, dim=-1)
        return Tokens.single(vectors, present=tokens.present)


def read_windows(read: Read, ids: Tensor, mask: Tensor, host: Tensor | None = None) -> Tokens:
    """Read rows, or the windows of each, and return their tokens side by side.

    Parameters
    ----------
    read : callable
        From ids and mask (R, L) to tokens (R, T, D).
    ids, mask : Tensor of shape (B, L) or (B, W, L)
        Rows, or up to W windows of each.
    host : Tensor, optional
        The mask on the CPU, where the other one is on a device.

    Returns
    -------
    Tokens
        Values of shape (B, T, D), or (B, W * T, D).
    """
    host = mask if host is None else host
    if ids.dim() == 2:
        return read_buckets(read, ids, mask, host)
    n_rows, n_windows, length = ids.shape
    flat_ids = ids.reshape(n_rows * n_windows, length)
    flat_mask = mask.reshape(n_rows * n_windows, length)
    if is_traced():
        tokens = read(flat_ids, flat_mask)
    else:  # windows that a row does not have cost nothing
        flat_host = host.reshape(n_rows * n_windows, length)
        rows = torch.nonzero(flat_host.any(dim=1)).flatten()
        there = sent(rows, ids.device)
        some = read_buckets(read, flat_ids[there], flat_mask[there], flat_host[rows])
        values = some.values.new_zeros(len(flat_ids), *some.values.shape[1:])
        real = some.mask.new_zeros(len(flat_ids), some.mask.shape[1])
        tokens = Tokens(
            values.index_copy(0, there, some.values), real.index_copy(0, there, some.mask)
        )
    width, each = tokens.values.shape[2], tokens.values.shape[1]
    return Tokens(
        tokens.values.reshape(n_rows, n_windows * each, width),
        tokens.mask.reshape(n_rows, n_windows * each),
    )


def read_buckets(read: Read, ids: Tensor, mask: Tensor, host: Tensor) -> Tokens:
    """Read rows in buckets of about equal length, and return them in their order.

    Rows are not reordered between batches: every batch stays a random one, and only what is
    computed of it changes.
    """
    if is_traced():  # an exported graph must not depend on the data
        return read(ids, mask)
    if len(ids) < 2:
        return read(*trim_padding(ids, mask, host))
    places = torch.arange(1, host.shape[1] + 1, device=host.device)
    lengths = (host * places).amax(dim=1)
    order = torch.argsort(lengths, descending=True, stable=True)
    sizes = _bucket_sizes(lengths[order].tolist())
    if len(sizes) == 1:
        return read(*trim_padding(ids, mask, host))
    ordered = sent(order, ids.device)
    parts = [
        read(*trim_padding(ids[there], mask[there], host[rows]))
        for rows, there in zip(torch.split(order, sizes), torch.split(ordered, sizes), strict=True)
    ]
    longest = max(part.mask.shape[1] for part in parts)
    values = torch.cat([_pad_places(part.values, longest) for part in parts])
    real = torch.cat([nn.functional.pad(p.mask, (0, longest - p.mask.shape[1])) for p in parts])
    back = sent(torch.argsort(order), ids.device)
    return Tokens(values[back], real[back])


def _pad_places(values: Tensor, length: int) -> Tensor:
    return nn.functional.pad(values, (0, 0, 0, length - values.shape[1]))


def _bucket_sizes(lengths: list[int]) -> list[int]:
    """Return how many rows, the longest first, pass together: a cut where padding outweighs it."""
    sizes, waste, longest = [0], 0, lengths[0]
    for length in lengths:
        if waste + longest - length > _BUCKET_WASTE:
            sizes.append(0)
            waste, longest = 0, length
        waste += longest - length
        sizes[-1] += 1
    return sizes


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


class RotaryLayer(nn.Module):
    """Pre-norm self-attention with rotary positions, and a feed-forward network.

    Parameters
    ----------
    width : int
        Width D.
    n_heads : int
        Attention heads; D is an even multiple of it.
    dropout : float
        Dropout on what each half adds.
    """

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
        """Return the sequence (B, L, D) after one layer.

        `angles` are radians of each position and pair of features, (L, D / heads / 2), or
        (B, 1, L, D / heads / 2) where rows have positions of their own.
        """
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
