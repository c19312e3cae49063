"""The table of patients by class: counts, medians, and how far classes are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.evaluation._small_cells import FEWEST, hidden_cells

_MOST_LEVELS = 8
_OTHER = "(other)"
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Summary:
    """A column, or one level of it, in one class.

    Parameters
    ----------
    count : int or None
        Rows of the level; None for numbers, and where fewer than 10 rows or patients would show.
    share : float or None
        The same among the known cells of the class.
    median, low, high : float or None
        Of numbers, with the quartiles.
    """

    count: int | None = None
    share: float | None = None
    median: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A line of the table of patients by class.

    Parameters
    ----------
    column : str
        The column.
    level : str
        Level of a category; empty for numbers.
    classes : tuple of Summary
        By class, in their order.
    difference : float or None
        Standardised mean difference of two classes, the largest of several; for categories that
        of all levels together, on their first line. None where it may not be shown.
    """

    column: str
    level: str
    classes: tuple[Summary, ...]
    difference: float | None = None


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows by class.

    Parameters
    ----------
    names : tuple of str
        Names of the classes.
    rows : tuple of ndarray
        Positions of their rows.
    patients : ndarray of shape (N,)
        Number of the patient of each row.
    """

    names: tuple[str, ...]
    rows: tuple[Rows, ...]
    patients: Rows

    def size(self, rows: Rows) -> tuple[int, int]:
        """Return the numbers of rows and of patients."""
        return len(rows), int(np.count_nonzero(np.bincount(self.patients[rows])))

    def counts(self) -> tuple[int | None, ...]:
        """Return rows of each class, None where they may not be shown."""
        sizes = {str(k): self.size(rows) for k, rows in enumerate(self.rows)}
        hidden = hidden_cells(sizes)
        return tuple(None if key in hidden else size[0] for key, size in sizes.items())


def compare_classes(frame: Frame, taken_for: Mapping[str, str], parts: Parts) -> tuple[Line, ...]:
    """Return lines for columns of numbers, yes or no, and categories.

    Parameters
    ----------
    frame : Frame
        N rows.
    taken_for : mapping of str to str
        What each column is taken for.
    parts : Parts
        Rows by class.
    """
    lines: list[Line] = []
    for name, what in taken_for.items():
        if what in ("number", "genotype"):
            numbers = frame.numbers(name)
            known = numbers[~np.isnan(numbers)]
            if len(np.unique(known)) > 2:
                lines.append(_of_numbers(name, numbers, parts))
            else:
                texts = [None if np.isnan(value) else f"{value:g}" for value in numbers]
                lines += _of_levels(name, texts, parts)
        elif what in ("category", "yes or no"):
            lines += _of_levels(name, frame.strings(name), parts)
    return tuple(lines)


def _of_numbers(name: str, numbers: NDArray[np.float64], parts: Parts) -> Line:
    known = [rows[~np.isnan(numbers[rows])] for rows in parts.rows]
    shown = [min(parts.size(rows)) >= FEWEST for rows in known]
    summaries = []
    for rows, is_shown in zip(known, shown, strict=True):
        if not is_shown:
            summaries.append(Summary())
            continue
        low, median, high = (float(q) for q in np.quantile(numbers[rows], (0.25, 0.5, 0.75)))
        summaries.append(Summary(median=median, low=low, high=high))
    heaps = [numbers[rows] for rows, is_shown in zip(known, shown, strict=True) if is_shown]
    apart = [_apart(one, other) for one, other in combinations(heaps, 2)]
    return Line(name, "", tuple(summaries), max(apart, default=None))


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    spread = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2.0)
    difference = abs(float(one.mean() - other.mean()))
    return difference / float(spread) if spread > 0 else (0.0 if difference == 0 else np.inf)


def _of_levels(name: str, texts: Sequence[str | None], parts: Parts) -> list[Line]:
    cells = np.asarray([text or "" for text in texts], dtype=object)
    there = np.asarray([text is not None for text in texts], dtype=bool)
    levels = _shown_levels(cells, there, parts)
    if not levels:
        return []
    known = [rows[there[rows]] for rows in parts.rows]
    rest = ~np.isin(cells, np.asarray(levels, dtype=object))
    members = [(level, cells == level) for level in levels]
    members += [(_OTHER, rest)] if (rest & there).any() else []
    by_class = [_counted(rows, members, parts) for rows in known]
    lines = [
        Line(name, level, tuple(summaries[k] for summaries in by_class))
        for k, (level, _) in enumerate(members)
    ]
    shares = [[s.share for s in summaries] for summaries in by_class]
    whole = [np.asarray(s, dtype=np.float64) for s in shares if None not in s]
    apart = [_shares_apart(one, other) for one, other in combinations(whole, 2)]
    first = lines[0]
    return [Line(first.column, first.level, first.classes, max(apart, default=None)), *lines[1:]]


def _shown_levels(cells: NDArray[np.object_], there: NDArray[np.bool_], parts: Parts) -> list[str]:
    """Return the names of levels that enough patients share, the most frequent first."""
    found: dict[str, tuple[int, int]] = {}
    names, numbers = np.unique(cells[there], return_inverse=True)
    places = np.flatnonzero(there)
    for number, name in enumerate(names):
        rows = places[numbers == number]
        if len(rows) >= FEWEST:
            found[str(name)] = parts.size(rows)
    shown = [name for name, size in found.items() if min(size) >= FEWEST]
    return sorted(shown, key=lambda name: (-found[name][0], name))[:_MOST_LEVELS]


def _counted(
    rows: Rows, members: Sequence[tuple[str, NDArray[np.bool_]]], parts: Parts
) -> list[Summary]:
    own = [rows[is_in[rows]] for _, is_in in members]
    sizes = {str(k): parts.size(some) for k, some in enumerate(own)}
    hidden = hidden_cells(sizes)
    return [
        Summary() if str(k) in hidden else Summary(len(some), len(some) / max(1, len(rows)))
        for k, some in enumerate(own)
    ]


def _shares_apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the standardised difference of the shares of levels, after Yang and Dalton.

    References
    ----------
    .. [1] Yang and Dalton, "A unified approach to measuring the effect size between two groups
       using SAS", SAS Global Forum 2012, paper 335.
    """
    first, second = one[1:], other[1:]
    if not len(first):
        return 0.0
    spread = np.zeros((len(first), len(first)))
    for shares in (first, second):
        spread += (np.diag(shares) - np.outer(shares, shares)) / 2.0
    difference = first - second
    if not difference.any():
        return 0.0
    return float(max(0.0, float(difference @ np.linalg.pinv(spread) @ difference)) ** 0.5)
