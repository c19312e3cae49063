"""Options that several commands share, and what is read by them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asfusion._checks import quoted
from asfusion._tables import read_table
from asfusion.cli._own import own_class
from asfusion.exceptions import ConfigurationError
from asfusion.serving._fields import encoders_within, levels_of

if TYPE_CHECKING:
    import polars

ON_ERROR = ("raise", "missing")


def add_model(command: Any) -> None:
    """Add the model, and what it may be made of."""
    command.add_argument("model", type=Path, help="folder of a saved model")
    add_trusted(command)


def add_trusted(command: Any) -> None:
    """Add classes that a saved model may bring."""
    words = "classes of your own in the model, as module:Class"
    command.add_argument(
        "--trusted", nargs="+", type=own_class, metavar="CLASS", default=(), help=words
    )


def add_data(command: Any) -> None:
    """Add the table, and what is done about films that cannot be read."""
    command.add_argument("data", type=Path, help="CSV, TSV or Parquet file, one patient per row")
    add_root(command)
    words = "an image that cannot be read is an error, or missing, with a warning (raise)"
    command.add_argument("--on-error", choices=ON_ERROR, help=words)


def add_root(command: Any) -> None:
    """Add where paths start."""
    words = "folder where paths of images start (that of the table)"
    command.add_argument("--root", type=Path, help=words)


def add_targets(command: Any) -> None:
    """Add which columns are predicted, and which name the patient."""
    predicted = command.add_mutually_exclusive_group(required=True)
    words = "column to predict; several as a,b,c, or by naming each"
    predicted.add_argument("--target", "--targets", action="append", metavar="COLUMN", help=words)
    words = "column that says whether the event was seen, to predict when; beside --time"
    predicted.add_argument("--event", metavar="COLUMN", help=words)
    words = "column of the time until the event, or until the end of follow-up"
    command.add_argument("--time", metavar="COLUMN", help=words)
    command.add_argument("--group", "--groups", help="column that names the patient of a row")


def add_units(command: Any) -> None:
    """Add units of columns."""
    words = "unit of a column, such as crp=mg/L"
    command.add_argument("--unit", type=unit, action="append", default=[], help=words)


def add_checkpoint(command: Any) -> None:
    """Add where finished parts are kept."""
    words = "where finished parts are kept, from which the same command goes on"
    command.add_argument("--checkpoint", type=Path, help=words)


def unit(text: str) -> tuple[str, str]:
    """Return a column and its unit."""
    name, sign, of = text.partition("=")
    if not (name and sign and of):
        msg = f"expected a column and its unit, such as crp=mg/L, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, of


def read_model(options: argparse.Namespace) -> Any:
    """Return the saved model, which reads films as `--on-error` says, if it says so."""
    from asfusion.persistence import load

    model = load(options.model, trusted=options.trusted)
    read_films_as(encoders_within(model), options)
    return model


def read_films_as(encoders: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Tell encoders of images what to do about those that cannot be read."""
    if options.on_error is not None:
        for encoder in encoders.values():
            if "on_error" in encoder.get_params():
                encoder.set_params(on_error=options.on_error)


def read_for(model: Any, options: argparse.Namespace) -> polars.DataFrame:
    """Return the rows of the table, codes that the model knows as texts kept so."""
    return read_table(options.data, levels_of(model), options.root)


def present(table: polars.DataFrame, names: Sequence[str], who: str) -> list[str]:
    """Return the names, if there are such columns."""
    from asfusion._frames import Frame

    Frame.read(table).check_columns(list(names), who)
    return list(names)


def inputs_of(model: Any, table: polars.DataFrame) -> polars.DataFrame:
    """Return the columns that the model was fitted on."""
    return table[:, present(table, model.feature_names_in_, "The model")]


def numbered_rows(text: str) -> list[int]:
    """Return numbers of rows, counted from 1, with commas between them."""
    try:
        rows = [int(word) for word in text.split(",")]
    except ValueError:
        rows = []
    if not rows or min(rows) < 1:
        msg = f"expected numbers of rows, counted from 1, such as 1,5,9, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return rows


def with_folder(file: Path) -> Path:
    """Return the file, after making its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def check_rows(rows: Sequence[int], n_rows: int) -> list[int]:
    """Return positions from 0 of rows that are counted from 1."""
    if beyond := [row for row in rows if row > n_rows]:
        msg = f"--rows: expected numbers up to {n_rows}, got {quoted(beyond)}."
        raise ConfigurationError(msg)
    return [row - 1 for row in rows]
