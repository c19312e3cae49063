"""The contract of a fusion head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from asfusion._checks import check_integer, quoted
from asfusion._described import Described
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError, ShapeError


class Fusion(Described, nn.Module):
    """Fuse the tokens of several modalities into one vector per row.

    A head is described first and built later, when the modalities are known: the
    constructor stores hyperparameters only, `build` makes the layers. An unbuilt head
    therefore carries no weights and can stand in an estimator's constructor, be cloned
    and searched over (``fusion__d_out``).

    A subclass takes keyword-only hyperparameters, stores each under its own name, and
    writes `make_layers` and `fuse`.

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
    >>> from asfusion import Tokens, fusion
    >>> head = fusion.Gated(d_out=8).build({"labs": 4, "mri": 16})
    >>> labs, mri = torch.zeros(2, 4), torch.zeros(2, 16)
    >>> head({"labs": Tokens.single(labs), "mri": Tokens.single(mri)}).shape
    torch.Size([2, 8])
    """

    d_out: int

    def __init__(self, *, d_out: int = 64) -> None:
        super().__init__()
        self.d_out = d_out
        self.dims: dict[str, int] = {}

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
            One number that gradients pass through; None (the default) adds nothing.
        """
        return None

    def build(self, dims: Mapping[str, int]) -> Self:
        """Create the layers and return the head itself.

        Parameters
        ----------
        dims : mapping of str to int
            Token width of each modality, e.g. ``{"mri": 64, "labs": 16}``.

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
        clean = {name: Tokens(tokens[name].clean_values(), tokens[name].mask) for name in self.dims}
        return self.fuse(clean)

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
