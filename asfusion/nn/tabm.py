"""TabM: many small networks on one table that share nearly all of their weights.

Dimensions: B rows of a batch, F features, K members, D width.
"""

from __future__ import annotations

from torch import Tensor

from asfusion._tokens import Tokens
from asfusion.nn.network import Backbone, Inputs
from asfusion.nn.number_embeddings import NumberEmbedding


class TabMBackbone(Backbone):
    """A parameter-efficient ensemble of MLPs.

    Parameters
    ----------
    n_features : int
        Number of features F.
    d_hidden : int
        Width of each member D.
    n_layers : int
        Layers of each member.
    dropout : float
        Dropout after each layer.
    n_members : int
        Number of members K.
    numbers : NumberEmbedding, optional
        Embeddings of the numbers, shared by the members.

    Shape
    -----
    - Input: ``{"x": (B, F)}``.
    - Output: `Tokens` (B, 1, d_hidden), the mean of the members.

    Notes
    -----
    The layers are those of ``tabm``. NOTE[DIFF]: in the paper each member predicts, has a
    loss of its own, and predictions are averaged. Here the members' vectors are averaged
    into one token, because a table is one of several modalities and what predicts comes
    after fusion; so the members learn from one common loss. `members` returns them apart.

    References
    ----------
    .. [1] Gorishniy, Kotelnikov, Babenko, "TabM: advancing tabular deep learning with
       parameter-efficient ensembling", ICLR 2025.
       https://doi.org/10.48550/arXiv.2410.24210

    Examples
    --------
    >>> import torch
    >>> TabMBackbone(3, d_hidden=8)({"x": torch.zeros(2, 3)}).values.shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        n_features: int,
        *,
        d_hidden: int = 64,
        n_layers: int = 2,
        dropout: float = 0.1,
        n_members: int = 16,
        numbers: NumberEmbedding | None = None,
    ) -> None:
        super().__init__()
        from tabm import make_tabm_backbone

        self.d_out = d_hidden
        self.n_members = n_members
        self.numbers = numbers
        # Members start apart by their view of whole features, not of parts of an embedding.
        widths = [1] * n_features if numbers is None else numbers.widths
        self.layers = make_tabm_backbone(
            d_in=sum(widths),
            n_blocks=n_layers,
            d_block=d_hidden,
            dropout=dropout,
            k=n_members,
            start_scaling_init="random-signs" if numbers is None else "normal",
            start_scaling_init_chunks=widths,
        )

    def forward(self, inputs: Inputs) -> Tokens:
        """Return one token per row: the mean of the members."""
        return Tokens.single(self.members(inputs).mean(dim=1))

    def members(self, inputs: Inputs) -> Tensor:
        """Return what each member makes of a row.

        Parameters
        ----------
        inputs : mapping
            ``{"x": (B, F)}``.

        Returns
        -------
        Tensor of shape (B, K, D)
            One vector per member.
        """
        x = inputs["x"].to(next(self.layers.parameters()).dtype)
        x = x if self.numbers is None else self.numbers.flat(x)
        members: Tensor = self.layers(x.unsqueeze(1).expand(-1, self.n_members, -1))
        return members
