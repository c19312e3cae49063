"""Times of FHIR as moments: instants with a zone, days, and months or years alone."""

from __future__ import annotations

import polars as pl

NO_ZONE = "with an hour but no zone"
_MOMENT = pl.Datetime("us", "UTC")
_CLOCK = r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?"
# The last place on earth where a day ends.
_WEST = pl.duration(hours=12)


def instant(text: pl.Expr) -> pl.Expr:
    """Return the moments of texts that have an hour and a zone, null for all others."""
    whole = pl.when(text.str.contains(_CLOCK + r"(Z|[+-]\d\d:\d\d)$")).then(text)
    seconds = whole.str.replace(r"T(\d\d:\d\d)(Z|[+-])", "T${1}:00${2}")
    return seconds.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC"
    )


def moment(text: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return ``time`` and ``is_day``, which says that the day alone is known.

    A month or a year alone counts from its last moment, wherever on earth: only then is it sure to
    be over.
    """
    day = _date(text, r"^\d{4}-\d\d-\d\d$", "")
    month = _date(text, r"^\d{4}-\d\d$", "-01").dt.offset_by("1mo")
    year = _date(text, r"^\d{4}$", "-01-01").dt.offset_by("1y")
    last = pl.coalesce(month, year).cast(_MOMENT) + _WEST - pl.duration(microseconds=1)
    time = pl.coalesce(instant(text), day.cast(_MOMENT), last)
    return time.alias("time"), day.is_not_null().alias("is_day")


def lacks_zone(text: pl.Expr) -> pl.Expr:
    """Return whether texts have an hour, and no zone."""
    return text.str.contains(_CLOCK + "$")


def is_partial(text: pl.Expr) -> pl.Expr:
    """Return whether texts are a month or a year alone."""
    return text.str.contains(r"^\d{4}(-\d\d)?$")


def birth(text: pl.Expr) -> pl.Expr:
    """Return dates of birth; of a month or a year alone, the middle."""
    day = _date(text, r"^\d{4}-\d\d-\d\d$", "")
    month = _date(text, r"^\d{4}-\d\d$", "-15")
    return pl.coalesce(day, month, _date(text, r"^\d{4}$", "-07-01"))


def _date(text: pl.Expr, pattern: str, ending: str) -> pl.Expr:
    return (
        pl.when(text.str.contains(pattern))
        .then(text + ending)
        .str.to_date("%Y-%m-%d", strict=False)
    )
