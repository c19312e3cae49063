"""Rows of a fitted model whose modalities are encoded: only the decision is left to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse, vstack

from asfusion._later import torch
from asfusion._tokens import Tokens


@dataclass(frozen=True, eq=False)
class Several:
    """What each of several models makes of one modality; None where one does not read it."""

    contents: tuple[Content | None, ...]


# Early fusion: features (N, F), sparse ones where an encoder gives them. Joint: tokens. Late:
# decisions (N, K). Automatic: of each member.
Content: TypeAlias = "NDArray[np.float64] | csr_array | Tokens | Several"


@dataclass(frozen=True, eq=False)
class Parts:
    """What a model knows of N rows before it decides, by modality.

    Parameters
    ----------
    contents : mapping of str to Content
        One entry of N rows per modality; what stands in absent rows carries no meaning.
    present : ndarray of shape (N, M), bool
        Which modalities each row has, in the order of `contents`.
    """

    contents: Mapping[str, Content]
    present: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.present)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities."""
        return tuple(self.contents)

    def take(self, rows: NDArray[np.int64]) -> Parts:
        """Return the rows at the given positions, which may repeat."""
        taken = {name: take_rows(content, rows) for name, content in self.contents.items()}
        return Parts(taken, self.present[rows])

    def keep(self, kept: NDArray[np.bool_]) -> Parts:
        """Return the same rows without the modalities outside `kept` (N, M)."""
        return Parts(self.contents, self.present & kept)

    def gather(self, rows: NDArray[np.int64]) -> Parts:
        """Return rows put together from several: modality m of row i is that of ``rows[i, m]``."""
        mixed = {
            name: take_rows(content, rows[:, m])
            for m, (name, content) in enumerate(self.contents.items())
        }
        return Parts(mixed, np.take_along_axis(self.present, rows, axis=0))

    def replace(self, name: str, content: Content, present: NDArray[np.bool_]) -> Parts:
        """Return the same rows with another content of one modality."""
        column = self.names.index(name)
        changed = self.present.copy()
        changed[:, column] = present
        return Parts({**self.contents, name: content}, changed)


def take_rows(content: Content, rows: NDArray[np.int64]) -> Content:
    """Return the rows of a content at the given positions."""
    if isinstance(content, Tokens):
        index = torch.from_numpy(np.ascontiguousarray(rows))
        return Tokens(content.values[index], content.mask[index])
    if isinstance(content, Several):
        return Several(tuple(None if c is None else take_rows(c, rows) for c in content.contents))
    return content[rows]


def choose_rows(first: NDArray[np.bool_], one: Content, other: Content) -> Content:
    """Return, row by row, `one` where `first` (N,) is true and `other` elsewhere."""
    if isinstance(one, Tokens) and isinstance(other, Tokens):
        where = torch.from_numpy(first.copy())
        values = torch.where(where[:, None, None], one.values, other.values)
        return Tokens(values, torch.where(where[:, None], one.mask, other.mask))
    if isinstance(one, Several) and isinstance(other, Several):
        pairs = zip(one.contents, other.contents, strict=True)
        mixed = (None if a is None or b is None else choose_rows(first, a, b) for a, b in pairs)
        return Several(tuple(mixed))
    if issparse(one) and issparse(other):
        places = np.arange(len(first)) + np.where(first, 0, len(first))
        return csr_array(vstack([one, other], format="csr")[places])
    return np.where(first[:, None], np.asarray(one), np.asarray(other))
