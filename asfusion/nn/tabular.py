"""Backbones for tables: a residual MLP, and TabNet.

Dimensions: B rows of a batch, F features, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asfusion._tokens import Tokens
from asfusion.nn.network import Backbone, Inputs
from asfusion.nn.number_embeddings import NumberEmbedding


class MLPBackbone(Backbone):
    """A small residual network on a feature vector.

    Parameters
    ----------
    n_features : int
        Number of features F.
    d_hidden : int
        Width of the hidden layers and of the token.
    n_layers : int
        Number of residual blocks.
    dropout : float
        Dropout inside the blocks.
    numbers : NumberEmbedding, optional
        Embeddings of the numbers.

    Shape
    -----
    - Input: ``{"x": (B, F)}``.
    - Output: `Tokens` (B, 1, d_hidden).

    Examples
    --------
    >>> import torch
    >>> MLPBackbone(3, d_hidden=8)({"x": torch.zeros(2, 3)}).values.shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        n_features: int,
        *,
        d_hidden: int = 64,
        n_layers: int = 2,
        dropout: float = 0.0,
        numbers: NumberEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.d_out = d_hidden
        self.numbers = numbers
        d_in = n_features if numbers is None else sum(numbers.widths)
        self.first = nn.Linear(d_in, d_hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(d_hidden),
                nn.Linear(d_hidden, d_hidden),
                nn.SiLU(),
                nn.Dropout(dropout),
                nn.Linear(d_hidden, d_hidden),
            )
            for _ in range(n_layers)
        )

    def forward(self, inputs: Inputs) -> Tokens:
        """Return one token per row."""
        x = inputs["x"].to(self.first.weight.dtype)
        hidden = self.first(x if self.numbers is None else self.numbers.flat(x))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return Tokens.single(hidden)


class TabNetBackbone(Backbone):
    """TabNet's encoder: several steps, each looking at a few features.

    Parameters
    ----------
    n_features : int
        Number of features F.
    d_hidden : int
        Width of decisions and attention in each step, and of the token.
    n_steps : int
        Number of steps.
    sparsity : float
        Weight of the entropy of the masks in the loss; more gives sparser masks.

    Shape
    -----
    - Input: ``{"x": (B, F)}``; at least two rows in training (batch statistics).
    - Output: `Tokens` (B, 1, d_hidden).

    Notes
    -----
    The layers are pytorch-tabnet's. NOTE[DIFF]: the virtual batch is the batch. Ghost
    batches of a fixed size would leave remainders of one row, which have no statistics,
    on clinical tables the batch is small already, and without them the network can be
    exported for batches of any size.

    References
    ----------
    .. [1] Arik, Pfister, "TabNet: attentive interpretable tabular learning", AAAI 2021.
       https://doi.org/10.1609/aaai.v35i8.16826

    Examples
    --------
    >>> import torch
    >>> TabNetBackbone(3, d_hidden=8).eval()({"x": torch.zeros(2, 3)}).values.shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self, n_features: int, *, d_hidden: int = 16, n_steps: int = 3, sparsity: float = 1e-3
    ) -> None:
        super().__init__()
        from pytorch_tabnet.tab_network import TabNetEncoder

        self.d_out = d_hidden
        self.sparsity = sparsity
        # The width of its output layer is not used: that layer belongs to another class.
        self.steps = TabNetEncoder(
            n_features,
            1,
            n_d=d_hidden,
            n_a=d_hidden,
            n_steps=n_steps,
            group_attention_matrix=torch.eye(n_features),
        )
        _use_whole_batches(self.steps)
        self._entropy_loss: Tensor | None = None

    def forward(self, inputs: Inputs) -> Tokens:
        """Return one token per row: the sum of the steps' decisions."""
        decisions, negative_entropy = self.steps(self._read(inputs), self._prior(inputs))
        # The library's M_loss is the masks' negative entropy, to be subtracted.
        self._entropy_loss = -self.sparsity * negative_entropy if self.training else None
        return Tokens.single(torch.stack(decisions).sum(dim=0))

    def auxiliary_loss(self) -> Tensor | None:
        """Return the sparsity loss of the last training pass."""
        return self._entropy_loss

    def train(self, mode: bool = True) -> TabNetBackbone:
        """Set training mode; the last loss, which holds on to a whole pass, ends with it."""
        self._entropy_loss = self._entropy_loss if mode else None
        super().train(mode)
        return self

    def feature_masks(self, inputs: Inputs) -> Tensor:
        """Return how much each step looked at each feature.

        Parameters
        ----------
        inputs : mapping
            ``{"x": (B, F)}``.

        Returns
        -------
        Tensor of shape (n_steps, B, F)
            Masks that sum to one over features, unitless.
        """
        x, prior = self._read(inputs), self._prior(inputs)
        steps = self.steps
        x = steps.initial_bn(x)
        attention = steps.initial_splitter(x)[:, steps.n_d :]
        masks = []
        for attend, transform in zip(steps.att_transformers, steps.feat_transformers, strict=True):
            mask = attend(prior, attention)
            masks.append(mask)
            prior = (steps.gamma - mask) * prior
            attention = transform(mask * x)[:, steps.n_d :]
        return torch.stack(masks)

    def _read(self, inputs: Inputs) -> Tensor:
        weight = self.steps.initial_bn.weight
        # A plain attribute of the library, which neither .to() nor .double() moves.
        eye = self.steps.group_attention_matrix
        if eye.dtype != weight.dtype or eye.device != weight.device:
            self.steps.group_attention_matrix = eye.to(weight)
        return inputs["x"].to(weight.dtype)

    def _prior(self, inputs: Inputs) -> Tensor:
        return torch.ones_like(self._read(inputs))


def _use_whole_batches(network: nn.Module) -> None:
    """Put in place of each ghost batch normalisation the plain one that it holds."""
    from pytorch_tabnet.tab_network import GBN

    for module in list(network.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, GBN):
                setattr(module, name, part.bn)


def make_tabnet(
    n_features: int, *, d_hidden: int, n_layers: int, dropout: float, numbers: None
) -> TabNetBackbone:
    """Return a TabNet, which reads numbers as they are and knows no dropout."""
    return TabNetBackbone(n_features, d_hidden=d_hidden, n_steps=n_layers)
