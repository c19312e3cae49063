"""Number embeddings: one number becomes a vector before a network mixes the columns.

Dimensions: B rows of a batch, F features, N of which are numbers, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

EmbeddingKind: TypeAlias = Literal["piecewise_linear", "periodic"]


class NumberEmbedding(nn.Module):
    """Embed the numbers among the features; flags and levels of categories pass as they are.

    Parameters
    ----------
    n_features : int
        Number of features F.
    numbers : mapping of int to sequence of float
        Positions of the features that are numbers, each with the edges of its bins, rising
        and unitless like the features. Edges are read by ``"piecewise_linear"`` only, where a
        number with fewer than three (one bin or none) passes as it is.
    kind : {"piecewise_linear", "periodic"}
        Where a number lies within its bins, through a linear layer of its own; or sines
        and cosines of it with learned frequencies.
    d_embedding : int
        Width D of an embedding.

    Shape
    -----
    - Input: (B, F).
    - Output: (B, N, D) embedded numbers, and (B, F - N) the other features.

    Notes
    -----
    The layers are those of ``rtdl_num_embeddings``. Piecewise-linear embeddings are its
    version "B", which starts as a linear embedding and learns the bends.

    References
    ----------
    .. [1] Gorishniy, Rubachev, Babenko, "On embeddings for numerical features in tabular
       deep learning", NeurIPS 2022. https://doi.org/10.48550/arXiv.2203.05556

    Examples
    --------
    >>> import torch
    >>> embed = NumberEmbedding(3, {0: [-1.0, 0.0, 1.0], 2: [0.0, 1.0, 5.0]}, d_embedding=4)
    >>> embedded, others = embed(torch.zeros(2, 3))
    >>> embedded.shape, others.shape
    (torch.Size([2, 2, 4]), torch.Size([2, 1]))
    """

    numbers: Tensor
    others: Tensor

    def __init__(
        self,
        n_features: int,
        numbers: Mapping[int, Sequence[float]],
        *,
        kind: EmbeddingKind = "piecewise_linear",
        d_embedding: int = 8,
    ) -> None:
        super().__init__()
        from rtdl_num_embeddings import PeriodicEmbeddings, PiecewiseLinearEmbeddings

        if kind == "piecewise_linear":
            numbers = {position: edges for position, edges in numbers.items() if len(edges) > 2}
        others = [position for position in range(n_features) if position not in numbers]
        # Positions follow from the description of the table: no weights, nothing to store.
        self.register_buffer(
            "numbers", torch.tensor(list(numbers), dtype=torch.int64), persistent=False
        )
        self.register_buffer("others", torch.tensor(others, dtype=torch.int64), persistent=False)
        self.d_embedding = d_embedding
        self.n_numbers, self.n_others = len(numbers), len(others)
        self.layers: nn.Module | None = None
        if not numbers:
            return
        if kind == "periodic":
            self.layers = PeriodicEmbeddings(len(numbers), d_embedding, lite=False)
        else:
            bins = [torch.tensor(list(edges)) for edges in numbers.values()]
            self.layers = PiecewiseLinearEmbeddings(
                bins, d_embedding, activation=False, version="B"
            )

    @property
    def widths(self) -> list[int]:
        """Widths of the parts of `flat`, in its order: one per feature."""
        return [self.d_embedding] * self.n_numbers + [1] * self.n_others

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return embedded numbers (B, N, D) and the other features (B, F - N)."""
        others = x[:, self.others]
        if self.layers is None:
            return x.new_zeros(x.shape[0], 0, self.d_embedding), others
        return self.layers(x[:, self.numbers]), others

    def flat(self, x: Tensor) -> Tensor:
        """Return everything side by side, (B, N * D + F - N)."""
        embedded, others = self(x)
        return torch.cat([embedded.flatten(1), others], dim=1)
