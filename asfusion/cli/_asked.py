"""What is predicted, and of which rows, as the options of a command say it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion._checks import quoted
from asfusion._tables import read_table, split_columns
from asfusion.exceptions import ConfigurationError
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


def read_rows(options: argparse.Namespace) -> Rows:
    """Return the rows to learn from; each must have its target, of several labels one.

    Raises
    ------
    ConfigurationError
        If options contradict each other.
    ColumnError, InputError
        If columns or cells are not there, or the file cannot be read.
    """
    from asfusion.targets._guess import read_target

    task = _task(options)
    table = read_table(options.data, root=options.root)
    names = target_columns(options, table)
    X, y, groups = split_columns(table, names, options.group, options.drop)
    target = read_target(task, y, len(table)).set_params(**_settings(options, table[names[0]]))
    if options.event is not None:
        y = _times(table, *names)
    return Rows(X, y, None if groups is None else groups.to_numpy(), target)


def read_to_look(options: argparse.Namespace) -> tuple[polars.DataFrame, Any, Any]:
    """Return what predicts, what is predicted, and the patient of each row, to be looked at.

    Targets may be missing; but rows without event or time, of which no model learns, are left out.
    """
    table = read_table(options.data, root=options.root)
    names = target_columns(options, table)
    X, y, groups = split_columns(table, names, options.group, options.drop, complete=False)
    if options.event is None:
        return X, y, groups
    known = table[names[0]].is_not_null() & table[names[1]].is_not_null()
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
