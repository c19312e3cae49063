"""What is predicted, and of which rows, as the options of a command say it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion._tables import read_table, split_columns
from asfusion.cli._options import present
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.targets._tasks import AUTO

if TYPE_CHECKING:
    import polars

    from asfusion.targets._base import Target

# Options that say what y is, each with the task that it belongs to.
_TELLING = {"event": "survival", "ordered": "grades", "bounds": "bounded"}


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table, and what is predicted of them.

    Parameters
    ----------
    X : polars.DataFrame
        What predicts.
    y : polars.Series, polars.DataFrame or structured ndarray
        What is predicted, under the names of its columns, by which its relatives among the
        others are known.
    groups : ndarray of shape (N,) or None
        Patient of each row.
    target : Target
        What `y` is.
    """

    X: polars.DataFrame
    y: Any
    groups: Any
    target: Target

    def take(self, rows: Any) -> tuple[polars.DataFrame, Any, Any]:
        """Return what predicts, what is predicted, and the patient of the given rows."""
        return self.X[rows], self.y[rows], None if self.groups is None else self.groups[rows]


@dataclass(frozen=True, eq=False)
class Asked:
    """The rows of a table that have what is predicted.

    Parameters
    ----------
    table : polars.DataFrame
        All columns.
    X, y, groups
        As of `Rows`.
    """

    table: polars.DataFrame
    X: polars.DataFrame
    y: Any
    groups: Any


def split_asked(options: argparse.Namespace, table: polars.DataFrame) -> Asked:
    """Return the rows that have a target, of several labels one; of the others a word is said."""
    names = target_columns(options, table)
    if set(names) <= set(table.columns):
        table = _labelled(options, table, names)
    X, y, groups = split_columns(table, names, options.group, getattr(options, "drop", []))
    if options.event is not None:
        y = _times(table, *names)
    if chosen := getattr(options, "columns", None):
        X = X[:, present(X, chosen, "--columns")]
    return Asked(table, X, y, None if groups is None else groups.to_numpy())


def _labelled(
    options: argparse.Namespace, table: polars.DataFrame, names: Sequence[str]
) -> polars.DataFrame:
    """Return the rows that have some target, and say how many have none."""
    held = np.stack([_held(table[name]) for name in names])
    needed = 1 if options.event is None else len(names)
    known = held.sum(axis=0) >= needed
    n_left = int((~known).sum())
    if n_left == len(table):
        msg = f"{options.data.name}: expected rows with {quoted(names)}, got none."
        raise InputError(msg)
    if n_left:
        told = f"{n_left} of {len(table)} rows have no {quoted(names)} and are left out."
        print(f"asfusion {options.command}: {told}", file=sys.stderr)
    return table.filter(known)


def _held(column: polars.Series) -> NDArray[np.bool_]:
    """Return which cells are neither missing nor no number."""
    column = column.alias("cells")  # polars takes a name such as "^a$" for a pattern
    given = column.is_not_null()
    if column.dtype.is_float():
        given &= column.fill_null(0.0).is_not_nan()
    return np.asarray(given.to_numpy())


def read_rows(options: argparse.Namespace) -> Rows:
    """Return the rows to learn from, which are those that have a target.

    Raises
    ------
    ConfigurationError
        If options contradict each other.
    ColumnError, InputError
        If columns or cells are not there, or the file cannot be read.
    """
    from asfusion.targets._guess import read_target

    task = _task(options)
    asked = split_asked(options, read_table(options.data, root=options.root))
    named = target_columns(options, asked.table)
    target = read_target(task, asked.y, len(asked.table))
    target.set_params(**_settings(options, asked.table[named[0]]))
    return Rows(asked.X, asked.y, asked.groups, target)


def read_to_look(options: argparse.Namespace) -> tuple[polars.DataFrame, Any, Any]:
    """Return what predicts, what is predicted, and the patient of each row, to be looked at.

    Targets may be missing; but rows without event or time, of which no model learns, are left out.
    """
    table = read_table(options.data, root=options.root)
    names = target_columns(options, table)
    X, y, groups = split_columns(table, names, options.group, options.drop, complete=False)
    if options.event is None:
        return X, y, groups
    known = _held(table[names[0]]) & _held(table[names[1]])
    groups = None if groups is None else groups.filter(known)
    return X.filter(known), _times(table.filter(known), *names), groups


def target_columns(options: argparse.Namespace, table: polars.DataFrame) -> list[str]:
    """Return the columns that are predicted; of times to an event those of event and time."""
    if (options.event is None) != (options.time is None):
        given, other = ("event", "time") if options.time is None else ("time", "event")
        raise ConfigurationError(f"--{given}: expected --{other} beside it, got none.")
    if options.event is not None:
        return [options.event, options.time]
    # A comma may belong to the name of a column.
    parts = [[word] if word in table.columns else word.split(",") for word in options.target]
    return [name.strip() if name not in table.columns else name for part in parts for name in part]


def _task(options: argparse.Namespace) -> str:
    """Return the word for what y is, also where another option implies it."""
    task = str(options.task)
    for name, own in _TELLING.items():
        if getattr(options, name) is None:
            continue
        if task not in (AUTO, own):
            msg = f"--{name}: expected --task {own} beside it, or no other word, got {task!r}."
            raise ConfigurationError(msg)
        task = own
    return task


def _settings(options: argparse.Namespace, column: polars.Series) -> dict[str, Any]:
    """Return the parameters of the target that options give."""
    if options.ordered is not None:
        return {"order": _order(options.ordered, column)}
    return {} if options.bounds is None else dict(zip(("low", "high"), options.bounds, strict=True))


def _order(grades: Sequence[str], column: polars.Series) -> list[Any]:
    """Return grades in the type of their column."""
    import polars

    try:
        return polars.Series(grades).cast(column.dtype).to_list()
    except polars.exceptions.PolarsError:
        msg = (
            f"--ordered: expected grades as they stand in {column.name!r}, which holds "
            f"{column.dtype}, got {quoted(grades)}."
        )
        raise ConfigurationError(msg) from None


def _times(table: polars.DataFrame, event: str, time: str) -> Any:
    """Return event and time, checked, under the names of their columns."""
    import polars

    from asfusion.survival._read import read_times

    y = polars.DataFrame({"event": table[event], "time": table[time]})
    checked = read_times(y, len(table))
    return checked.astype(np.dtype([(event, np.bool_), (time, np.float64)]))


# -- what stands behind an option ---------------------------------------------------------


def listed(text: str) -> list[str]:
    """Return what stands between commas."""
    words = [word.strip() for word in text.split(",")]
    if "" in words or len(set(words)) < len(words):
        msg = f"expected different words with commas between them, such as a,b,c, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return words


def numbers(text: str) -> list[float]:
    """Return numbers that stand between commas."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        msg = f"expected numbers with commas between them, such as 1,2.5, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from None


def bounds(text: str) -> list[float]:
    """Return two numbers that stand between commas."""
    found = numbers(text)
    if len(found) != 2:
        msg = f"expected the lowest and the highest number, such as 0,10, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return found
