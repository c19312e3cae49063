"""Where corners are known to be: annotations of points, and grades beside them.

Dimensions: N films of one view, P corners of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion._frames import Frame
from asfusion.anatomy._annotations import POINTS, Annotated, as_table, key_of_cell
from asfusion.anatomy._films import key_of
from asfusion.corners._given import OF_VIEW
from asfusion.corners._network import N_GRADES
from asfusion.corners._sums import CORNERS
from asfusion.exceptions import InputError
from asfusion.imaging._films import Film, Root

Floats = NDArray[np.float64]

_GRADE = "grade"


def table_of_view(annotations: Any, view: str) -> Any:
    """Return those rows of a table of points that are of a view's corners.

    Raises
    ------
    InputError
        If there is none.
    """
    frame = _frame_of(annotations)
    names = frame.strings(POINTS.what)
    rows = [row for row, name in enumerate(names) if name in OF_VIEW[view]]
    if not rows:
        msg = (
            f"annotations: expected points of the {view} spine, such as "
            f"{quoted(OF_VIEW[view][:3])}, got none. Leave that view out with {view}=None, or "
            "annotate it."
        )
        raise InputError(msg)
    return frame.take(np.asarray(rows)).to_native()


def grades_of(annotations: Any, films: dict[str, list[Film | None]], root: Root) -> Floats:
    """Return grades (N, 24) from the column ``grade`` of annotations, NaN where there is none.

    Raises
    ------
    InputError
        If there is no such column, or a grade is none.
    """
    frame = _frame_of(annotations)
    if _GRADE not in frame.columns:
        msg = (
            "targets: expected a table of grades, got None. Pass one row for each of X, or give "
            f"annotations a column {_GRADE!r}."
        )
        raise InputError(msg)
    grades = frame.numbers(_GRADE)
    rows = np.flatnonzero(np.isfinite(grades))
    if not np.isin(grades[rows], np.arange(N_GRADES)).all():
        msg = f"annotations: expected 0, 1, 2, 3 or none in {_GRADE!r}, got other numbers."
        raise InputError(msg)
    known = _graded(frame.take(rows), grades[rows], root)
    n_rows = len(next(iter(films.values())))
    found = np.full((n_rows, len(CORNERS)), np.nan)
    for view, column in films.items():
        for row, film in enumerate(column):
            of_film = known.get(key_of(film) or "", {}) if film is not None else {}
            for corner in OF_VIEW[view]:
                found[row, CORNERS.index(corner)] = of_film.get(corner, np.nan)
    return found


def places_of(known: Annotated, films: Sequence[Film | None], view: str) -> Floats:
    """Return what is annotated of films (N, P, 2) in its own unit, NaN where nothing is."""
    places = np.full((len(films), len(OF_VIEW[view]), 2), np.nan)
    for row, film in enumerate(films):
        of_film = known.of_film.get(key_of(film) or "", {}) if film is not None else {}
        for k, corner in enumerate(OF_VIEW[view]):
            if corner in of_film:
                places[row, k] = of_film[corner]
    return places


def _graded(frame: Frame, grades: Floats, root: Root) -> dict[str, dict[str, float]]:
    """Return the grades of each film, by its key and the name of the corner."""
    found: dict[str, dict[str, float]] = {}
    cells, names = frame.cells("film"), frame.strings(POINTS.what)
    for row, (cell, name, grade) in enumerate(zip(cells, names, grades.tolist(), strict=True)):
        found.setdefault(key_of_cell(cell, row, root), {})[str(name)] = grade
    return found


def _frame_of(annotations: Any) -> Frame:
    table = as_table(annotations, POINTS)
    frame = Frame.read(table)
    frame.check_columns(POINTS.columns, "annotations")
    return frame
