"""Annotations as a table: a row per film and region, or per film and point.

Dimensions: N films, R regions or points, K numbers of each (4 of a box, 2 of a point).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion._frames import Frame
from asfusion.anatomy._films import key_of
from asfusion.anatomy._square import Place
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.imaging._films import Film, Root, as_film

Floats = NDArray[np.float64]

_TOLERANCE = 0.02  # of a film's side: boxes that touch the border are drawn a little over it


@dataclass(frozen=True)
class Kind:
    """What a table annotates: how its columns are called."""

    what: str
    numbers: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """All columns of the table."""
        return ["film", self.what, *self.numbers]


BOXES = Kind("region", ("x0", "y0", "x1", "y1"))
POINTS = Kind("point", ("x", "y"))
MASKS = ("mask", "code")  # more columns of regions: a label image, and what the region has in it


@dataclass(frozen=True, eq=False)
class Annotated:
    """What is known of films, by the key of each film and the name of a region or point."""

    names: tuple[str, ...]
    of_film: dict[str, dict[str, tuple[float, ...]]]

    def values(self, keys: Sequence[str], n_numbers: int) -> Floats:
        """Return the numbers (N, R, K) of films, NaN where there are none."""
        values = np.full((len(keys), len(self.names), n_numbers), np.nan)
        for row, key in enumerate(keys):
            for name, numbers in self.of_film[key].items():
                values[row, self.names.index(name)] = numbers
        return values


def read_annotations(table: Any, kind: Kind, root: Root) -> Annotated:
    """Return a table of annotations, each of its rows checked.

    Raises
    ------
    ConfigurationError
        If there is no table.
    InputError
        If it cannot be read, or a row of it cannot be.
    """
    table = as_table(table, kind)
    frame = Frame.read(table)
    frame.check_columns(kind.columns, "annotations")
    films = [key_of_cell(cell, row, root) for row, cell in enumerate(frame.cells("film"))]
    names = frame.strings(kind.what)
    numbers = np.stack([frame.numbers(name) for name in kind.numbers], axis=1)
    of_film: dict[str, dict[str, tuple[float, ...]]] = {}
    for row, (film, name) in enumerate(zip(films, names, strict=True)):
        checked = _checked(row, name, numbers[row], kind)
        _put(of_film.setdefault(film, {}), checked, numbers[row], row, kind)
    found = dict.fromkeys(name for regions in of_film.values() for name in regions)
    if not found:
        raise InputError("annotations: expected at least one row, got none.")
    return Annotated(tuple(found), of_film)


def as_table(table: Any, kind: Kind) -> Any:
    """Return a table of annotations, read from its file where it is one."""
    if table is None:
        msg = (
            f"annotations: expected a table with the columns {quoted(kind.columns, 9)}, or the "
            "path of a CSV file, got None. A finder learns from them."
        )
        raise ConfigurationError(msg)
    if isinstance(table, str | os.PathLike):
        return _read_csv(table)
    return table


def _read_csv(path: str | os.PathLike[str]) -> Any:
    import pandas as pd

    if not Path(path).is_file():
        raise InputError("annotations: expected a CSV file, got a path that leads to none.")
    try:
        return pd.read_csv(path)
    except ValueError:  # also what pandas raises of a file that is no table, or no text
        raise InputError("annotations: expected a CSV file with a header, got another.") from None


def key_of_cell(cell: Any, row: int, root: Root) -> str:
    film = as_film(cell, root) if not isinstance(cell, str) or cell.strip() else None
    key = None if film is None else key_of(film)
    if key is None:
        msg = (
            f"annotations, row {row}: expected in 'film' the cell of a film, such as its path, "
            f"got {type(cell).__name__}."
        )
        raise InputError(msg)
    return key


def _checked(row: int, name: str | None, numbers: Floats, kind: Kind) -> str:
    """Return the name of a row whose numbers make a box or a point."""
    if name is None:
        raise InputError(f"annotations, row {row}: expected the name of a {kind.what}, got none.")
    if not np.isfinite(numbers).all():
        msg = (
            f"annotations, row {row}: expected finite numbers in {quoted(kind.numbers)}, got "
            f"{int((~np.isfinite(numbers)).sum())} that are not. Leave out what a film does not "
            "show."
        )
        raise InputError(msg)
    if kind is BOXES and not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        msg = (
            f"annotations, row {row}: expected a box with x0 < x1 and y0 < y1, got one that is "
            "empty or inverted. Columns go right, rows go down."
        )
        raise InputError(msg)
    return name


def _put(
    regions: dict[str, tuple[float, ...]], name: str, numbers: Floats, row: int, kind: Kind
) -> None:
    if name in regions:
        msg = (
            f"annotations, row {row}: expected each {kind.what} once per film, got {name!r} again. "
            "Keep one reader's, or their mean."
        )
        raise InputError(msg)
    regions[name] = tuple(numbers.tolist())


def in_pixels(values: Floats, places: Sequence[Place], unit: str, kind: Kind) -> Floats:
    """Return annotations (N, R, K) in pixels of each film, all of them on the film.

    Raises
    ------
    InputError
        If they are in mm and a film does not say its spacing, or one is outside of its film.
    """
    if unit == "mm":
        unknown = sum(place.spacing_mm is None for place in places)
        if unknown:
            msg = (
                f"annotations: expected films that say how large their pixels are, since unit is "
                f"'mm', got {unknown} of {len(places)} that do not. Give pixels, with unit='px'."
            )
            raise InputError(msg)
        values = values / np.stack([_edges(place, values.shape[2]) for place in places])[:, None]
    values = values.reshape(*values.shape[:2], -1, 2)
    size = np.array([place.shape[::-1] for place in places], dtype=float)[:, None, None]
    outside = (values < -_TOLERANCE * size) | (values > (1 + _TOLERANCE) * size)
    rows, _ = np.nonzero(outside.any(axis=(2, 3)))
    if len(rows):
        what = "boxes" if kind is BOXES else "points"
        msg = (
            f"annotations: expected {what} inside of their films, got {len(rows)} outside, of "
            f"{len(np.unique(rows))} films. Is unit={unit!r} right, and are x columns and y rows?"
        )
        raise InputError(msg)
    return np.clip(values, 0.0, size).reshape(*values.shape[:2], -1)


def _edges(place: Place, n_numbers: int) -> Floats:
    """Return width and height of a pixel (mm) for each of the numbers, which take turns."""
    tall, wide = place.spacing_mm or (np.nan, np.nan)
    return np.tile([wide, tall], n_numbers // 2)


def matched(films: Sequence[Film | None], known: Annotated) -> dict[str, int]:
    """Return the first row of each annotated film, by its key.

    Raises
    ------
    InputError
        If no film is annotated.
    """
    rows: dict[str, int] = {}
    for row, film in enumerate(films):
        key = None if film is None else key_of(film)
        if key in known.of_film and key not in rows:
            rows[str(key)] = row
    if not rows:
        msg = (
            f"annotations: expected annotations of these films, got {len(known.of_film)} films of "
            f"which none is among the {len(films)} given. Cells of 'film' have to be those of the "
            "films, and root= goes for both."
        )
        raise InputError(msg)
    return rows
