"""Cells of the value column as numbers: ``5.2``, ``<5``, ``>= 100``, and what is none."""

from __future__ import annotations

import polars as pl

_BELOW, _ABOVE = ("<", "≤"), (">", "≥")


def plain_number(value: pl.Expr, dtype: pl.DataType, *, decimal: str) -> pl.Expr:
    """Return cells that are nothing but a number, null for all others."""
    plain = value.cast(pl.Float64, strict=False)
    is_plain = plain.is_finite()
    if decimal == "," and not dtype.is_numeric():
        # 1.234 may well be a thousand there.
        is_plain &= ~value.cast(pl.String).str.contains(".", literal=True)
    return pl.when(is_plain).then(plain)


def number(value: pl.Expr, dtype: pl.DataType, *, decimal: str, below: str) -> pl.Expr:
    """Return values as float64, null where a cell is missing or no finite number.

    A value below a detection limit is the limit, or half of it; one above a limit is the limit.
    """
    if dtype.is_numeric():
        return plain_number(value, dtype, decimal=decimal)
    text = value.cast(pl.String).str.strip_chars()
    bare = (
        pl.when(is_limit(value, dtype))
        .then(text.str.slice(1).str.strip_prefix("=").str.strip_chars_start())
        .otherwise(text)
    )
    if decimal == ",":
        bare = pl.when(~bare.str.contains(".", literal=True)).then(
            bare.str.replace(",", ".", literal=True)
        )
    read = bare.cast(pl.Float64, strict=False)
    if below == "half":
        is_below = pl.any_horizontal(text.str.starts_with(sign) for sign in _BELOW)
        read = pl.when(is_below).then(read / 2).otherwise(read)
    return pl.when(read.is_finite()).then(read)


def is_known(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return whether a cell holds anything at all."""
    if dtype.is_numeric():
        return value.is_not_null() & value.cast(pl.Float64).is_not_nan()
    return value.is_not_null() & (value.cast(pl.String).str.strip_chars() != "")


def is_limit(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return whether a cell is a detection limit."""
    if dtype.is_numeric():
        return pl.lit(value=False)
    text = value.cast(pl.String).str.strip_chars_start()
    return pl.any_horizontal(text.str.starts_with(sign) for sign in (*_BELOW, *_ABOVE))


def has_other_decimal(value: pl.Expr, dtype: pl.DataType, *, decimal: str) -> pl.Expr:
    """Return whether a cell would be a number with the other decimal sign."""
    if dtype.is_numeric():
        return pl.lit(value=False)
    other = "," if decimal == "." else "."
    own = number(value, dtype, decimal=decimal, below="limit")
    swapped = number(value, dtype, decimal=other, below="limit")
    holds = value.cast(pl.String).str.contains(other, literal=True)
    return holds & own.is_null() & swapped.is_not_null()
