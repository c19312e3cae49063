"""Which units events have, their values in the units of their labs, and what cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion.events._cells import has_other_decimal, is_known, is_limit, number
from asfusion.events._tables import collect
from asfusion.events._vocabulary import Lab
from asfusion.exceptions import InputError, UnitError

# What an event can lack or be, and what it is called in a warning.
_WORDS = {
    "no_patient": "without a patient",
    "no_time": "without a time",
    "no_unit": "without a unit",
    "unknown_unit": "in an unknown unit",
    "other_decimal": "with the other decimal sign",
    "no_number": "that are no number",
    "impossible": "with an impossible value",
}
PROBLEMS = tuple(_WORDS)
COUNTS = ("in_all", "events", "at_limit", "no_value", *PROBLEMS)


@dataclass(frozen=True)
class Reading:
    """How the cells of the value column are to be read."""

    kind: pl.DataType
    decimal: str
    below: str

    def number(self) -> pl.Expr:
        """Return values as numbers in their own unit, null where they are none."""
        return number(pl.col("value"), self.kind, decimal=self.decimal, below=self.below)

    def is_limit(self) -> pl.Expr:
        """Return whether a value is a detection limit."""
        return is_limit(pl.col("value"), self.kind)


FACTOR = ("numerator", "denominator", "low", "high")


def find_units(
    events: pl.LazyFrame, labs: tuple[Lab, ...], defaults: Mapping[str, str]
) -> pl.DataFrame:
    """Return a row per code and unit of all events of the labs, with the factor if it is known.

    Raises
    ------
    InputError
        If there are none.
    """
    lab_of = {code: lab for lab in labs for code in lab.codes}
    found = collect(
        events.filter(pl.col("code").is_in(list(lab_of)))
        .group_by("code", "unit")
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("patient").is_null().sum().cast(pl.Int64).alias("n_no_patient"),
            pl.col("time").is_null().sum().cast(pl.Int64).alias("n_no_time"),
        )
    ).sort("code", "unit", nulls_last=True)
    if found.is_empty():
        msg = (
            f"events: expected events of {quoted(lab.name for lab in labs)}, got none with their "
            "codes. Check codes= against the code column."
        )
        raise InputError(msg)
    factors = []
    for code, unit in found.select("code", "unit").iter_rows():
        lab = lab_of[code]
        factor = lab.factor((unit or "").strip() or defaults.get(lab.name))
        parts = (None, None) if factor is None else (factor.numerator, factor.denominator)
        factors.append((lab.name, *parts, lab.low, lab.high))
    schema = {"lab": pl.String, **dict.fromkeys(FACTOR, pl.Float64)}
    return found.hstack(pl.DataFrame(factors, schema=schema, orient="row", strict=False))


@dataclass(frozen=True)
class Read:
    """The values that were read, with what is wrong with some of them.

    Parameters
    ----------
    value : ndarray of float64
        In the unit of the lab; NaN where it cannot be used.
    at_limit : ndarray of bool
        Whether the value is a detection limit.
    counts : dict of str to dict of str to int
        For each lab, how many events there are and what is wrong with them.
    """

    value: NDArray[np.float64]
    at_limit: NDArray[np.bool_]
    counts: dict[str, dict[str, int]]


def read_values(
    kept: pl.DataFrame, reading: Reading, units: pl.DataFrame, labs: tuple[Lab, ...]
) -> Read:
    """Return values in the units of their labs.

    Parameters
    ----------
    kept : DataFrame
        ``which`` row of `units` an event is of, its number where it is ``plain``, and else its
        cell as ``value``.
    reading : Reading
        How to read that.
    units : DataFrame
        From `find_units`.
    labs : tuple of Lab
        The labs.
    """
    which = kept["which"].to_numpy()
    value = kept["plain"].fill_null(np.nan).to_numpy().copy()
    at_limit = np.zeros(len(kept), dtype=bool)
    odd = kept["plain"].is_null().to_numpy()
    cells = _look_at(kept.filter(pl.col("plain").is_null()), reading)
    value[odd], at_limit[odd] = cells["number"].to_numpy(), cells["at_limit"].to_numpy()
    factor = units.select(FACTOR).cast(pl.Float64).fill_null(np.nan)
    up, down, low, high = (factor[name].to_numpy()[which] for name in FACTOR)
    value = value * up / down
    impossible = (value < low) | (value > high)
    value[impossible] = np.nan
    totals = {name: np.bincount(which[odd], cells[name], len(units)) for name in _ODD}
    totals |= {
        "events": np.bincount(which, minlength=len(units)),
        "at_limit": np.bincount(which, at_limit, len(units)),
        "impossible": np.bincount(which, impossible, len(units)),
    }
    return Read(value, at_limit, _by_lab(totals, units, labs))


_ODD = ("no_value", "other_decimal", "no_number")


def _look_at(odd: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """Return what the cells are that are not plain numbers."""
    value, kind = pl.col("value"), reading.kind
    known, read = is_known(value, kind), reading.number()
    other_decimal = has_other_decimal(value, kind, decimal=reading.decimal)
    return odd.select(
        read.fill_null(np.nan).alias("number"),
        (known & reading.is_limit() & read.is_not_null()).alias("at_limit"),
        (~known).alias("no_value"),
        other_decimal.alias("other_decimal"),
        (known & read.is_null() & ~other_decimal).alias("no_number"),
    )


def _by_lab(
    totals: Mapping[str, NDArray[Any]], units: pl.DataFrame, labs: tuple[Lab, ...]
) -> dict[str, dict[str, int]]:
    """Return the counts per code and unit as counts per lab."""
    unit, names = units["unit"], units["lab"].to_numpy()
    has_unit = (
        (unit.is_not_null() & (unit.str.strip_chars() != "")).fill_null(value=False).to_numpy()
    )
    is_strange = units["numerator"].is_null().to_numpy()
    whole = {
        "in_all": units["n"].to_numpy(),
        "no_patient": units["n_no_patient"].to_numpy(),
        "no_time": units["n_no_time"].to_numpy(),
        "no_unit": totals["events"] * (is_strange & ~has_unit),
        "unknown_unit": totals["events"] * (is_strange & has_unit),
    }
    parts = {**totals, **whole}
    return {
        lab.name: {name: int(parts[name][names == lab.name].sum()) for name in COUNTS}
        for lab in labs
    }


def with_units(events: pl.LazyFrame, units: pl.DataFrame) -> pl.LazyFrame:
    """Return the events of our codes, with ``which`` row of `units` they are of."""
    keys = units.with_row_index("which").select("code", "unit", "which")
    return events.join(keys.lazy(), on=["code", "unit"], nulls_equal=True)


def refuse(found: Mapping[str, Mapping[str, int]], labs: tuple[Lab, ...], decimal: str) -> None:
    """Raise for the first lab with events that cannot be used."""
    for lab in labs:
        counts = found[lab.name]
        for problem in PROBLEMS:
            if counts[problem]:
                kind = (
                    UnitError
                    if problem in ("no_unit", "unknown_unit", "impossible")
                    else InputError
                )
                raise kind(_in_words(problem, lab, counts, decimal))


def _in_words(problem: str, lab: Lab, counts: Mapping[str, int], decimal: str) -> str:
    n, name = counts[problem], lab.name
    total = counts["in_all" if problem in ("no_patient", "no_time") else "events"]
    unit = f"default_units={{{name!r}: {lab.unit!r}}}"
    other = "," if decimal == "." else "."
    text = {
        "no_patient": f"a patient in each of {total} events, got {n} without.",
        "no_time": f"a time in each of {total} events, got {n} without.",
        "no_unit": (
            f"a unit in each of {total} events, got {n} without. Pass {unit} if you know that "
            "this is what they are in."
        ),
        "unknown_unit": (
            f"units among {lab.units_in_words()}, got {n} of {total} events in another. "
            "units_found(events) lists them."
        ),
        "other_decimal": (
            f"numbers, got {n} of {total} with a decimal {'comma' if other == ',' else 'point'}. "
            f"Pass decimal={other!r}, or replace it if it separates thousands."
        ),
        "no_number": (
            f"numbers such as 5.2 or <5, got {n} of {total} that are none. Correct or blank them."
        ),
        "impossible": (
            f"{lab.low:g} to {lab.high:g} {lab.unit}, got {n} of {total} outside. Check their "
            f"unit, or widen ranges={{{name!r}: (low, high)}}."
        ),
    }
    return (
        f"Events of {name!r}: expected {text[problem]} invalid='missing' leaves such events out, "
        "and counts them."
    )


def left_out_in_words(found: Mapping[str, Mapping[str, int]]) -> str:
    """Return how many events are not used and why, empty if all are."""
    lines = []
    for name, counts in found.items():
        parts = [f"{counts[p]} {_WORDS[p]}" for p in PROBLEMS if counts[p]]
        if parts:
            lines.append(f"{name!r}: {', '.join(parts)}")
    return f"LabEvents left out events. {'; '.join(lines)}." if lines else ""
