"""Statistics of each lab before each index date.

What is read in batches is brought to a few numbers per event that counts; those are sorted by
place, so that every sum runs along one array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from asfusion.events._cells import plain_number
from asfusion.events._checked import Read, Reading, with_units
from asfusion.events._tables import collect
from asfusion.exceptions import InputError

_SECOND = 1_000_000  # microseconds
_DAY, _YEAR = 86_400.0, 365.25 * 86_400.0  # seconds
# Batches come in any order, and repeats of one second are summed in theirs. What that changes
# is beyond these digits.
_DIGITS = 12

# What each statistic is called in the name of a feature, after the lab.
SUFFIXES: Mapping[str, str] = {
    "last": "last",
    "mean": "mean",
    "min": "min",
    "max": "max",
    "slope": "slope_per_year",
    "count": "count",
    "time_since": "days_since",
    "at_limit": "at_limit",
}


@dataclass(frozen=True)
class Values:
    """Values that count, sorted by cell (row and lab), then from the index date backwards.

    Parameters
    ----------
    cell : ndarray of int64
        Row of the index times the number of labs, plus the lab.
    seconds : ndarray of int64
        Seconds from the value to the index date, from 0.
    value : ndarray of float64
        In the unit of the lab.
    at_limit : ndarray of bool
        Whether the value is a detection limit.
    """

    cell: NDArray[np.int64]
    seconds: NDArray[np.int64]
    value: NDArray[np.float64]
    at_limit: NDArray[np.bool_]


def events_before(
    events: pl.LazyFrame,
    reading: Reading,
    units: pl.DataFrame,
    index: pl.DataFrame,
    window_us: int | None,
) -> pl.DataFrame:
    """Return the events of each lab in the window up to each index date.

    Parameters
    ----------
    events : LazyFrame
        Events under our names.
    reading : Reading
        How values are read.
    units : DataFrame
        Codes and units of the events.
    index : DataFrame
        Each ``patient`` and date ``at`` once, numbered by ``row``.
    window_us : int or None
        How far back to look, in microseconds.
    """
    before = pl.col("at") - pl.col("time")
    # Most events are outside: they go before anything of them is read.
    near = events.join(index.lazy(), on="patient").filter(before >= 0)
    if window_us is not None:
        near = near.filter(before < window_us)
    plain = plain_number(pl.col("value"), reading.kind, decimal=reading.decimal)
    return collect(
        with_units(near, units).select(
            "row",
            "which",
            (before // _SECOND).alias("seconds"),
            plain.alias("plain"),
            pl.when(plain.is_null()).then(pl.col("value")).alias("value"),
        )
    )


def are_strangers(events: pl.LazyFrame, index: pl.DataFrame) -> bool:
    """Return whether several patients were asked for, and none of them has any event."""
    patients = index.select("patient").unique()
    if len(patients) < 2:
        return False
    return collect(events.join(patients.lazy(), on="patient", how="semi").head(1)).is_empty()


def in_order(
    kept: pl.DataFrame, read: Read, lab_of_unit: NDArray[np.int64], n_rows: int, n_labs: int
) -> Values:
    """Return the values that can be used, sorted by cell, then back from the index date."""
    seconds = kept["seconds"].to_numpy()
    span = _check_span(int(seconds.max(initial=0)), n_rows * n_labs)
    cell = kept["row"].to_numpy().astype(np.int64) * n_labs + lab_of_unit[kept["which"].to_numpy()]
    columns = {"place": cell * span + seconds, "value": read.value, "at_limit": read.at_limit}
    table = pl.DataFrame(columns).filter(pl.col("value").is_not_nan()).sort("place")
    place = table["place"].to_numpy()
    cell = place // span
    return Values(
        cell, place - cell * span, table["value"].to_numpy(), table["at_limit"].to_numpy()
    )


def _check_span(longest: int, n_cells: int) -> int:
    """Return how many seconds a cell has, such that cell and second fit into one number."""
    span = longest + 1
    if span * max(n_cells, 1) < 2**63:
        return span
    msg = (
        f"index_dates: expected fewer rows times labs, got {n_cells} over {span / _YEAR:.0f} "
        "years. Pass them in parts, or leave out events with impossible times."
    )
    raise InputError(msg)


@dataclass(frozen=True)
class Statistics:
    """Statistics of the cells that have values.

    Parameters
    ----------
    cell : ndarray of int64
        The cells, rising.
    n_values : ndarray of int64
        Values in each, repeats included.
    table : dict of str to ndarray of float64
        The statistics of each, NaN where there is none.
    """

    cell: NDArray[np.int64]
    n_values: NDArray[np.int64]
    table: dict[str, NDArray[np.float64]]


def statistics(values: Values) -> Statistics:
    """Return every statistic of each row and lab.

    Values of one lab in one second, repeats above all, count as one: their mean.
    """
    first = _starts(values.cell, values.seconds)
    n_repeats = np.diff(np.append(first, len(values.cell)))
    value = _sums(values.value, first) / n_repeats
    limit = _sums(values.at_limit.astype(np.float64), first) > 0
    cell, seconds = values.cell[first], values.seconds[first]
    start = _starts(cell)
    n = np.diff(np.append(start, len(cell))).astype(np.float64)
    end = start + n.astype(np.int64) - 1
    years = -seconds / _YEAR
    table = {
        "last": value[start],
        "mean": _sums(value, start) / n,
        "min": _reduced(np.minimum, value, start),
        "max": _reduced(np.maximum, value, start),
        "count": n,
        "time_since": seconds[start] / _DAY,
        "at_limit": _sums(limit.astype(np.float64), start) / n,
        "slope": _slope(years, value, start, n),
    }
    # Two values of one day say nothing of a year.
    table["slope"][seconds[end] - seconds[start] < _DAY] = np.nan
    return Statistics(cell[start], _sums(n_repeats, start).astype(np.int64), table)


def _slope(
    years: NDArray[np.float64],
    value: NDArray[np.float64],
    start: NDArray[np.int64],
    n: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return least-squares slopes, from distances to the means of each cell."""
    counts = n.astype(np.int64)
    far = years - np.repeat(_sums(years, start) / n, counts)
    off = value - np.repeat(_sums(value, start) / n, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_sums(far * off, start) / _sums(far * far, start))


def _starts(*keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where a run of equal keys begins, for keys that are sorted."""
    if not len(keys[0]):
        return np.empty(0, dtype=np.int64)
    changes = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _reduced(
    how: np.ufunc, values: NDArray[np.float64], start: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.asarray(how.reduceat(values, start)) if len(start) else np.empty(0)


def _sums(values: NDArray[np.generic], start: NDArray[np.int64]) -> NDArray[np.float64]:
    return _reduced(np.add, values, start)  # type: ignore[arg-type]


def spread_out(
    found: Statistics, n_rows: int, n_labs: int, wanted: Sequence[str]
) -> NDArray[np.float64]:
    """Return features (n_rows, n_labs * n_statistics), NaN where nothing is known.

    A row without any event stays missing throughout; in other rows, a lab without events
    has a count of zero.
    """
    wide = np.full((n_rows, n_labs, len(wanted)), np.nan)
    row, lab = np.divmod(found.cell, n_labs)
    for position, name in enumerate(wanted):
        if name == "count":
            wide[row, :, position] = 0.0
        wide[row, lab, position] = _rounded(found.table[name])
    return wide.reshape(n_rows, n_labs * len(wanted))


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        places = _DIGITS - 1 - np.floor(np.log10(size))
        scale = 10.0 ** np.clip(places, -200, 200)
        rounded = np.round(values * scale) / scale
    return np.where(np.isfinite(rounded), rounded, values)
