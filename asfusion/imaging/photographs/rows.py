"""Photographs beside films: rows to learn from, and corners to learn to find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asfusion._cells import is_known
from asfusion._checks import check_integer, check_row_labels
from asfusion._door import public
from asfusion._frames import Frame, group_labels
from asfusion._random import RandomState, derive_seed, draw_seed
from asfusion.exceptions import ColumnError, ConfigurationError, ImageReadError, InputError
from asfusion.imaging._films import Film, Root, as_film, in_threads
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.original import read_original
from asfusion.imaging.photographs.camera import as_jpeg
from asfusion.imaging.photographs.geometry import Floats, apply_homography, corners_of
from asfusion.imaging.photographs.photograph import check_severity, degrade
from asfusion.imaging.photographs.rectify import (
    CORNERS,
    CornerFinder,
    find_corners,
    flattened,
    framed,
)

if TYPE_CHECKING:
    import pandas as pd

_ALL = (1, 2, 3, 4, 5)
_TO_LEARN = 320  # side in pixels of photographs that a finder learns from: it looks at fewer


class _Shot(NamedTuple):
    """A film to be photographed: how badly, in which scene, and how large."""

    film: Film
    row: int
    severity: int
    seed: int
    side: int | None


@public
def augment_rows(
    X: Any,
    y: Any,
    column: str,
    *,
    copies: int = 2,
    severities: Sequence[int] = _ALL,
    groups: Any = None,
    finder: CornerFinder | None = None,
    root: Root = None,
    random_state: RandomState = None,
) -> tuple[Any, Any, NDArray[Any]]:
    """Return training rows, and below them copies whose films are photographs.

    A frozen backbone embeds each content once, so that nothing can vary while a model learns:
    photographs are rows of their own. Cells of other columns and targets are those of the row.
    Only training rows are to be augmented: those that judge a model stay as they are.

    Parameters
    ----------
    X : DataFrame of n_rows rows
        The training rows.
    y : array, Series or DataFrame of n_rows rows
        Their targets.
    column : str
        The column of films: paths, or pictures in memory.
    copies : int
        Photographs of each film.
    severities : sequence of int
        Which severities of `asfusion.imaging.photographs.degrade`, drawn at random.
    groups : array of shape (n_rows,), optional
        Patient of each row. By default each row is a patient.
    finder : CornerFinder, optional
        With one, photographs are rectified, as those will be that the model is asked about:
        see `asfusion.imaging.photographs.rectify_rows`.
    root : str or PathLike, optional
        The folder that relative paths start at.
    random_state : int, RandomState, Generator or None
        Seeds the photographs.

    Returns
    -------
    X : DataFrame of n_rows + n_photographs rows
        Photographs are bytes of JPEG files in the cells. Rows without a film have no copies. A
        pandas index is numbered anew.
    y : of the same kind as `y`
        Targets.
    groups : ndarray
        Patients: pass them to `fit`, so that no inner split parts a film from its photographs.

    Raises
    ------
    ColumnError
        If the column is missing or holds something else.
    ImageReadError
        If a film cannot be read.
    InputError
        If rows, targets and groups do not fit together.
    ConfigurationError
        If `copies` or `severities` are unusable.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from asfusion.imaging.photographs import augment_rows
    >>> X = pd.DataFrame({"film": [np.full((64, 64), 90, dtype=np.uint8), None]})
    >>> rows, y, patients = augment_rows(X, [1, 0], "film", copies=2, random_state=0)
    >>> len(rows), y.tolist(), patients.tolist()
    (4, [1, 0, 1, 1], [0, 1, 0, 0])
    """
    frame = Frame.read(X)
    check_row_labels(X, y=y, groups=groups)
    films = _films_of(frame, column, root)
    _check_length(y, len(frame))
    patients = np.arange(len(frame)) if groups is None else group_labels(groups, len(frame))
    shots = _plan(films, check_integer(copies, "copies", minimum=1), severities, random_state)
    photographs = [photo for photo, _ in _photographed(shots, column)]
    if finder is not None:
        photographs = _rectified(photographs, finder)
    rows = np.concatenate([np.arange(len(frame)), np.array([s.row for s in shots], dtype=np.int64)])
    cells = [*frame.cells(column), *photographs]
    below = frame.take(rows).with_cells(column, cells).to_native()
    return _renumbered(below), _taken(y, rows), patients[rows]


@public
def rectify_rows(X: Any, column: str, finder: CornerFinder, *, root: Root = None) -> Any:
    """Return rows in which photographs of a column are films again.

    Parameters
    ----------
    X : DataFrame
        The rows.
    column : str
        The column of photographs and films: paths, or pictures in memory.
    finder : CornerFinder
        What finds corners: see `asfusion.imaging.photographs.rectify`.
    root : str or PathLike, optional
        The folder that relative paths start at.

    Returns
    -------
    DataFrame
        The same rows; cells are bytes of JPEG files. What fills its picture, as films do that are
        no photographs, a photograph on which no film is seen, and what cannot be read stay as
        they are.

    Raises
    ------
    ColumnError
        If the column is missing or holds something else.
    InputError
        If the finder finds other points.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from types import SimpleNamespace
    >>> from asfusion.imaging.photographs import rectify_rows
    >>> class Middle:  # sees a film in the middle of what it is shown
    ...     def find(self, films):
    ...         names = ("top_left", "top_right", "bottom_right", "bottom_left")
    ...         points = np.array([[[22, 22], [62, 22], [62, 62], [22, 62]]] * len(films))
    ...         return SimpleNamespace(names=names, points=points)
    >>> X = pd.DataFrame({"film": [np.full((64, 64), 90, dtype=np.uint8), None]})
    >>> type(rectify_rows(X, "film", Middle()).loc[0, "film"])
    <class 'bytes'>
    """
    frame = Frame.read(X)
    films = _films_of(frame, column, root)
    there = [row for row, film in enumerate(films) if film is not None]
    cells = frame.cells(column)
    for row, cell in zip(there, _rectified([films[row] for row in there], finder), strict=True):
        cells[row] = cell
    return frame.with_cells(column, cells).to_native()


@public
def corner_annotations(
    films: Sequence[Any],
    *,
    copies: int = 3,
    severities: Sequence[int] = _ALL,
    root: Root = None,
    random_state: RandomState = None,
) -> tuple[list[bytes], pd.DataFrame]:
    """Return photographs of films, and where the films' corners are on them.

    What `asfusion.anatomy.LandmarkFinder` learns from, to find films on photographs.

    Parameters
    ----------
    films : sequence
        Paths, or pictures in memory; missing ones are left out.
    copies : int
        Photographs of each film. Beside them stands the film itself, which fills its picture.
    severities : sequence of int
        Which severities of `asfusion.imaging.photographs.degrade`, drawn at random.
    root : str or PathLike, optional
        The folder that relative paths start at.
    random_state : int, RandomState, Generator or None
        Seeds the photographs.

    Returns
    -------
    photographs : list of bytes
        JPEG files; of each film one of itself, then `copies` photographs. They are small and
        grey, with a margin of grey around, as `rectify` shows photographs to its finder.
    annotations : DataFrame
        One row per photograph and corner: columns ``film`` (the photograph), ``point``, and
        ``x`` and ``y`` in pixels; a corner beside the photograph stands at its edge.

    Raises
    ------
    InputError
        If there is no film, or something else among them.
    ImageReadError
        If a film cannot be read.
    ConfigurationError
        If `copies` or `severities` are unusable.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.imaging.photographs import corner_annotations
    >>> film = np.full((64, 64), 90, dtype=np.uint8)
    >>> photographs, corners = corner_annotations([film], copies=2, random_state=0)
    >>> len(photographs), sorted(set(corners["point"]))
    (3, ['bottom_left', 'bottom_right', 'top_left', 'top_right'])
    """
    import pandas as pd

    check_integer(copies, "copies", minimum=1)
    given = [_read_cell(film, row, "films", root) for row, film in enumerate(films)]
    shots = _plan(given, copies, severities, random_state, side=_TO_LEARN)
    if not shots:
        raise InputError("films: expected at least one film, got none.")
    clean = [shot._replace(severity=0) for shot in shots[::copies]]
    order = [
        shot
        for k, film in enumerate(clean)
        for shot in (film, *shots[k * copies : (k + 1) * copies])
    ]
    shown: list[bytes] = []
    table: list[tuple[bytes, str, float, float]] = []
    for photo, corners in _photographed(order, "films"):
        frame = framed(read_original(photo).pixels)
        shown.append(as_jpeg(np.stack([frame.pixels] * 3)))
        # A finder points into the picture: a corner beside it is the nearest place there.
        edges = frame.pixels.shape[::-1]
        seen = zip(CORNERS, np.clip(frame.into(corners), 0, edges).tolist(), strict=True)
        table += [(shown[-1], name, x, y) for name, (x, y) in seen]
    places = pd.DataFrame(table, columns=["film", "point", "x", "y"])
    return shown, places.drop_duplicates(["film", "point"], ignore_index=True)  # films come twice


def _plan(
    films: Sequence[Film | None],
    copies: int,
    severities: Sequence[int],
    random_state: RandomState,
    side: int | None = None,
) -> list[_Shot]:
    """Return the photographs to be made of each film that is there."""
    chosen = [check_severity(severity) for severity in np.atleast_1d(np.asarray(severities))]
    if not chosen:
        raise ConfigurationError("severities: expected at least one from 1 to 5, got none.")
    seed = draw_seed(random_state)
    return [
        _Shot(film, row, chosen[derive_seed(seed, row, k, "severity") % len(chosen)], own, side)
        for row, film in enumerate(films)
        if film is not None
        for k in range(copies)
        for own in [derive_seed(seed, row, k)]
    ]


def _photographed(shots: Sequence[_Shot], column: str) -> Any:
    """Yield photographs as bytes, and the corners (4, 2) of the films on them."""

    def work(shot: _Shot) -> tuple[bytes, Floats]:
        try:
            film = read_original(shot.film, channels=3).pixels
        except ImageReadError as error:
            msg = f"Column {column!r}, row {shot.row}: {error} Correct the file, or leave it out."
            raise ImageReadError(msg) from None
        corners = corners_of(*film.shape[1:])
        if shot.severity == 0:
            return as_jpeg(film), corners
        photo, homography = degrade(film, shot.severity, shot.seed, side=shot.side)
        return as_jpeg(photo), apply_homography(homography, corners)

    with quiet_readers():
        yield from in_threads(work, shots, "Photographing films", "photograph")


def _rectified(photographs: Sequence[Any], finder: CornerFinder) -> list[Any]:
    """Return photographs as films, as bytes; those without one as they are."""
    found = find_corners(photographs, finder) if photographs else []
    return [
        photo if corners is None else _flat_or_same(photo, corners)
        for photo, corners in zip(photographs, found, strict=True)
    ]


def _flat_or_same(photograph: Any, corners: Floats) -> Any:
    try:
        return as_jpeg(flattened(read_original(photograph, channels=3).pixels, corners))
    except ImageReadError:  # for the encoder to say
        return photograph


def _films_of(frame: Frame, column: str, root: Root) -> list[Film | None]:
    frame.check_columns([column], "photographs")
    cells, known = frame.cells(column), frame.known(column)
    return [
        _read_cell(cell, row, column, root) if there else None
        for row, (cell, there) in enumerate(zip(cells, known, strict=True))
    ]


def _read_cell(cell: Any, row: int, column: str, root: Root) -> Film | None:
    if not is_known(cell):
        return None
    film = as_film(cell, root)
    if film is not None:
        return film
    msg = (
        f"Column {column!r}, row {row}: expected the path of an image file, its bytes, an array or "
        f"an image of Pillow, got {type(cell).__name__}."
    )
    raise ColumnError(msg)


def _check_length(y: Any, n_rows: int) -> None:
    if not hasattr(y, "__len__") or len(y) != n_rows:
        got = len(y) if hasattr(y, "__len__") else type(y).__name__
        raise InputError(f"y: expected {n_rows} targets, one per row, got {got}.")


def _taken(values: Any, rows: NDArray[np.int64]) -> Any:
    """Return rows of targets, of the kind that they are."""
    if hasattr(values, "iloc"):
        return _renumbered(values.iloc[rows])
    return (values if hasattr(values, "to_numpy") else np.asarray(values))[rows]


def _renumbered(rows: Any) -> Any:
    return rows.reset_index(drop=True) if hasattr(rows, "reset_index") else rows
