"""What one cell of a column means: missing, a number, a date, or text."""

from __future__ import annotations

import datetime
import numbers
import re
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ColumnError

Kind: TypeAlias = Literal["number", "boolean", "date", "category", "text"]

_A_DAY = datetime.timedelta(days=1)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII
)
_NUMBER_TEXT = re.compile(
    r"[<>≤≥]?=?\s*[-+]?(0|[1-9]\d*|(?=[.,]))([.,]\d+)?(e[-+]?\d+)?\s*%?", re.ASCII | re.IGNORECASE
)
_OTHER_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}([ T].{1,20})?", re.ASCII)
_NUMBERS = (numbers.Real, Decimal, np.bool_, datetime.timedelta)


def is_missing(cell: object) -> bool:
    """Return whether one cell is None, NaN, NaT or pd.NA."""
    if cell is None:
        return True
    if isinstance(cell, float | np.floating):
        return bool(cell != cell)
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return bool(np.isnat(cell))
    if isinstance(cell, Decimal):
        return cell.is_nan()
    return type(cell).__name__ in {"NAType", "NaTType"}


def looks_like_date(text: str) -> bool:
    """Return whether a text is written as ``YYYY-MM-DD``, with or without a time.

    A day that no calendar has looks like a date, too: `Frame.days` refuses it, so that a
    slip of the pen does not turn a column of dates into one of categories.
    """
    return _DATE.fullmatch(text.strip()) is not None


def looks_measured(text: str) -> bool:
    """Return whether a text is a number such as ``5,2`` or ``<5``, or a date such as 31.1.2024."""
    bare = text.strip()
    return any(form.fullmatch(bare) is not None for form in (_NUMBER_TEXT, _OTHER_DATE))


def text_or_none(text: str) -> str | None:
    return text if text and not text.isspace() else None


def is_known(cell: object) -> bool:
    """Return whether a cell is neither missing, nor blank text, nor a list or table of nothing."""
    if isinstance(cell, str):
        return text_or_none(cell) is not None
    if isinstance(cell, np.ndarray):
        return cell.ndim == 0 or len(cell) > 0  # one number has no length
    if hasattr(cell, "__len__"):
        return len(cell) > 0
    return not is_missing(cell)


def text_of(cell: Any) -> str | None:
    """Return a cell as text, all of it: tables and long arrays print themselves cut short.

    A level 1 that has become 1.0, as numbers do beside a missing one, is the same level.
    """
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    if hasattr(cell, "to_dict"):
        plain = hasattr(cell, "lazy")  # polars gives Series otherwise
        cell = cell.to_dict(as_series=False) if plain else cell.to_dict()
    elif isinstance(cell, np.ndarray):
        cell = cell.tolist()
    return text_or_none(str(cell))


def kind_of_objects(cells: list[Any]) -> Kind:
    """Return the kind of an object column from its cells."""
    known = [cell for cell in cells if not is_missing(cell)]
    if known and all(isinstance(cell, bool | np.bool_) for cell in known):
        return "boolean"
    if all(isinstance(cell, _NUMBERS) for cell in known):
        return "number"
    if all(isinstance(cell, datetime.date | np.datetime64) for cell in known):
        return "date"
    return "text"


def numbers_of_objects(cells: list[Any], name: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return cells (N,) as numbers; `rows` (N,) are what an error calls theirs."""
    out = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            out[row] = cell / _A_DAY if isinstance(cell, datetime.timedelta) else float(cell)
        except OverflowError:
            out[row] = np.inf
        except (TypeError, ValueError):
            msg = (
                f"Column {name!r}, row {rows[row]}: expected a number, got {type(cell).__name__}. "
                "Convert the column first, or use it as a category."
            )
            raise ColumnError(msg) from None
    return out


def days_of_objects(
    cells: list[Any], name: str, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return cells (N,) as days; `rows` (N,) are what an error calls theirs, if not 0, 1, ..."""
    rows = np.arange(len(cells)) if rows is None else rows
    out = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
            continue
        date = _parse_date(cell, name, int(rows[row])) if isinstance(cell, str) else cell
        if isinstance(date, np.datetime64):
            date = date.astype("datetime64[us]").item()
        if not isinstance(date, datetime.date):
            msg = (
                f"Column {name!r}, row {rows[row]}: expected a date, got {type(cell).__name__}. "
                "Convert the column to dates first."
            )
            raise ColumnError(msg)
        out[row] = _day(date)
    return out


def _day(date: datetime.date) -> float:
    """Return days since 1970-01-01 in UTC."""
    if not isinstance(date, datetime.datetime):
        return float((date - _EPOCH.date()).days)
    return float((date - (_EPOCH.replace(tzinfo=None) if date.tzinfo is None else _EPOCH)) / _A_DAY)


def _parse_date(text: str, name: str, row: int) -> datetime.datetime:
    where = f"Column {name!r}, row {row}: expected a date as YYYY-MM-DD"
    if not looks_like_date(text):
        msg = f"{where}, got other text. Convert the column to dates first."
        raise ColumnError(msg)
    try:
        return datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        msg = f"{where}, got a day or a time that does not exist. Correct or blank the cell."
        raise ColumnError(msg) from None
