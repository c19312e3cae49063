"""Times of FHIR as moments: instants with a zone, days, and months or years alone."""

from __future__ import annotations

import polars as pl

NO_ZONE = "with an hour but no zone"
_MOMENT = pl.Datetime("us", "UTC")
_SECONDS, _MINUTES = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", r"^\d{4}-\d\d-\d\dT\d\d:\d\d"
_ZONE = r"(Z|[+-]\d\d:\d\d)$"
# The last place on earth where a day ends.
_WEST = pl.duration(hours=12)


def instants(texts: pl.Series) -> pl.Series:
    """Return the moments of texts that have an hour and a zone, null for all others."""
    found = pl.select(_instant(pl.lit(texts), _SECONDS, "%Y-%m-%dT%H:%M:%S%.f%#z")).to_series()
    if found.null_count() > texts.null_count():
        coarse = _instant(pl.lit(texts), _MINUTES, "%Y-%m-%dT%H:%M%#z")
        found = pl.select(pl.coalesce(pl.lit(found), coarse)).to_series()
    return found


def _instant(text: pl.Expr, pattern: str, written: str) -> pl.Expr:
    whole = pl.when(text.str.contains(pattern + _ZONE)).then(text)
    return whole.str.to_datetime(written, strict=False, time_unit="us", time_zone="UTC")


def moments(texts: pl.Series) -> pl.DataFrame:
    """Return ``time``, and whether a day alone, a part of a date, or no zone is told.

    A month or a year alone (``is_partial``) counts from its last moment, wherever on earth: only
    then is it sure to be over. What has an hour and no zone (``no_zone``) has no time.
    """
    time = instants(texts)
    table = pl.DataFrame({"at": texts, "time": time})
    flags = ("is_day", "is_partial", "no_zone")
    if time.null_count() == texts.null_count():
        return table.select("time", *(pl.lit(value=False).alias(name) for name in flags))
    text = pl.col("at")
    day = _date(text, r"^\d{4}-\d\d-\d\d$", "")
    month = _date(text, r"^\d{4}-\d\d$", "-01").dt.offset_by("1mo")
    year = _date(text, r"^\d{4}$", "-01-01").dt.offset_by("1y")
    last = pl.coalesce(month, year).cast(_MOMENT) + _WEST - pl.duration(microseconds=1)
    no_zone = text.str.contains(f"({_SECONDS}|{_MINUTES})$")
    return table.select(
        pl.coalesce("time", day.cast(_MOMENT), last),
        day.is_not_null().alias("is_day"),
        last.is_not_null().alias("is_partial"),
        no_zone.fill_null(value=False).alias("no_zone"),
    )


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
