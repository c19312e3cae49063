"""What polars is asked, with errors that show neither a path nor a cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TypeVar

import polars as pl

from asfusion.exceptions import ColumnError, InputError

T = TypeVar("T")
_OF_COLUMN = re.compile(r"(?:for|of|in) column ['\"]?(.+?)['\"]?:")


def asked(question: Callable[[], T], columns: Collection[str] = ()) -> T:
    """Return what polars answers.

    Raises
    ------
    ColumnError
        If a column has another type, or is missing, in one of the files.
    InputError
        If a file cannot be read to its end.
    """
    try:
        return question()
    except (pl.exceptions.SchemaError, pl.exceptions.ColumnNotFoundError) as error:
        raise ColumnError(_of_types(error, columns)) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        msg = (
            f"X: expected rows that can be read to the end, got {type(error).__name__}. Is each "
            "Parquet file whole, and what the query asks for there?"
        )
        raise InputError(msg) from None


def collected(lazy: pl.LazyFrame, columns: Collection[str]) -> pl.DataFrame:
    """Return rows in memory."""
    return asked(lambda: lazy.collect(engine="streaming"), columns)


def count(lazy: pl.LazyFrame) -> int:
    """Return the number of rows."""
    return int(asked(lambda: lazy.select(pl.len()).collect(engine="streaming")).item())


def _of_types(error: Exception, columns: Collection[str]) -> str:
    """Return what is said of a column that is not the same in all files; its name if known."""
    found = _OF_COLUMN.search(str(error))
    known = f" {found[1]!r}" if found is not None and found[1] in columns else ""
    return (
        f"X: expected the same columns, each of one type, in every file, got another in column"
        f"{known}. Convert it before, or cast it, as in "
        "pl.scan_parquet(...).with_columns(pl.col(name).cast(pl.Float64))."
        if known
        else "X: expected the same columns, each of one type, in every file, got others "
        f"({type(error).__name__}). Write the files anew with one schema."
    )
