"""What is the same in rows of different patients, as a result that speaks for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion.duplicates._twins import Joined
from asfusion.show import page

if TYPE_CHECKING:
    import pandas as pd

_WHAT = {
    "file": "same file",
    "pixels": "same pixels",
    "image": "near-identical image",
    "note": "same note",
    "near note": "near-identical note",
    "folder": "same folder of files",
    "cells": "same cells",
}
_SHOWN = 10


@dataclass(frozen=True)
class Link:
    """Two rows of different patients that share a content.

    Parameters
    ----------
    kind : {"file", "pixels", "image", "note", "near note", "folder", "cells"}
        What is shared: the bytes or pixels of an image, its look, the words of a note or
        most of them, the files of a folder, or the cells of a table.
    columns : str
        The column, or the name of the table.
    first, second : int
        Positions of the rows.
    similarity : float
        1 for exact equality; else the share of equal bits, or of shared phrases.
    """

    kind: Literal["file", "pixels", "image", "note", "near note", "folder", "cells"]
    columns: str
    first: int
    second: int
    similarity: float

    @property
    def is_exact(self) -> bool:
        """Whether the contents are equal rather than alike."""
        return self.kind not in ("image", "near note")


@dataclass(frozen=True, eq=False, repr=False)
class Duplicates(page.Page):
    """What `find_duplicates` found.

    Parameters
    ----------
    links : tuple of Link
        Pairs of rows of different patients, enough to connect all that share a content.
        Of a radiograph under three patients there are two links, not three.
    groups : ndarray of shape (N,)
        Number of the patient of each row.
    is_grouped : bool
        Whether patients were given; each row is one otherwise.
    checked : mapping of str to int
        Contents that were compared, by column.
    n_unreadable : int
        Images and folders that could not be read, and so were not compared.
    """

    links: tuple[Link, ...]
    groups: NDArray[np.int64]
    is_grouped: bool
    checked: Mapping[str, int]
    n_unreadable: int = 0

    @property
    def joined_groups(self) -> NDArray[np.int64]:
        """Patients numbered so that those with a shared content are one, shape (N,).

        Given as ``groups=``, they keep copies on one side of every split.
        """
        joined = Joined(int(self.groups.max(initial=-1)) + 1)
        for link in self.links:
            joined.join(int(self.groups[link.first]), int(self.groups[link.second]))
        roots = np.asarray([joined.root(int(group)) for group in self.groups], dtype=np.int64)
        return np.unique(roots, return_inverse=True)[1]

    @property
    def n_patients(self) -> int:
        """Number of patients (rows, if no patients were given) that share a content."""
        rows = [row for link in self.links for row in (link.first, link.second)]
        return len(np.unique(self.groups[rows])) if rows else 0

    def to_frame(self) -> pd.DataFrame:
        """Return the links as a pandas DataFrame.

        Returns
        -------
        DataFrame
            One row per link: ``kind``, ``columns``, positions ``first`` and ``second``,
            ``similarity`` (unitless, 0 to 1) and ``is_exact``.
        """
        import pandas as pd

        names = ["kind", "columns", "first", "second", "similarity", "is_exact"]
        return pd.DataFrame(
            [[getattr(link, n) for n in names] for link in self.links], columns=names
        )

    @property
    def verdict(self) -> str:
        """What was found, in words and without any value of a cell."""
        unit = "patients" if self.is_grouped else "rows"
        compared = sum(self.checked.values())
        skipped = f" {self.n_unreadable} could not be read." if self.n_unreadable else ""
        if not self.links:
            return f"No shared content under different {unit} ({compared} compared).{skipped}"
        counts: dict[tuple[str, str], int] = {}
        for link in self.links:
            counts[link.kind, link.columns] = counts.get((link.kind, link.columns), 0) + 1
        parts = [f"{_WHAT[kind]} in {name!r} ({n})" for (kind, name), n in counts.items()]
        pairs = dict.fromkeys((link.first, link.second) for link in self.links)
        some = ", ".join(f"{first} and {second}" for first, second in list(pairs)[:3])
        return (
            f"{self.n_patients} {unit} share content with another: {', '.join(parts)}; for example "
            f"rows {some}.{skipped}"
        )

    def _title(self) -> str:
        return "asfusion duplicates"

    def _text(self) -> str:
        if not self.links:
            return self.verdict
        lines = [self.verdict, "", page.text_table(_HEADER, self._table())]
        if len(self.links) > _SHOWN:
            lines.append(f"and {len(self.links) - _SHOWN} more: see to_frame()")
        return "\n".join(lines)

    def _body(self) -> list[str]:
        parts = [page.heading("Duplicates", 1), page.paragraph(self.verdict, "verdict")]
        return [*parts, page.table(_HEADER, self._table())] if self.links else parts

    def _table(self) -> list[list[str]]:
        return [
            [
                _WHAT[link.kind],
                link.columns,
                str(link.first),
                str(link.second),
                f"{link.similarity:.2f}",
            ]
            for link in self.links[:_SHOWN]
        ]


_HEADER = ["what", "column", "row", "and row", "similarity"]
