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
_NAMES = ("event", "time")
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


def is_times(y: Any) -> bool:
    """Return whether `y` looks like event and time of each row."""
    names = _names_of(y)
    return names is not None and set(names) == set(_NAMES)


def _names_of(y: Any) -> tuple[str, ...] | None:
    if isinstance(y, np.ndarray):
        return None if y.dtype.names is None else tuple(y.dtype.names)
    columns = getattr(y, "columns", None)
    return None if columns is None else tuple(str(name) for name in columns)


def _columns(y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    names = _names_of(y)
    if names is None:
        msg = f"y: expected {_SHAPE}, got {type(y).__name__}. Make one of event and time."
        raise InputError(msg)
    if set(names) == set(_NAMES):
        return _array(y["event"]), _array(y["time"])
    if isinstance(y, np.ndarray) and len(names) == 2 and y.dtype[names[0]].kind == "b":
        return y[names[0]], y[names[1]]
    msg = f"y: expected {_SHAPE}, got {len(names)} column(s) of other names. Rename them."
    raise InputError(msg)


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
    missing = sum(is_missing(entry) for entry in column.ravel().tolist())
    if missing:
        msg = f"y: expected {name} in every row, got {missing} missing. Drop those rows everywhere."
        raise InputError(msg)
