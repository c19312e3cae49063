"""Event and time, as users have them: a frame, a structured array, or two columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_missing
from asfusion.exceptions import InputError

Floats = NDArray[np.float64]

# scikit-survival's arrays are (event, time); the names are the user's own.
DTYPE = np.dtype([("event", np.bool_), ("time", np.float64)])
_NAMES: tuple[str, str] = ("event", "time")
_SHAPE = (
    'a DataFrame with columns "event" and "time", or a structured array of a boolean event '
    "and a time as scikit-survival has it"
)


def read_times(y: Any, n_rows: int) -> NDArray[np.void]:
    """Return event and time of each row.

    Parameters
    ----------
    y : DataFrame, or structured array of shape (n_rows,)
        Columns ``event`` (true where it was seen, false where the row is censored) and
        ``time`` (until the event or the end of follow-up); any unit, the same for all.
    n_rows : int
        Rows that it must have.

    Returns
    -------
    structured ndarray of shape (n_rows,)
        Fields ``event`` (bool) and ``time`` (float).

    Raises
    ------
    InputError
        If `y` is no such thing, lacks a value, or has times that are not above zero.
    """
    event, time = _columns(y)
    if len(event) != n_rows:
        msg = f"y: expected {n_rows} entries, one per row, got {len(event)}."
        raise InputError(msg)
    out = np.empty(n_rows, DTYPE)
    out["event"], out["time"] = _read_event(event), _read_time(time)
    return out


def read_moments(times: Any) -> Floats:
    """Return the times (n_times,) at which curves are asked for, or say that they are none.

    Raises
    ------
    InputError
        If there are none, or some are missing or no numbers.
    """
    try:
        moments = np.atleast_1d(np.asarray(times, dtype=np.float64))
    except (TypeError, ValueError):
        moments = np.empty(0)
    if moments.ndim != 1 or not len(moments) or np.isnan(moments).any():
        msg = "times: expected one number or several, in the unit of y, got others, or none."
        raise InputError(msg)
    return moments


def read_labels(labels: Any, n_rows: int, name: str) -> NDArray[Any]:
    """Return a label (n_rows,) of each row, all of one kind and none missing.

    Raises
    ------
    InputError
        If they are no such labels.
    """
    try:
        array = _array(labels)
    except ValueError:
        msg = f"{name}: expected {n_rows} entries, one per row, got rows of several lengths."
        raise InputError(msg) from None
    if array.shape != (n_rows,):
        got = f"shape {array.shape}" if array.ndim else "a single value"
        msg = f"{name}: expected {n_rows} entries, one per row, got {got}."
        raise InputError(msg)
    missing = _count_missing(array)
    if missing:
        msg = (
            f"{name}: expected an entry in every row, got {missing} missing. Give them a name of "
            "their own, or drop those rows everywhere."
        )
        raise InputError(msg)
    try:
        np.unique(array)
    except TypeError:  # text and numbers, which have no order
        msg = f"{name}: expected entries of one type, got several. Make all text."
        raise InputError(msg) from None
    return array


def is_times(y: Any) -> bool:
    """Return whether `y` looks like event and time of each row."""
    names = _names_of(y)
    return names is not None and set(names) == set(_NAMES)


def known_times(y: Any) -> tuple[Floats, Floats] | None:
    """Return event and time as numbers, NaN where there is none; None if `y` is something else."""
    names = _names_of_times(y)
    if names is None:
        return None
    event, time = (_as_numbers(_array(y[name])) for name in names)
    return event, time


def _as_numbers(column: NDArray[Any]) -> Floats:
    if column.dtype.kind in "mM":
        return np.full(len(column), np.nan)
    cells = [np.nan if is_missing(cell) else cell for cell in column.tolist()]
    try:
        return np.asarray(cells, dtype=np.float64)
    except (TypeError, ValueError):
        return np.full(len(cells), np.nan)


def _names_of_times(y: Any) -> tuple[str, str] | None:
    """Return what `y` calls event and time, if it has no other columns."""
    names = _names_of(y)
    if names is None or len(names) != 2:
        return None
    if set(names) == set(_NAMES):
        return _NAMES
    is_packed = isinstance(y, np.ndarray) and y.dtype[names[0]].kind == "b"
    return (names[0], names[1]) if is_packed else None


def _names_of(y: Any) -> tuple[str, ...] | None:
    if isinstance(y, np.ndarray):
        return None if y.dtype.names is None else tuple(y.dtype.names)
    columns = getattr(y, "columns", None)
    return None if columns is None else tuple(str(name) for name in columns)


def _columns(y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    names = _names_of_times(y)
    if names is None:
        others = _names_of(y)
        got = type(y).__name__ if others is None else f"{len(others)} column(s) of other names"
        raise InputError(f"y: expected {_SHAPE}, got {got}. Make one of event and time.")
    return _array(y[names[0]]), _array(y[names[1]])


def _array(column: Any) -> NDArray[Any]:
    return np.asarray(column.to_numpy() if hasattr(column, "to_numpy") else column)


def _read_event(column: NDArray[Any]) -> NDArray[np.bool_]:
    _refuse_missing(column, "event")
    if column.dtype.kind == "b":
        return column
    try:
        numbers = np.asarray(column, dtype=np.float64)
        usable = bool(np.isin(numbers, (0.0, 1.0)).all())
    except (TypeError, ValueError):
        usable = False
    if not usable:
        msg = (
            "y: expected event to be true or false (1 or 0) in every row, got other values. One "
            "event is modelled: call all others censored, or choose one."
        )
        raise InputError(msg)
    return np.asarray(numbers == 1.0)


def _read_time(column: NDArray[Any]) -> Floats:
    if column.dtype.kind in "mM":
        msg = (
            "y: expected time as numbers, in one unit, got dates or durations. Subtract the "
            "index date and divide by one day, for example."
        )
        raise InputError(msg)
    _refuse_missing(column, "time")
    try:
        times = None if column.dtype.kind in "USb" else np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        times = None
    if times is None:
        raise InputError(f"y: expected time as numbers, got dtype {column.dtype}. Convert it.")
    unusable = int((~(np.isfinite(times) & (times > 0))).sum())
    if unusable:
        msg = (
            f"y: expected time to be finite and above 0, got others in {unusable} row(s). Rows "
            "without follow-up say nothing of what comes: drop them everywhere."
        )
        raise InputError(msg)
    return times


def _refuse_missing(column: NDArray[Any], name: str) -> None:
    missing = _count_missing(column)
    if missing:
        msg = f"y: expected {name} in every row, got {missing} missing. Drop those rows everywhere."
        raise InputError(msg)


def _count_missing(column: NDArray[Any]) -> int:
    if column.dtype.kind in "biuU":
        return 0
    if column.dtype.kind == "f":
        return int(np.isnan(column).sum())
    return sum(is_missing(entry) for entry in column.ravel().tolist())
