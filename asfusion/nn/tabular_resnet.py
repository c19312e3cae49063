"""A residual network with batch normalisation for tables.

Dimensions: B rows of a batch, F features, D width.
"""

from __future__ import annotations

from asfusion._tokens import Tokens
from asfusion.nn.network import Backbone, Inputs
from asfusion.nn.number_embeddings import NumberEmbedding


class TabularResNetBackbone(Backbone):
    """Residual blocks of two layers on a feature vector, with batch normalisation.

    Parameters
    ----------
    n_features : int
        Number of features F.
    d_hidden : int
        Width of the blocks and of the token D; the inside of a block is twice as wide.
    n_layers : int
        Number of blocks.
    dropout : float
        Dropout inside the blocks.
    numbers : NumberEmbedding, optional
        Embeddings of the numbers.

    Shape
    -----
    - Input: ``{"x": (B, F)}``; at least two rows in training (batch statistics).
    - Output: `Tokens` (B, 1, d_hidden).

    Notes
    -----
    The layers are those of ``rtdl_revisiting_models``.

    References
    ----------
    .. [1] Gorishniy, Rubachev, Khrulkov, Babenko, "Revisiting deep learning models for
       tabular data", NeurIPS 2021. https://doi.org/10.48550/arXiv.2106.11959

    Examples
    --------
    >>> import torch
    >>> TabularResNetBackbone(3, d_hidden=8).eval()({"x": torch.zeros(2, 3)}).values.shape
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
        from rtdl_revisiting_models import ResNet

        self.d_out = d_hidden
        self.numbers = numbers
        self.layers = ResNet(
            d_in=n_features if numbers is None else sum(numbers.widths),
            d_out=None,
            n_blocks=n_layers,
            d_block=d_hidden,
            d_hidden_multiplier=2.0,
            dropout1=dropout,
            dropout2=0.0,
        )

    def forward(self, inputs: Inputs) -> Tokens:
        """Return one token per row."""
        x = inputs["x"].to(self.layers.input_projection.weight.dtype)
        return Tokens.single(self.layers(x if self.numbers is None else self.numbers.flat(x)))
