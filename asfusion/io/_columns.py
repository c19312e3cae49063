"""Columns of features from the long tables of `Records`, one row for each index date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from asfusion.events._tables import read_index
from asfusion.io._before import INDEX_DATE, PATIENT

_DAY_US = 86_400e6


def is_empty(events: pl.DataFrame | Path) -> bool:
    """Return whether there is no event at all."""
    if isinstance(events, pl.DataFrame):
        return events.is_empty()
    return pl.scan_parquet(events).head(1).collect().is_empty()


def numbered(index: Any) -> pl.DataFrame:
    """Return ``row``, ``patient`` and ``at`` (microseconds) of each row of the index."""
    return read_index(index, PATIENT, INDEX_DATE)[0].with_row_index("row")


def _before(rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return what each row knows of a long table: ``moment`` is at or before ``at``."""
    moment = pl.col("time").cast(pl.Int64)
    if table.is_empty():
        table = table.cast({"patient": rows.schema["patient"]})
    return (
        rows.join(table.with_columns(moment.alias("moment")), on="patient", maintain_order="left")
        .filter(pl.col("moment") <= pl.col("at"))
        .sort("row", "moment", maintain_order=True)
    )


def _spread(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return what was found by row, null where nothing was."""
    return rows.select("row").join(found, on="row", how="left", maintain_order="left")


def demographics(rows: pl.DataFrame, persons: pl.DataFrame) -> dict[str, pl.Series]:
    """Return the age in completed years at each index date, and the sex."""
    if persons.is_empty():
        persons = persons.cast({"patient": rows.schema["patient"]})
    born, day = pl.col("birth").dt, pl.col("at").cast(pl.Datetime("us")).dt
    is_before = day.strftime("%m%d") < born.strftime("%m%d")
    found = rows.join(
        persons.unique("patient", keep="first"), on="patient", how="left", maintain_order="left"
    )
    age = (day.year() - born.year() - is_before.cast(pl.Int32)).cast(pl.Float64)
    known = found.select(pl.when(age >= 0).then(age).alias("age"), "sex")
    return {name: known[name] for name in ("age", "sex")}


def latest_notes(rows: pl.DataFrame, notes: pl.DataFrame, n: int) -> pl.Series:
    """Return the text of the latest notes of each row, the latest last."""
    known = _before(rows, notes.filter(pl.col("text").str.strip_chars() != ""))
    found = known.group_by("row").agg(pl.col("text").tail(n).str.join("\n\n"))
    return _spread(rows, found)["text"]


def visits(rows: pl.DataFrame, table: pl.DataFrame) -> dict[str, pl.Series]:
    """Return how many visits there were, and the days since the last one began."""
    known = _before(rows, table)
    since = ((pl.col("at") - pl.col("moment")).min() / _DAY_US).alias("since")
    found = _spread(rows, known.group_by("row").agg(pl.len().cast(pl.Float64).alias("n"), since))
    return {"n_visits": found["n"].fill_null(0.0), "days_since_visit": found["since"]}


def was_recorded(rows: pl.DataFrame, table: pl.DataFrame) -> NDArray[np.bool_]:
    """Return whether each row has anything in a long table."""
    seen = np.zeros(len(rows), dtype=bool)
    seen[_before(rows, table)["row"].to_numpy()] = True
    return seen


def in_library_of(index: Any, parts: Mapping[str, Any]) -> Any:
    """Return columns as a table in the library of the index, with its row labels."""
    if isinstance(index, pl.DataFrame | pl.LazyFrame):
        return pl.DataFrame(
            {name: pl.Series(name, part, nan_to_null=True) for name, part in parts.items()}
        )
    import pandas as pd

    return pd.DataFrame(
        {name: _as_pandas(part) for name, part in parts.items()}, columns=list(parts)
    ).set_axis(index.index, axis=0)


def _as_pandas(part: Any) -> Any:
    import pandas as pd

    if isinstance(part, pl.Series) and part.dtype == pl.String:
        return pd.Series(part.to_list(), dtype=object)
    return part.to_numpy() if isinstance(part, pl.Series) else part
