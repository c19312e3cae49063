"""The cells of a table: what they are as numbers or dates, and how they and columns are named."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing, looks_like_date
from asfusion.show.figures import literal, shorten

Floats = NDArray[np.float64]

LONGEST_NAME = 40
_LONGEST = 24


class TableFields:
    """What pictures read of the attributions of N rows and F features."""

    values: Floats
    base_value: Floats
    data: NDArray[Any]
    feature_names: tuple[str, ...]
    output_name: str
    units: Mapping[str, str | None]
    error: Floats | None
    base_is: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def outputs(self) -> Floats:
        """The model's output of each row, shape (N,): base value plus attributions."""
        total: Floats = self.base_value + self.values.sum(axis=1)
        return total


def as_numbers(cells: NDArray[Any]) -> tuple[Floats, bool]:
    """Return cells as floats, NaN where a cell is missing or no number, and if all are numbers."""
    found = np.full(len(cells), np.nan)
    numeric = True
    for i, cell in enumerate(cells):
        if is_missing(cell):
            continue
        if isinstance(cell, (numbers.Real, Decimal, np.bool_)):
            found[i] = float(cell)
        else:
            numeric = False
    return found, numeric


def as_amounts(
    cells: NDArray[Any],
) -> tuple[Floats, bool, Callable[[float], str]]:
    """Return what `as_numbers` does, with dates as days, and how to write an amount."""
    found, numeric = as_numbers(cells)
    days = None if numeric else _days_of(cells)
    if days is None:
        return found, numeric, lambda amount: f"{amount:.3g}"
    return days, True, lambda day: date.fromordinal(round(day)).isoformat()


def _days_of(cells: NDArray[Any]) -> Floats | None:
    """Return dates as days, NaN where one is missing; None if a cell is anything else."""
    days = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            if isinstance(cell, str) and looks_like_date(cell):
                cell = np.datetime64(cell.strip()[:10])
            day = cell.astype("datetime64[D]").item() if isinstance(cell, np.datetime64) else cell
            days[i] = day.toordinal()
        except (AttributeError, ValueError):
            return None
    return days


def by_size(found: TableFields) -> list[int]:
    """Return the features from the largest mean effect to the smallest."""
    mean = np.abs(found.values).mean(axis=0)
    return [int(i) for i in np.argsort(-mean, kind="stable")]


def name_with_unit(found: TableFields, i: int, longest: int) -> str:
    """Return the name of a feature and its unit, shortened to about `longest` signs."""
    name = found.feature_names[i]
    unit = found.units[name]
    told = f" ({unit})" if unit else ""
    return literal(shorten(name, max(12, longest - len(told))) + told)


def cell_label(found: TableFields, row: int, i: int, longest: int = LONGEST_NAME) -> str:
    """Return a feature with this row's cell, ``crp = 12 mg/L`` for example.

    The name alone is shortened, to 12 signs at least.
    """
    name, cell = found.feature_names[i], found.data[row, i]
    if name.startswith("(") and name.endswith(")"):  # no column: its cell says nothing
        return literal(name)
    unit = found.units[name]
    told = (
        ": missing" if is_missing(cell) else f" = {_cell_text(cell)}" + (f" {unit}" if unit else "")
    )
    return literal(shorten(name, max(12, longest - len(told))) + told)


def cell_words(found: TableFields, row: int, i: int) -> str:
    """Return a feature with this row's cell as they stand in a sentence: ``crp 12 mg/L``."""
    name, cell = found.feature_names[i], found.data[row, i]
    if name.startswith("("):
        return name
    if is_missing(cell):
        return f"That {name} is missing"
    unit = found.units[name]
    return f"{name} {_cell_text(cell)}" + (f" {unit}" if unit else "")


def _cell_text(cell: Any) -> str:
    if isinstance(cell, (bool, np.bool_)):
        return "yes" if cell else "no"
    if isinstance(cell, (numbers.Integral, numbers.Real, Decimal)):
        return f"{float(cell):.4g}".replace("-", "\N{MINUS SIGN}")
    return cut(str(cell))


def cut(text: str) -> str:
    """Return a text without its end if it is long."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
