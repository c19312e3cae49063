"""Masks that annotations name: a label image for each, brought to the square of its film.

Dimensions: R regions, H W a film, S side of the square.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._frames import Frame
from asfusion.anatomy._annotations import BOXES, MASKS, as_table, key_of_cell
from asfusion.anatomy._films import read_cells, read_films
from asfusion.anatomy._square import Place
from asfusion.exceptions import ImageReadError, InputError
from asfusion.imaging._films import Film, Root
from asfusion.imaging._picture import on_square
from asfusion.imaging._resize import resize
from asfusion.imaging.original import Original

Labels = NDArray[np.uint8]


def read_outlines(
    table: Any,
    keys: Sequence[str],
    names: Sequence[str],
    places: Sequence[Place],
    side: int,
    root: Root,
) -> list[Labels]:
    """Return the masks (R, S, S) of films with these keys: shares of pixels, 0 to 255.

    Raises
    ------
    ColumnError
        If annotations name no masks.
    InputError
        If a mask cannot be read, is of another size than its film, or does not have its code.
    """
    frame = Frame.read(as_table(table, BOXES))
    frame.check_columns(MASKS, "annotations, with method='masks'")
    rows = {key: number for number, key in enumerate(keys)}
    masks = [np.zeros((len(names), side, side), np.uint8) for _ in keys]
    films = [rows.get(key_of_cell(c, r, root)) for r, c in enumerate(frame.cells("film"))]
    taught = [(row, film) for row, film in enumerate(films) if film is not None]
    regions, codes = frame.strings("region"), frame.numbers("code")
    cells = read_cells(frame.cells("mask"), root)
    given = [_given(cells[row], row) for row, _ in taught]
    # Closed here where a mask is refused: what is not read yet is dropped at once.
    with closing(read_films(given, _labels, "Reading masks")) as found:
        for (row, film), read in zip(taught, found, strict=True):
            if isinstance(read, ImageReadError):
                raise ImageReadError(f"annotations, row {row}: {read}")
            own = _checked(read, codes[row], places[film], row)
            masks[film][names.index(str(regions[row]))] = _squared(own, places[film], side)
    return masks


def _given(mask: Film | None, row: int) -> Film:
    if mask is None:
        msg = f"annotations, row {row}: expected a label image in 'mask', got none. Leave it out."
        raise InputError(msg)
    return mask


def _labels(mask: Original) -> Labels:
    return np.asarray(mask.pixels[0])


def _checked(labels: Labels, code: float, place: Place, row: int) -> NDArray[np.bool_]:
    """Return which pixels have the code."""
    if labels.shape != place.shape:
        msg = (
            f"annotations, row {row}: expected a mask of the size of its film, "
            f"{place.shape[0]} x {place.shape[1]}, got {labels.shape[0]} x {labels.shape[1]}."
        )
        raise InputError(msg)
    own = np.asarray(labels == code)
    if not own.any():
        msg = (
            f"annotations, row {row}: expected a mask with its code, got one without. Leave out "
            "what a film does not show."
        )
        raise InputError(msg)
    return own


def _squared(mask: NDArray[np.bool_], place: Place, side: int) -> Labels:
    tall, wide = (round(n * s) for n, s in zip(place.shape, place.scale[::-1], strict=True))
    small = resize(mask.astype(np.uint8) * 255, tall, wide)
    return on_square(np.rint(small).astype(np.uint8), side)
