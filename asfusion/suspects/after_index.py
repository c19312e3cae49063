"""Dates that are later than the day for which a prediction is made."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import days_of_objects, is_missing, looks_like_date
from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, InputError
from asfusion.suspects.suspect import Suspect

_FEWEST = 10  # a smaller number of rows is not told


def find_after_index(
    frame: Frame, roles: Mapping[str, str], index: NDArray[np.float64]
) -> list[Suspect]:
    """Return columns of dates in which some are later than the index date of their row.

    Parameters
    ----------
    frame : Frame
        N rows.
    roles : mapping of str to str
        What each column is taken for.
    index : ndarray of shape (N,)
        Index dates as days since 1970-01-01, NaN where there is none.
    """
    found = []
    # A date without a time is a whole day: an hour of it is not later.
    by_day = bool((index[~np.isnan(index)] % 1 == 0).all())
    for name, role in roles.items():
        days = dates_of(frame, name) if role in ("table", "identifier", "number_text") else None
        if days is None:
            continue
        later = int(((np.floor(days) if by_day else days) > index).sum())
        if later:
            n_known = int((~np.isnan(days) & ~np.isnan(index)).sum())
            told = f"in {later} of {n_known} rows" if later >= _FEWEST else "in fewer than 10 rows"
            found.append(Suspect(name, "after_index", f"it is later than the index date {told}"))
    return found


def dates_of(frame: Frame, name: str) -> NDArray[np.float64] | None:
    """Return a column as days if it holds dates, whatever it is stored as."""
    if name in frame.plain:
        return None
    kind = frame.kind(name)
    texts = [text for text in frame.strings(name) if text] if kind in ("text", "category") else []
    if kind != "date" and not (texts and all(map(looks_like_date, texts))):
        return None
    try:
        return (
            frame.days(name)
            if kind != "category"
            else days_of_objects(list(frame.strings(name)), name)
        )
    except ColumnError:  # a day that no calendar has
        return None


def read_index(index_date: Any, frame: Frame) -> NDArray[np.float64]:
    """Return the index date of each row as days since 1970-01-01, NaN where there is none.

    Parameters
    ----------
    index_date : date, str, or sequence of N dates
        One day for all as YYYY-MM-DD, the name of a column, or a day for each row.
    frame : Frame
        N rows.

    Raises
    ------
    InputError
        If it is neither, or of another length.
    ColumnError
        If the column is not there, or what should be dates are none.
    """
    n_rows = len(frame)
    if isinstance(index_date, str) and (
        index_date in frame.columns or not looks_like_date(index_date)
    ):
        frame.check_columns([index_date], "index_date")
        return frame.days(index_date)
    if isinstance(index_date, str | datetime.date | np.datetime64):
        return np.full(n_rows, days_of_objects([index_date], "index_date")[0])
    if not hasattr(index_date, "__len__") or len(index_date) != n_rows:
        got = len(index_date) if hasattr(index_date, "__len__") else type(index_date).__name__
        msg = (
            f"index_date: expected a date, the name of a column, or {n_rows} dates, one per row, "
            f"got {got}."
        )
        raise InputError(msg)
    cells = [None if is_missing(cell) else _plain(cell) for cell in index_date]
    return days_of_objects(cells, "index_date")


def _plain(cell: Any) -> Any:
    return cell.to_pydatetime() if hasattr(cell, "to_pydatetime") else cell
