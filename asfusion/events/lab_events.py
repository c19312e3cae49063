"""`LabEvents`: laboratory events, one a row, to one row of features per patient and date."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from asfusion._checks import check_choice, in_words, quoted
from asfusion._door import public
from asfusion._warn import warn_user
from asfusion.events._checked import (
    Reading,
    find_units,
    left_out_in_words,
    read_values,
    refuse,
)
from asfusion.events._tables import check_zones, read_events, read_index
from asfusion.events._vocabulary import Lab, check_known, read_labs
from asfusion.events._wide import (
    SUFFIXES,
    Statistics,
    are_strangers,
    events_before,
    in_order,
    spread_out,
    statistics,
)
from asfusion.exceptions import (
    ColumnError,
    ConfigurationError,
    UnitError,
)

_WINDOW = re.compile(r"(\d+)\s*([dwy])", re.ASCII)
_DAYS = {"d": 1.0, "w": 7.0, "y": 365.25}
_DAY_US = 86_400_000_000


class LabEvents(BaseEstimator):  # type: ignore[misc]
    """Turn long lab events into wide features: what was known of each patient at a date.

    Events are rows of patient, time, code, value and unit, in memory or in Parquet files
    that may be larger than it. Units are converted to one per lab, or refused; nothing
    after a patient's index date is used; nothing is learned, so there is nothing to leak.

    Parameters
    ----------
    codes : mapping of str to list of str or int, or list of str
        Labs, each with the codes of its events as they stand there, as text or as whole
        numbers such as the concept ids of OMOP. None instead of codes,
        or a plain list of names, takes the LOINC codes of a known lab: ``crp``, ``esr``,
        ``haemoglobin``, ``white_cells``, ``neutrophils``, ``lymphocytes``, ``platelets``,
        ``creatinine``, ``alt``, ``albumin``, ``ferritin``.
    units : mapping of str to str, optional
        Unit of a lab's features. By default the standard unit of the quantity that the lab
        is named after (mg/L for ``crp``); needed for others, whose events must all be in it.
    default_units : mapping of str to str, optional
        Unit of a lab's events that come without one.
    ranges : mapping of str to (low, high), optional
        Possible values of a lab in its unit, where they are to differ from the known ones.
    statistics : sequence of str
        Any of ``"last"``, ``"mean"``, ``"min"``, ``"max"``, ``"slope"`` (least squares, per
        year), ``"count"``, ``"time_since"`` (days from the last value to the index date) and
        ``"at_limit"`` (share of moments with a detection limit).
    window : str or timedelta, optional
        How far back to look, such as ``"365d"``, ``"26w"`` or ``"2y"``; everything by default.
    below_limit : {"half", "limit"}
        What ``<5`` counts as: 2.5 or 5. What is above a limit (``>100``) counts as the limit.
    invalid : {"raise", "missing"}
        Whether events without a known unit, time or patient, that are no number or impossible,
        are an error, or are left out, counted and warned of.
    decimal : {".", ","}
        Decimal sign of values that are text.
    patient, time, code, value : str
        Names of the columns of events; `patient` is that of the index dates, too.
    unit : str or None
        Name of the column of units; None if there is none (`default_units` says them all).
    index_date : str
        Name of the column of index dates.

    Attributes
    ----------
    report_ : dict of str to dict
        Counts per lab from the last `transform`: ``in_all`` the events of its codes; ``events``
        of the patients and windows asked for, and of those ``used``, ``repeated`` (at a moment
        that had a value already), ``at_limit``, ``no_value``, and every reason for which
        an event is invalid. Those without patient or time are counted in all.

    Notes
    -----
    *Leakage.* An event counts if it is at or before the index date. A date without a time
    means its first moment: labs of that same day are not used. Give a time to use them. Times
    with a zone are compared as moments; a zone in events or index dates alone is an error.

    *Moments.* Values of one lab of one patient in one second count as one, their mean.

    *Missing.* Patients without any event in the window keep their row, all missing, which
    for a fusion means that the modality is. Patients with some have counts of zero for the
    labs that were not measured. A slope needs values a day or more apart.

    *Detection limits.* Half the limit is the usual simple substitute; it biases means where
    many values are below [1]_. ``"at_limit"`` says how many.

    References
    ----------
    .. [1] Helsel, "Fabricating data: how substituting values for nondetects can ruin results,
       and what can be done about it", Chemosphere 2006.
       https://doi.org/10.1016/j.chemosphere.2006.04.051

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> events = pd.DataFrame({
    ...     "patient": [1, 1, 1, 2],
    ...     "time": pd.to_datetime(["2024-01-05", "2024-03-05", "2024-06-01", "2024-02-02"]),
    ...     "code": ["1988-5", "CRP", "1988-5", "CRP"],
    ...     "value": ["1.4", "6", "50", "<5"],
    ...     "unit": ["mg/dL", "mg/L", "mg/L", "mg/L"],
    ... })
    >>> visits = pd.DataFrame(
    ...     {"patient": [1, 2, 3], "index_date": pd.to_datetime(["2024-04-01"] * 3)}
    ... )
    >>> labs = af.LabEvents({"crp": ["1988-5", "CRP"]}, statistics=["last", "max", "count"])
    >>> labs.transform(events, visits)
       crp_last  crp_max  crp_count
    0       6.0     14.0        2.0
    1       2.5      2.5        1.0
    2       NaN      NaN        NaN
    """

    def __init__(
        self,
        codes: Mapping[str, Sequence[str | int] | str | int | None] | Sequence[str],
        *,
        units: Mapping[str, str] | None = None,
        default_units: Mapping[str, str] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        statistics: Sequence[str] = ("last", "mean", "min", "max", "slope", "count", "time_since"),
        window: str | datetime.timedelta | None = None,
        below_limit: Literal["half", "limit"] = "half",
        invalid: Literal["raise", "missing"] = "raise",
        decimal: Literal[".", ","] = ".",
        patient: str = "patient",
        time: str = "time",
        code: str = "code",
        value: str = "value",
        unit: str | None = "unit",
        index_date: str = "index_date",
    ) -> None:
        self.codes = codes
        self.units = units
        self.default_units = default_units
        self.ranges = ranges
        self.statistics = statistics
        self.window = window
        self.below_limit = below_limit
        self.invalid = invalid
        self.decimal = decimal
        self.patient = patient
        self.time = time
        self.code = code
        self.value = value
        self.unit = unit
        self.index_date = index_date

    @public
    def transform(self, events: Any, index_dates: Any) -> Any:
        """Return one row of features for each row of index dates.

        Parameters
        ----------
        events : pandas or polars DataFrame, LazyFrame, or path of Parquet
            One event a row. A path may name a file, a folder or a pattern; it is read in
            batches.
        index_dates : pandas or polars DataFrame
            A patient and a date a row; a patient may have several.

        Returns
        -------
        DataFrame
            Features in the order of `get_feature_names_out`, in the library (and with the index)
            of `index_dates`, rows in its order.

        Raises
        ------
        ConfigurationError
            If a parameter is unusable.
        ColumnError
            If a column is missing or of another type, or only one of times and index dates has
            a zone.
        UnitError
            If an event has no known unit, or an impossible value.
        InputError
            If a value is no number, an event lacks patient or time, or no event has a code.
        """
        labs, wanted, window_us = self._read_parameters()
        index, of_index = read_index(index_dates, self.patient, self.index_date)
        rows, position = _distinct(index)
        lazy, reading, of_events = self._read_events(events)
        check_zones(self.time, self.index_date, of_events=of_events, of_index=of_index)
        rows = _as_patients(rows, lazy.collect_schema()["patient"])
        units = find_units(lazy, labs, dict(self.default_units or {}))
        kept = events_before(lazy, reading, units, rows, window_us)
        if kept.is_empty() and are_strangers(lazy, rows):
            msg = (
                "LabEvents: none of the patients of index_dates has any event. Are they written "
                "alike in both tables (case, blanks, leading zeros)?"
            )
            warn_user(msg)
        read = read_values(kept, reading, units, labs)
        if self.invalid == "raise":
            refuse(read.counts, labs, self.decimal)
        elif said := left_out_in_words(read.counts):
            warn_user(said)
        number_of = {lab.name: number for number, lab in enumerate(labs)}
        lab_of_unit = np.asarray([number_of[name] for name in units["lab"]], dtype=np.int64)
        table = statistics(in_order(kept, read, lab_of_unit, len(rows), len(labs)))
        self.report_ = _report(read.counts, table)
        wide = spread_out(table, len(rows), len(labs), wanted)[position]
        return _like(index_dates, wide, self._names(labs, wanted))

    def units_found(self, events: Any) -> Any:
        """Return which units the events have, to see before they are converted.

        Parameters
        ----------
        events : pandas or polars DataFrame, LazyFrame, or path of Parquet
            One event a row.

        Returns
        -------
        DataFrame
            A row per lab, code and unit: ``n`` events, and the ``factor`` to the lab's unit,
            missing if the unit is not known. In pandas for events in pandas, else in polars.
            Units are shown as they stand in the cells: it is for your eyes, not for a log.
        """
        labs, _, _ = self._read_parameters()
        units = find_units(self._read_events(events)[0], labs, dict(self.default_units or {}))
        factor = pl.col("numerator") / pl.col("denominator")
        found = units.select("lab", "code", "unit", "n", factor.alias("factor"))
        if isinstance(events, pl.DataFrame | pl.LazyFrame | str | Path):
            return found
        import pandas as pd

        return pd.DataFrame(found.to_dict(as_series=False))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, such as ``crp_last`` and ``crp_slope_per_year``."""
        labs, wanted, _ = self._read_parameters()
        return np.asarray(self._names(labs, wanted), dtype=object)

    def feature_units(self) -> dict[str, str]:
        """Return the unit of each feature by name; counts and shares are unitless (``"1"``)."""
        labs, wanted, _ = self._read_parameters()
        special = {"count": "1", "at_limit": "1", "time_since": "d"}
        return {
            f"{lab.name}_{SUFFIXES[name]}": special.get(
                name, f"{lab.unit} per year" if name == "slope" else lab.unit
            )
            for lab in labs
            for name in wanted
        }

    @staticmethod
    def _names(labs: Sequence[Lab], wanted: Sequence[str]) -> list[str]:
        return [f"{lab.name}_{SUFFIXES[name]}" for lab in labs for name in wanted]

    def _read_events(self, events: Any) -> tuple[pl.LazyFrame, Reading, bool]:
        """Return events, how values are read, and whether times have a zone."""
        names = ("patient", "time", "code", "value", "unit")
        lazy, has_zone = read_events(events, {name: getattr(self, name) for name in names})
        kind = lazy.collect_schema()["value"]
        return lazy, Reading(kind, decimal=self.decimal, below=self.below_limit), has_zone

    def _read_parameters(self) -> tuple[tuple[Lab, ...], list[str], int | None]:
        labs = read_labs(self.codes, self.units, self.ranges)
        self._check_default_units({lab.name: lab for lab in labs})
        check_choice(self.below_limit, "below_limit", ("half", "limit"))
        check_choice(self.invalid, "invalid", ("raise", "missing"))
        check_choice(self.decimal, "decimal", (".", ","))
        wanted = [self.statistics] if isinstance(self.statistics, str) else list(self.statistics)
        for name in wanted:
            check_choice(name, "statistics", SUFFIXES)
        if not wanted or len(set(wanted)) < len(wanted):
            msg = f"statistics: expected a list of different ones of {quoted(SUFFIXES, limit=20)}."
            raise ConfigurationError(msg)
        return labs, wanted, _window_us(self.window)

    def _check_default_units(self, labs: Mapping[str, Lab]) -> None:
        given = dict(self.default_units or {})
        check_known(given, labs, "default_units")
        for name, unit in given.items():
            if labs[name].factor(unit) is None:
                msg = (
                    f"default_units[{name!r}]: expected one of {labs[name].units_in_words()}, "
                    f"got {unit!r}."
                )
                raise UnitError(msg)


def _window_us(window: Any) -> int | None:
    """Return a window in microseconds."""
    if window is None:
        return None
    if isinstance(window, datetime.timedelta) and window > datetime.timedelta(0):
        return window // datetime.timedelta(microseconds=1)
    match = _WINDOW.fullmatch(window.strip()) if isinstance(window, str) else None
    if match and int(match[1]) > 0:
        return round(int(match[1]) * _DAYS[match[2]] * _DAY_US)
    msg = (
        "window: expected days, weeks or years such as '365d', '26w' or '2y', got "
        f"{in_words(window)}."
    )
    raise ConfigurationError(msg)


def _as_patients(rows: pl.DataFrame, kind: pl.DataType) -> pl.DataFrame:
    """Return the rows, if their patients are of the type that the events have."""
    if rows.is_empty():
        return rows.cast({"patient": kind})
    if kind.is_integer() != rows.schema["patient"].is_integer():
        msg = (
            f"Patients: expected one type in events and index_dates, got {kind} and "
            f"{rows.schema['patient']}. Convert one of them; mind leading zeros."
        )
        raise ColumnError(msg)
    return rows


def _distinct(index: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Return each pair of patient and date once, numbered, and where each row finds its own."""
    rows = index.unique(maintain_order=True).with_row_index("row")
    found = index.join(rows, on=["patient", "at"], how="left", maintain_order="left")
    return rows, found["row"].to_numpy().astype(np.int64)


def _report(
    counts: Mapping[str, Mapping[str, int]], table: Statistics
) -> dict[str, dict[str, int]]:
    of_lab, report = table.cell % len(counts), {}
    for number, (lab, found) in enumerate(counts.items()):
        own = of_lab == number
        used = int(table.n_values[own].sum())
        repeated = used - int(table.table["count"][own].sum())
        first = {name: found[name] for name in ("in_all", "events")}
        report[lab] = {**first, "used": used, "repeated": repeated, **found}
    return report


def _like(index_dates: Any, wide: NDArray[np.float64], names: list[str]) -> Any:
    """Return features in the library of the index dates."""
    if isinstance(index_dates, pl.DataFrame | pl.LazyFrame):
        return pl.DataFrame(wide, schema=names, orient="row").fill_nan(None)
    import pandas as pd

    return pd.DataFrame(wide, columns=names, index=index_dates.index)
