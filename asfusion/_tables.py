"""CSV and Parquet in, CSV and Parquet out, for the command line and what it starts."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asfusion._checks import quoted, suggestion
from asfusion._files import write_file
from asfusion.exceptions import ColumnError, InputError

if TYPE_CHECKING:
    import polars

_MISSING = ["", "NA", "N/A", "NaN", "nan", "null"]
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom", ".nii", ".nii.gz")
_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".tsv", ".txt")
# What a spreadsheet takes for a formula, also behind signs that it does not show, and in the wide
# signs of Japanese and Chinese; but not a number, and not a lone "+" for positive.
_FORMULA = re.compile(r"[\s\x00\u200b-\u200f\u2060\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]+|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def read_table(
    file: Path, as_text: Collection[str] = (), root: Path | None = None
) -> polars.DataFrame:
    """Return the rows of a CSV, TSV or Parquet file, paths of images in it made whole.

    Parameters
    ----------
    file : Path
        The file.
    as_text : collection of str
        Columns of a text file that are codes, also where these rows have nothing but numbers.
    root : Path, optional
        Folder where paths start; that of the file by default.

    Raises
    ------
    InputError
        If the file is not there, is of another kind, or cannot be parsed, or there is no such
        folder.
    """
    import polars

    ending = file.suffix.lower()
    if ending not in (*_PARQUET, *_CSV):
        msg = f"{file.name}: expected a file named {quoted((*_CSV, *_PARQUET))}, got {ending!r}."
        raise InputError(msg)
    if not file.is_file():
        raise InputError(f"{file}: expected a file, got none. Check the path.")
    if root is not None and not root.is_dir():
        raise InputError(f"--root: expected a folder, got none at {root}. Check the path.")
    try:
        if ending in _PARQUET:
            table = polars.read_parquet(file)
        else:
            table = polars.read_csv(
                file,
                separator="\t" if ending == ".tsv" else ",",
                infer_schema_length=None,
                null_values=_MISSING,
                try_parse_dates=True,
                schema_overrides=dict.fromkeys(as_text, polars.String),
            )
    except polars.exceptions.PolarsError as error:
        # The parser's own words quote cells, which are patients' data.
        got = f"a file that fails with {type(error).__name__}."
        if ending in _PARQUET:
            raise InputError(f"{file.name}: expected Parquet, got {got}") from None
        raise InputError(_not_csv(file, _oddity(file) or got)) from None
    if table.width == 1 and (odd := _oddity(file)):
        raise InputError(_not_csv(file, odd))
    if not len(table):
        raise InputError(f"{file.name}: expected at least one row, got none.")
    return _with_whole_paths(table, (file.parent if root is None else root).absolute())


def split_columns(
    table: polars.DataFrame,
    targets: Sequence[str],
    group: str | None,
    dropped: Sequence[str],
    *,
    complete: bool = True,
) -> tuple[polars.DataFrame, polars.Series | polars.DataFrame, polars.Series | None]:
    """Return what predicts, what is predicted, and the patient of each row.

    A single target and the patients are `complete` unless that is not asked for; of several
    targets each row may lack some.

    Raises
    ------
    ColumnError
        If a column is not there, or is the target twice, or target and patient.
    InputError
        If a target or a patient is missing in some row.
    """
    if group in targets:
        msg = f"--group: expected another column than the target, got {group!r} for both."
        raise ColumnError(msg)
    if len(set(targets)) < len(targets):
        msg = f"Targets: expected each column once, got {quoted(targets)}."
        raise ColumnError(msg)
    patients = [group] if group else []
    named = [*targets, *patients, *dropped]
    for name in named:
        if name not in table.columns:
            msg = (
                f"Expected a column {name!r}, got {quoted(table.columns, limit=12)}."
                f"{suggestion(name, table.columns)}"
            )
            raise ColumnError(msg)
    one = list(targets) if len(targets) == 1 else []
    for name in [*one, *patients] if complete else []:
        if count := table[name].null_count():
            msg = (
                f"Column {name!r}: expected a value in every row, got {count} missing. Remove "
                "these rows, or fill them in."
            )
            raise InputError(msg)
    # Not by `drop` or `select`: there, polars takes a name such as "^a$" for a pattern.
    X = table[:, [name for name in table.columns if name not in named]]
    y = table[one[0]] if one else table[:, list(targets)]
    return X, y, table[group] if group else None


def write_table(table: polars.DataFrame, file: Path, *, raw: bool = False) -> Path:
    """Write rows as CSV or Parquet, by the name of the file; all of it or nothing.

    A text in a CSV file that a spreadsheet would run as a formula gets an apostrophe before it,
    unless `raw`; numbers stay numbers.
    """
    buffer = io.BytesIO()
    if file.suffix.lower() in _PARQUET:
        table.write_parquet(buffer)
    elif file.suffix.lower() == ".csv":
        (table if raw else _without_formulas(table)).write_csv(buffer)
    else:
        msg = f"{file.name}: expected a file named '.csv' or '.parquet', got {file.suffix!r}."
        raise InputError(msg)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, buffer.getvalue())
    return file


def _without_formulas(table: polars.DataFrame) -> polars.DataFrame:
    """Return the table with an apostrophe before each text or name that opens a formula."""
    import polars

    texts = (polars.String, polars.Categorical, polars.Enum)
    columns = []
    names: list[str] = []
    for name, dtype in table.schema.items():
        cells = table[name]
        if isinstance(dtype, texts):
            safe = [cell if cell is None else _no_formula(cell) for cell in cells.to_list()]
            cells = polars.Series(safe, dtype=polars.String)
        new = _no_formula(name)
        while new in names:
            new = f"'{new}"
        names.append(new)
        columns.append(cells.alias(new))
    return polars.DataFrame(columns)


def _no_formula(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _not_csv(file: Path, got: str) -> str:
    kind = "tab" if file.suffix.lower() == ".tsv" else "comma"
    return f"{file.name}: expected {kind}-separated text in UTF-8, got {got}"


def _oddity(file: Path) -> str:
    """Return what a spreadsheet of another country may have written, and the fix."""
    content = file.read_bytes()
    if not content.strip():
        return "an empty file."
    try:
        header = content.decode("utf-8").splitlines()[0]
    except UnicodeDecodeError:
        return "bytes of another encoding. Save it as UTF-8."
    if ";" in header and "," not in header and "\t" not in header:
        return "columns between ';'. Save it with commas between columns and decimal points."
    return ""


def _with_whole_paths(table: polars.DataFrame, folder: Path) -> polars.DataFrame:
    """Return the table with paths of images and series made absolute that start at `folder`.

    A table travels together with its images, and is read from any working directory.
    """
    import polars

    changed = []
    for name in table.columns:
        column = table[name]
        if column.dtype != polars.String or not _holds_paths(column.drop_nulls().head(20), folder):
            continue
        whole = [cell if cell is None else str(folder / cell) for cell in column]
        changed.append(polars.Series(name, whole, dtype=polars.String))
    return table.with_columns(changed)


def _holds_paths(cells: Any, folder: Path) -> bool:
    if all(cell.strip().lower().endswith(_IMAGES) for cell in cells):
        return len(cells) > 0
    # The name of a site may be that of a folder, too: a path has a part above it. Unlike
    # `Path.is_dir`, `isdir` takes a long note for no folder, where that would raise and quote it.
    return all("/" in cell and os.path.isdir(folder / cell) for cell in cells)  # noqa: PTH112
