"""`Tokens`, the one carrier between encoders and fusion, and `Prepared` rows.

Dimensions: B rows of a batch, N rows of a table, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from asfusion._later import torch
from asfusion.exceptions import ShapeError

if TYPE_CHECKING:
    from torch import Tensor


def is_traced() -> bool:
    """Return whether no step may depend on what is in tensors.

    So it is while a graph is exported, and where rows pass a network one by one.
    """
    if torch.compiler.is_compiling():
        return True
    return torch._C._functorch.maybe_current_level() is not None


class Tokens(NamedTuple):
    """What an encoder says of each row: a short sequence of vectors, and which are real.

    A vector is one token; an absent modality is a row of the mask that is all False.

    Parameters
    ----------
    values : Tensor of shape (B, T, D)
        One vector per token. What stands at masked places carries no meaning.
    mask : Tensor of shape (B, T), bool
        True where the token is real.

    Examples
    --------
    >>> import torch
    >>> tokens = Tokens.single(torch.ones(2, 4), present=torch.tensor([True, False]))
    >>> tokens.values.shape, tokens.mask.tolist()
    (torch.Size([2, 1, 4]), [[True], [False]])
    """

    values: Tensor
    mask: Tensor

    @classmethod
    def single(cls, vectors: Tensor, present: Tensor | None = None) -> Tokens:
        """Return one token per row.

        Parameters
        ----------
        vectors : Tensor of shape (B, D)
            One vector per row.
        present : Tensor of shape (B,), bool, optional
            Rows that have the modality; all of them by default.

        Returns
        -------
        Tokens
            Values of shape (B, 1, D).

        Raises
        ------
        ShapeError
            If `vectors` is not a matrix.
        """
        if vectors.dim() != 2:
            msg = f"Tokens.single: expected vectors of shape (B, D), got {tuple(vectors.shape)}."
            raise ShapeError(msg)
        mask = torch.ones(vectors.shape[0], 1, dtype=torch.bool, device=vectors.device)
        tokens = cls(vectors.unsqueeze(1), mask)
        return tokens if present is None else tokens.keep(present)

    def keep(self, present: Tensor) -> Tokens:
        """Return the same tokens with every row outside `present` (B,) masked and zeroed."""
        mask = self.mask & present.unsqueeze(1)
        if mask.device.type == "cpu" and not is_traced() and bool(mask.all()):
            return _Clean(self.values, mask)
        return _Clean(self.clean_values(mask), mask)

    def clean(self) -> Tokens:
        """Return the same tokens with zeros at masked places."""
        return _Clean(self.clean_values(), self.mask)

    def all_real(self) -> Tokens:
        """Return the same tokens, of which it is known that none is masked."""
        return _Clean(self.values, self.mask)

    def clean_values(self, mask: Tensor | None = None) -> Tensor:
        """Return values (B, T, D) with zeros at masked places.

        Selection, not multiplication: NaN at a masked place must leak neither into
        the result nor into a gradient, and NaN times zero is NaN.
        """
        mask = self.mask if mask is None else mask
        return torch.where(mask.unsqueeze(-1), self.values, torch.zeros_like(self.values))

    def pool(self) -> Tensor:
        """Return the mean over real tokens (B, D); zeros for rows without any."""
        if self.mask.shape[1] == 1 and not torch.compiler.is_compiling():
            return self.clean_values()[:, 0]  # without a sum of one, and a division by one
        counts = self.mask.sum(dim=1, keepdim=True).clamp(min=1).to(self.values.dtype)
        return self.clean_values().sum(dim=1) / counts

    @property
    def present(self) -> Tensor:
        """Rows (B,) with at least one real token."""
        return self.mask.any(dim=1)


class _Clean(Tokens):
    """Tokens that have zeros at masked places already: each selection costs a pass, and back."""

    __slots__ = ()

    def clean_values(self, mask: Tensor | None = None) -> Tensor:
        return self.values if mask is None else super().clean_values(mask)

    def clean(self) -> Tokens:
        return self


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows of one modality as tensors, before or after a frozen backbone.

    Parameters
    ----------
    tensors : mapping of str to Tensor of shape (N, ...)
        What the modality's network reads; ``{"values", "mask"}`` are embedded tokens.
    present : Tensor of shape (N,), bool
        Rows that have the modality. Contents of absent rows carry no meaning.

    Examples
    --------
    >>> import torch
    >>> rows = Prepared({"x": torch.zeros(3, 2)}, torch.tensor([True, False, True]))
    >>> len(rows), rows.is_embedded
    (3, False)
    """

    tensors: Mapping[str, Tensor]
    present: Tensor

    def __post_init__(self) -> None:
        """Check that all tensors have as many rows as `present`."""
        for name, tensor in self.tensors.items():
            if len(tensor) != len(self.present):
                msg = (
                    f"Prepared tensor {name!r}: expected {len(self.present)} rows like "
                    f"`present`, got {len(tensor)}."
                )
                raise ShapeError(msg)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.present)

    def take(self, rows: Tensor) -> Prepared:
        """Return the given rows (positions or a bool mask)."""
        return Prepared({k: v[rows] for k, v in self.tensors.items()}, self.present[rows])

    @property
    def n_near(self) -> int:
        """How many rows at a time may be drawn in any order: all of them, in memory."""
        return len(self)

    @property
    def is_embedded(self) -> bool:
        """Whether a frozen backbone has already turned the rows into tokens."""
        return "values" in self.tensors

    @cached_property
    def is_complete(self) -> bool:
        """Whether nothing is absent: no row, and no token of embedded rows."""
        masks = [self.present, *([self.tensors["mask"]] if self.is_embedded else [])]
        return all(isinstance(mask, torch.Tensor) and bool(mask.all()) for mask in masks)

    def tokens(self) -> Tokens:
        """Return embedded rows as `Tokens`, absent rows masked."""
        return Tokens(self.tensors["values"], self.tensors["mask"]).keep(self.present)

    @classmethod
    def embedded(cls, tokens: Tokens, present: Tensor) -> Prepared:
        """Return the output of a frozen backbone as rows that can be taken again."""
        return cls({"values": tokens.values, "mask": tokens.mask}, present)
