"""The contract of a fusion head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeAlias

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, quoted
from asfusion._described import Described
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError, ShapeError

RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class Fusion(Described, nn.Module):
    """Fuse the tokens of several modalities into one vector per row.

    A head is described first and built later, when the modalities are known: the
    constructor stores hyperparameters only, `build` makes the layers. An unbuilt head
    therefore carries no weights and can stand in an estimator's constructor, be cloned
    and searched over (``fusion__d_out``).

    A subclass takes keyword-only hyperparameters, stores each under its own name, and
    writes `make_layers` and `fuse`. One whose fused vector is no mere input of a linear layer
    says so in `check_target`, `output_layer` and `row_loss`.

    Parameters
    ----------
    d_out : int
        Width of the fused vector.

    Shape
    -----
    - Input: ``{name: Tokens}``, ``values`` (B, T_name, D_name), ``mask`` (B, T_name),
      True = real. The number of tokens may differ between modalities and calls.
    - Output: (B, d_out), finite also for rows without any modality.

    Examples
    --------
    >>> import torch
    >>> from asfusion import fusion
    >>> from asfusion.extend import Tokens
    >>> head = fusion.Gated(d_out=8).build({"labs": 4, "mri": 16})
    >>> labs, mri = torch.zeros(2, 4), torch.zeros(2, 16)
    >>> head({"labs": Tokens.single(labs), "mri": Tokens.single(mri)}).shape
    torch.Size([2, 8])
    """

    # Whether what is fused are decisions: those are neither dropped nor blended, nor averaged
    # with what each modality says by itself.
    decides: ClassVar[bool] = False
    d_out: int

    def __init__(self, *, d_out: int = 64) -> None:
        super().__init__()
        self.d_out = d_out
        self.dims: dict[str, int] = {}
        self.own_loss: Tensor | None = None

    @abstractmethod
    def make_layers(self, dims: Mapping[str, int]) -> None:
        """Create the layers for modalities of the given token widths."""

    @abstractmethod
    def fuse(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return the fused vectors (B, d_out) for tokens already checked and cleaned."""

    def auxiliary_loss(self) -> Tensor | None:
        """Return what the last training pass adds to the loss, if anything.

        Returns
        -------
        Tensor or None
            One number that gradients pass through: `own_loss`, which `fuse` may set in
            training. None adds nothing.
        """
        return self.own_loss

    def train(self, mode: bool = True) -> Self:
        """Set training mode; the last loss, which holds on to a whole pass, ends with it."""
        self.own_loss = self.own_loss if mode else None
        return super().train(mode)

    def check_target(self, target: Any) -> None:
        """Raise where the head cannot speak of what is predicted; most heads can of anything.

        Parameters
        ----------
        target : asfusion.targets.Target
            What the estimator predicts.

        Raises
        ------
        ConfigurationError
            If it is of another kind than the head is for.
        """
        return

    def output_layer(self, n_outputs: int) -> nn.Module:
        """Return what turns fused vectors into the outputs of a model: a linear layer.

        Parameters
        ----------
        n_outputs : int
            Number K of outputs.

        Returns
        -------
        torch.nn.Module
            From (B, d_out) to (B, K). Its ``bias`` (K,) is set to what predicts the prior.
        """
        return nn.Linear(self.d_out, n_outputs)

    def row_loss(self, loss: RowLoss, output: nn.Module) -> RowLoss:
        """Return the loss by which a model with this head learns: that of its target.

        Parameters
        ----------
        loss : callable
            Outputs (B, K) and targets to one loss per row (B,).
        output : torch.nn.Module
            The layer that `output_layer` made.

        Returns
        -------
        callable
            The same, or one that adds to it.
        """
        return loss

    def uncertainty(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return how little is known of each row, in the head's own measure.

        Parameters
        ----------
        tokens : mapping of str to Tokens
            As for a call.

        Returns
        -------
        Tensor of shape (B,)
            From 0 to 1; 1 where a row has no modality.

        Raises
        ------
        ConfigurationError
            If the head has no such measure.
        """
        msg = (
            f"{type(self).__name__}: expected a head with an uncertainty of its own, such as "
            "fusion='evidential', got one without."
        )
        raise ConfigurationError(msg)

    def build(self, dims: Mapping[str, int], n_outputs: int | None = None) -> Self:
        """Create the layers and return the head itself.

        Parameters
        ----------
        dims : mapping of str to int
            Token width of each modality, e.g. ``{"mri": 64, "labs": 16}``.
        n_outputs : int, optional
            Number of outputs of the model, for heads whose width depends on it; others do
            not ask.

        Returns
        -------
        Fusion
            This head, ready to be called.

        Raises
        ------
        ConfigurationError
            If `dims` is empty, a hyperparameter is unusable, or the head was built before.
        """
        if not dims:
            msg = f"{type(self).__name__}.build: expected at least one modality, got none."
            raise ConfigurationError(msg)
        if self.dims:
            msg = (
                f"{type(self).__name__}.build: this head was built for {quoted(self.dims)} "
                "already. Make a new one."
            )
            raise ConfigurationError(msg)
        check_integer(self.d_out, "d_out", minimum=1)
        self.make_layers(dims)
        self.dims = dict(dims)
        return self

    def forward(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Return one vector (B, d_out) per row."""
        self._check(tokens)
        # What stands at masked places may be anything, NaN too; heads never see it.
        return self.fuse({name: tokens[name].clean() for name in self.dims})

    def _check(self, tokens: Mapping[str, Tokens]) -> None:
        if not self.dims:
            msg = f"{type(self).__name__}: call build(dims) before the first use."
            raise ConfigurationError(msg)
        if set(tokens) != set(self.dims):
            msg = (
                f"{type(self).__name__}: expected tokens of {quoted(self.dims)}, got "
                f"{quoted(tokens)}. Give an absent modality as an all-False mask."
            )
            raise ShapeError(msg)
        for name, width in self.dims.items():
            values, mask = tokens[name]
            if values.dim() != 3 or values.shape[2] != width or mask.shape != values.shape[:2]:
                msg = (
                    f"{type(self).__name__}, modality {name!r}: expected values (B, T, {width}) "
                    f"with mask (B, T), got {tuple(values.shape)} with {tuple(mask.shape)}."
                )
                raise ShapeError(msg)


def masked_mean(stacked: Tensor, present: Tensor) -> Tensor:
    """Return the mean (B, D) over the present ones of M vectors (B, M, D); zeros for none."""
    return Tokens(stacked, present).pool()


def presence(tokens: Mapping[str, Tokens]) -> Tensor:
    """Return which modalities each row has: (B, M), bool, in the order of `tokens`."""
    return torch.stack([t.present for t in tokens.values()], dim=1)
