"""From the cells of note columns to the notes of each patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from asfusion._cells import is_missing
from asfusion._frames import Frame
from asfusion.exceptions import ColumnError, ConfigurationError, InputError
from asfusion.notes.cleaning import clean_note

NOTE_SEPARATOR = "\n\f"
"""What stands between the notes of one patient where they are one text; ``\\f`` is a page break."""

_LISTS = (list, tuple, np.ndarray)


def check_note_columns(columns: Any) -> tuple[str, ...]:
    """Return the names of note columns.

    Parameters
    ----------
    columns : str or list of str
        As a user gives them.

    Returns
    -------
    tuple of str
        At least one, no two alike.

    Raises
    ------
    ConfigurationError
        If they are anything else.

    Examples
    --------
    >>> check_note_columns("note")
    ('note',)
    """
    names = (columns,) if isinstance(columns, str) else columns
    is_list = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not is_list or not names or len(set(names)) < len(names):
        msg = "columns: expected a column name, or a list of different ones, got something else."
        raise ConfigurationError(msg)
    return tuple(names)


def read_notes(frame: Frame, columns: Sequence[str], who: str) -> list[list[str]]:
    r"""Return the cleaned notes of each row.

    A cell is a text or a list of texts; a form feed (``\f``, a page break) in a text begins
    another note. Notes without a visible character are left out.

    Parameters
    ----------
    frame : Frame
        N rows.
    columns : sequence of str
        The note columns, in the order in which they are to be read.
    who : str
        Who reads, for messages.

    Returns
    -------
    list of list of str
        One list per row, empty where there is no note.

    Raises
    ------
    ColumnError
        If a column is missing or holds something other than text.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"note": [["Back pain.", "No uveitis."], "  ", "HLA-B27 +"]})
    >>> read_notes(Frame.read(X), ["note"], "Reader")
    [['Back pain.', 'No uveitis.'], [], ['HLA-B27 +']]
    """
    return read_raw_notes(frame, columns, who, clean=clean_note)


def read_raw_notes(
    frame: Frame,
    columns: Sequence[str],
    who: str,
    *,
    clean: Callable[[str], str] = lambda text: text if clean_note(text) else "",
) -> list[list[str]]:
    """Return the notes of each row as `clean` leaves them; see `read_notes`.

    Parameters
    ----------
    frame : Frame
        N rows.
    columns : sequence of str
        The note columns.
    who : str
        Who reads, for messages.
    clean : callable
        From a note to what is read of it; an empty text is no note. By default as it stands,
        if a character in it is visible.

    Returns
    -------
    list of list of str
        One list per row.
    """
    frame.check_columns(columns, who)
    rows: list[list[str]] = [[] for _ in range(len(frame))]
    origin = frame.origin.tolist()
    for name in columns:
        for notes, row, cell in zip(rows, origin, frame.cells(name), strict=True):
            for text in _texts(cell, name, row, who):
                notes.extend(filter(None, map(clean, text.split("\f"))))
    return rows


def join_patient(notes: Iterable[str]) -> str:
    r"""Return the notes of one patient as one text that `read_notes` takes apart again.

    Parameters
    ----------
    notes : iterable of str
        Cleaned notes.

    Returns
    -------
    str
        Joined by ``"\n\f"``.

    Examples
    --------
    >>> join_patient(["Back pain.", "No uveitis."])
    'Back pain.\n\x0cNo uveitis.'
    """
    return NOTE_SEPARATOR.join(notes)


def _texts(cell: Any, name: str, row: int, who: str) -> list[str]:
    if isinstance(cell, str):
        return [cell]
    if hasattr(cell, "to_list") and not isinstance(cell, _LISTS):
        cell = cell.to_list()  # a polars Series inside a list column
    if isinstance(cell, _LISTS):
        parts = [part for part in cell if not is_missing(part)]
        if all(isinstance(part, str) for part in parts):
            return parts
        wrong = next(part for part in parts if not isinstance(part, str))
        got = f"a list with {type(wrong).__name__} in it"
    elif is_missing(cell):
        return []
    else:
        got = type(cell).__name__
    msg = (
        f"{who}: column {name!r}, row {row}: expected text, got {got}. Use a TabularEncoder for "
        "numbers and dates."
    )
    raise ColumnError(msg)


def check_one_column(cells: Any, who: str, what: str) -> None:
    """Raise for a table or a dict: to walk along one gives its names, and no cell.

    Parameters
    ----------
    cells : object
        What was handed over.
    who : str
        The function that was called.
    what : str
        What a cell is, in the plural.
    """
    if isinstance(cells, Mapping) or hasattr(cells, "columns"):
        msg = (
            f"{who}: expected one column of {what}, got a table ({type(cells).__name__}). Choose "
            f"its column of {what}, such as table['{what.rstrip('s')}']."
        )
        raise InputError(msg)
