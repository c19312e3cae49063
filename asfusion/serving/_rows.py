"""Rows that a stranger sends, checked cell by cell and told by position, never by content."""

from __future__ import annotations

import base64
import binascii
import datetime
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import polars

from asfusion._cells import text_or_none
from asfusion.encoders._files import with_fix
from asfusion.exceptions import InputError
from asfusion.notes.cleaning import clean_note
from asfusion.serving._fields import WORDS, Field

_MOST_PROBLEMS = 20
_MOST_CHARACTERS = 200_000  # of a note
MOST_VISITS = 1_000
LARGEST = 1e300
_TYPES: dict[str, Any] = {
    "number": polars.Float64,
    "dosage": polars.Float64,
    "boolean": polars.Boolean,
    "date": polars.Date,
    "category": polars.String,
    "text": polars.String,
    "image": polars.Object,
    "visits": polars.Object,
    "empty": polars.Null,
}


class RequestError(InputError):
    """What was sent cannot be read; ``problems`` say where and what was expected.

    Parameters
    ----------
    problems : list of dict
        With ``at``, a position, and ``expected``, words; nothing of what was sent.
    status : int
        Of the answer.
    """

    def __init__(self, problems: list[dict[str, str]], status: int = 422) -> None:
        self.problems = problems
        self.status = status
        super().__init__("; ".join(f"{one['at']}: expected {one['expected']}" for one in problems))


def refuse(at: str, expected: str, status: int = 422) -> NoReturn:
    """Raise with a single problem."""
    raise RequestError([{"at": at, "expected": expected}], status)


def as_told(error: Exception) -> str:
    """Return what an error says to whoever sent a row, and cannot change how it is read."""
    return with_fix(str(error), " Send another file, or none.")


@dataclass(frozen=True)
class Rows:
    """Checked rows, column by column, and which cells of categories no model knows.

    Parameters
    ----------
    columns : dict of str to list
        Cells of the model's columns, in their order; None where missing.
    remarks : list of dict
        With ``at`` and ``remark``.
    """

    columns: dict[str, list[Any]]
    remarks: list[dict[str, str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def as_table(several: Sequence[Rows], fields: Sequence[Field]) -> polars.DataFrame:
    """Return rows of one or more requests as one table."""
    cells = [
        (field, [cell for rows in several for cell in rows.columns[field.name]]) for field in fields
    ]
    return polars.DataFrame([polars.Series(f.name, column, _TYPES[f.kind]) for f, column in cells])


def parse_json(body: bytes, at: str = "body") -> Any:
    """Return what a JSON text says; NaN, infinity and numbers beyond floats are none."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        refuse(at, "JSON in UTF-8, without NaN or Infinity", 400)


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def read_rows(content: Any, fields: Sequence[Field], parts: Mapping[str, bytes], most: int) -> Rows:
    """Return rows as a table.

    Parameters
    ----------
    content : object
        What the JSON said: a list of objects, one each row, or an object that has one as "rows".
    fields : sequence of Field
        The columns of the model.
    parts : mapping of str to bytes
        Files that were sent beside it.
    most : int
        Most rows.

    Raises
    ------
    RequestError
        If anything is not as the schema says; with up to twenty places.
    """
    rows = (
        content.get("rows") if isinstance(content, dict) and set(content) == {"rows"} else content
    )
    if not isinstance(rows, list) or not rows:
        refuse("body", 'a list of rows, or {"rows": [...]}, at least one')
    if len(rows) > most:
        refuse("body", f"at most {most} rows at once", 413)
    reading = _Reading(fields, parts)
    columns = reading.columns(rows)
    if reading.problems:
        raise RequestError(reading.problems)
    return Rows(columns, reading.remarks)


class _Reading:
    """Cells become what a table holds, and what is wrong with them a list of places."""

    def __init__(self, fields: Sequence[Field], parts: Mapping[str, bytes]) -> None:
        self.fields = fields
        self.names = {field.name for field in fields}
        self.parts = parts
        self.problems: list[dict[str, str]] = []
        self.remarks: list[dict[str, str]] = []

    def columns(self, rows: list[Any]) -> dict[str, list[Any]]:
        are_rows = [self._is_row(number, row) for number, row in enumerate(rows)]
        if not all(are_rows):
            return {}
        found = {field.name: self._column(field, rows) for field in self.fields}
        if not self.problems:
            self._check_known(found, len(rows))
        return found

    def _is_row(self, number: int, row: Any) -> bool:
        at = f"rows[{number}]"
        if not isinstance(row, dict):
            return self._wrong(at, "an object with columns of the model")
        if strange := len(row.keys() - self.names):
            return self._wrong(at, f"columns of the model alone (see /schema); {strange} are none")
        return True

    def _wrong(self, at: str, expected: str) -> bool:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append({"at": at, "expected": expected})
        return False

    def _check_known(self, columns: dict[str, list[Any]], n_rows: int) -> None:
        for number in range(n_rows):
            if all(cells[number] is None for cells in columns.values()):
                self._wrong(f"rows[{number}]", "at least one value that is not missing")

    def _column(self, field: Field, rows: list[dict[str, Any]]) -> list[Any]:
        read = _READERS[field.kind]
        cells: list[Any] = []
        for number, row in enumerate(rows):
            cell = row.get(field.name)
            if cell is None:
                cells.append(None)
                continue
            at = f"rows[{number}].{field.name}"
            try:
                cells.append(read(cell, self.parts))
            except (ValueError, TypeError, OverflowError, KeyError):
                cells.append(None)
                self._wrong(at, WORDS[field.kind])
                continue
            if field.levels and cells[-1] is not None and cells[-1] not in field.levels:
                self._remark(at, "no level that the model knows: read as none of them")
        return cells

    def _remark(self, at: str, remark: str) -> None:
        if len(self.remarks) < _MOST_PROBLEMS:
            self.remarks.append({"at": at, "remark": remark})


# -- cells: each reader returns the cell, None where nothing is in it, or raises: nobody sees how --


def _number(cell: Any, _: Mapping[str, bytes]) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise TypeError
    number = float(cell)
    if not math.isfinite(number) or abs(number) > LARGEST:
        raise ValueError
    return number


def _dosage(cell: Any, parts: Mapping[str, bytes]) -> float:
    number = _measured(cell, parts)
    if not 0 <= number <= 2:
        raise ValueError
    return number


def _boolean(cell: Any, _: Mapping[str, bytes]) -> bool:
    if not isinstance(cell, bool):
        raise TypeError
    return cell


def _date(cell: Any, _: Mapping[str, bytes]) -> datetime.date:
    if not isinstance(cell, str) or len(cell) > 10:
        raise TypeError
    return datetime.date.fromisoformat(cell)


def _text(cell: Any, _: Mapping[str, bytes]) -> str:
    if not isinstance(cell, str) or len(cell) > _MOST_CHARACTERS:
        raise TypeError
    cell.encode()  # half of a surrogate pair is no text
    return cell


def _category(cell: Any, parts: Mapping[str, bytes]) -> str | None:
    return text_or_none(_text(cell, parts))


def _note(cell: Any, parts: Mapping[str, bytes]) -> str | None:
    text = _text(cell, parts)
    return text if clean_note(text) else None


def _image(cell: Any, parts: Mapping[str, bytes]) -> bytes:
    # A text alone could be a path on the machine that serves.
    if not isinstance(cell, dict) or len(cell) != 1:
        raise TypeError
    if "part" in cell:
        return parts[cell["part"]]
    try:
        content = base64.b64decode(cell["base64"], validate=True)
    except binascii.Error:
        raise ValueError from None
    if not content:
        raise ValueError
    return content


def _visits(cell: Any, parts: Mapping[str, bytes]) -> list[dict[str, float | None]] | None:
    if not isinstance(cell, list) or len(cell) > MOST_VISITS:
        raise TypeError
    return [
        {str(name): None if one is None else _measured(one, parts) for name, one in visit.items()}
        for visit in map(_visit, cell)
    ] or None


def _visit(visit: Any) -> dict[str, Any]:
    if not isinstance(visit, dict) or len(visit) > MOST_VISITS:
        raise TypeError
    return visit


def _measured(cell: Any, parts: Mapping[str, bytes]) -> float:
    return float(cell) if isinstance(cell, bool) else _number(cell, parts)


def _nothing(cell: Any, _: Mapping[str, bytes]) -> NoReturn:
    raise TypeError


_READERS: dict[str, Callable[[Any, Mapping[str, bytes]], Any]] = {
    "number": _number,
    "dosage": _dosage,
    "boolean": _boolean,
    "date": _date,
    "category": _category,
    "text": _note,
    "image": _image,
    "visits": _visits,
    "empty": _nothing,
}


# -- Parquet ----------------------------------------------------------------------------------


def read_parquet(body: bytes, fields: Sequence[Field], most: int) -> polars.DataFrame:
    """Return the rows of a Parquet file, whose columns have the types of the model's own.

    Raises
    ------
    RequestError
        If it is none, has too many rows, or a column is of another type or not there.
    """
    table = _scanned(body, [field.name for field in fields], most)
    problems = []
    for field in fields:
        if field.name not in table.columns:
            problems.append({"at": field.name, "expected": "a column, nulls where unknown"})
        elif not _is_of(table.schema[field.name], field):
            problems.append({"at": field.name, "expected": f"a column: {_PARQUET[field.kind]}"})
    if problems:
        raise RequestError(problems[:_MOST_PROBLEMS])
    return _finite(table, fields)


def _scanned(body: bytes, names: Sequence[str], most: int) -> polars.DataFrame:
    try:
        there = polars.read_parquet_schema(io.BytesIO(body))
        kept = [name for name in names if name in there]
        table = polars.read_parquet(io.BytesIO(body), columns=kept, n_rows=most + 1)
    except BaseException as error:  # polars panics on some broken files, outside of Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        refuse("body", "a Parquet file", 400)
    if len(table) > most:
        refuse("body", f"at most {most} rows at once", 413)
    if not len(table):
        refuse("body", "at least one row")
    return table


_PARQUET = {
    "number": "number",
    "dosage": "number or boolean",
    "boolean": "boolean",
    "date": "date",
    "category": "text",
    "text": "text",
    "image": "binary, each cell the content of a file",
    "visits": "list of structs",
    "empty": "null",
}


def _is_of(dtype: Any, field: Field) -> bool:
    if dtype == polars.Null:
        return True
    if field.kind in ("category", "text"):
        return isinstance(dtype, polars.String | polars.Categorical | polars.Enum)
    if field.kind in ("number", "dosage"):
        return bool(dtype.is_numeric() or (field.kind == "dosage" and dtype == polars.Boolean))
    wanted = {"boolean": polars.Boolean, "date": polars.Date, "image": polars.Binary}
    return bool(dtype == wanted.get(field.kind, polars.List))


def _finite(table: polars.DataFrame, fields: Sequence[Field]) -> polars.DataFrame:
    """Return the table in the model's order, NaN as missing; infinity is refused."""
    columns = []
    for field in fields:
        cells = table[field.name]
        if cells.dtype == polars.Null:
            cells = polars.Series(field.name, [None] * len(table), dtype=_TYPES[field.kind])
        elif cells.dtype.is_float():
            cells = cells.fill_nan(None)
            if cells.is_infinite().any():
                refuse(field.name, "finite numbers or nulls")
        elif field.kind == "image":
            cells = polars.Series(field.name, cells.to_list(), dtype=polars.Object)
        columns.append(cells)
    return polars.DataFrame(columns)
