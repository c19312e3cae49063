"""Conformity scores of patients and their quantiles: what makes a set cover.

A new patient is exchangeable with those calibrated on; two visits of one are not two
patients. So each patient weighs the same, however many rows are of them, and one more,
the new one, counts as unbounded [1]_. With one row per patient this is the usual split
conformal quantile. MAPIE, whose quantiles are the same for single rows, knows no patients
and keeps its state in objects that only a pickle would save.

References
----------
.. [1] Lee, Barber, Willett, "Distribution-free inference with hierarchical data",
   2023. https://doi.org/10.48550/arXiv.2306.06342
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion._frames import Frame
from asfusion._warn import warn_user
from asfusion.exceptions import ConfigurationError, InputError

Array = NDArray[np.float64]
Cell = tuple[str, int]

_ROUNDING = 1e-12
_MISSING = "(missing)"


def check_coverage(coverage: object) -> float:
    """Return `coverage`, a share between 0 and 1."""
    return check_number(coverage, "coverage", minimum=0.0, maximum=1.0, exclusive=True)


def patients_needed(coverage: float) -> int:
    """Return the fewest patients whose scores can bound a new one with this coverage."""
    return int(np.ceil(coverage / (1.0 - coverage) - _ROUNDING))


def sorted_scores(scores: Array, patients: NDArray[Any]) -> Array:
    """Return scores in order, and beside each the weight of its row (N, 2)."""
    numbers = np.unique(patients, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    weights = 1.0 / ((len(sizes) + 1) * sizes[numbers])
    order = np.argsort(scores, kind="stable")
    return np.stack([scores[order], weights[order]], axis=1)


def score_quantile(table: Array, coverage: float) -> float:
    """Return the score that a new patient's row stays below with at least this probability."""
    reached = np.cumsum(table[:, 1]) >= coverage - _ROUNDING
    return float(table[np.argmax(reached), 0]) if reached.any() else np.inf


class Cells:
    """Rows by category of a column and, if wanted, by class: each cell has its own quantile.

    Parameters
    ----------
    by : str, int or None
        Column of the category; None for one for all.
    """

    def __init__(self, by: str | int | None) -> None:
        if by is not None and not isinstance(by, str | int | np.integer):
            msg = f"by: expected the name of a column or None, got {type(by).__name__}."
            raise ConfigurationError(msg)
        self.by = by

    def read(self, X: Any, n_rows: int) -> NDArray[np.object_]:
        """Return the category of each row."""
        if self.by is None:
            return np.full(n_rows, "", dtype=object)
        frame = Frame.read(X if hasattr(X, "columns") else np.asanyarray(X))
        name = self.by if isinstance(self.by, str) else f"x{self.by}"
        frame.check_columns([name], "by")
        return np.asarray([text or _MISSING for text in frame.strings(name)], dtype=object)


def calibrate(
    scores: Array,
    categories: NDArray[np.object_],
    numbers: NDArray[np.int64],
    patients: NDArray[Any],
    coverage: float,
) -> dict[Cell, Array]:
    """Return the sorted scores of each cell that has patients enough for this coverage."""
    needed = patients_needed(coverage)
    cells = sorted(set(zip(categories.tolist(), numbers.tolist(), strict=True)))
    found: dict[Cell, Array] = {}
    for category, number in cells:
        rows = (categories == category) & (numbers == number)
        if len(np.unique(patients[rows])) >= needed:
            found[category, number] = sorted_scores(scores[rows], patients[rows])
    if not found:
        n_patients = len(np.unique(patients))
        msg = (
            f"Calibration rows: expected at least {needed} patients (in a category, where by= or "
            f"per_class= is given) for coverage {coverage:g}, got {n_patients} in all. Use more "
            "rows, or ask for less coverage."
        )
        raise InputError(msg)
    if len(found) < len(cells):
        warn_user(
            f"{len(cells) - len(found)} of {len(cells)} categories have fewer than {needed} "
            f"patients to calibrate on: for coverage {coverage:g} nothing is excluded there. Join "
            "rare categories."
        )
    return found


def quantiles_of(
    tables: dict[Cell, Array],
    categories: NDArray[np.object_],
    numbers: Sequence[int],
    coverage: float,
) -> Array:
    """Return the quantile (N, C) for the category of each row and each class number."""
    cells = {cell: score_quantile(table, coverage) for cell, table in tables.items()}
    known = {category for category, _ in cells}
    strange = sum(category not in known for category in categories.tolist())
    if strange:
        warn_user(
            f"{strange} row(s) are of a category with too few patients, or none, among the "
            "calibration rows: nothing is excluded for them."
        )
    return np.asarray(
        [[cells.get((c, number), np.inf) for number in numbers] for c in categories.tolist()]
    ).reshape(len(categories), len(numbers))
