"""Rows of a table that are nobody's: made of what was learned of its columns, to ask a model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

N_ROWS = 6
_EPOCH = date(1970, 1, 1)
_DIGITS = 6
_NO_CELL = 0.15  # share of cells that are missing, but in the first column: each row has some
_FEWEST_DAYS, _MOST_DAYS = -719_162, 2_932_896  # the years 1 to 9999


def synthetic_cells(learned: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return `N_ROWS` cells of each column that has a feature, None where one is missing.

    Numbers and dates are the median and up to about two spreads away from it, rounded;
    categories are of the levels that have a feature. Equal plans give equal rows.

    Parameters
    ----------
    learned : sequence of dict
        What `TablePreprocessor.to_state` returned.
    """
    rng = np.random.default_rng(0)
    cells: dict[str, list[Any]] = {}
    for plan in learned:
        away = rng.normal(size=N_ROWS)
        gone = (rng.random(N_ROWS) < _NO_CELL) & bool(cells)
        if plan["kind"] == "empty" or (plan["kind"] == "category" and not plan["levels"]):
            continue
        made = [_cell(plan, float(a), row) for row, a in enumerate(away)]
        cells[plan["name"]] = [
            None if no else cell for cell, no in zip(made, gone.tolist(), strict=True)
        ]
    return cells


def _cell(plan: dict[str, Any], away: float, row: int) -> Any:
    if plan["kind"] in ("category", "ordered"):
        return plan["levels"][row % len(plan["levels"])]
    if plan["kind"] == "boolean":
        return float(away > 0)
    number = plan["center"] + plan["scale"] * away
    if plan["kind"] == "date":
        days = min(max(round(number), _FEWEST_DAYS), _MOST_DAYS)
        return (_EPOCH + timedelta(days=days)).isoformat()
    return float(f"{number:.{_DIGITS}g}")
