"""Films that a finder is given: cells, names of their contents, and the pictures in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeVar

from asfusion._cells import is_known
from asfusion.exceptions import ImageReadError, InputError
from asfusion.imaging._films import Film, Root, as_film, in_threads
from asfusion.imaging._in_memory import content_digest
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.fingerprint import file_digest
from asfusion.imaging.original import Original, read_original

T = TypeVar("T")

AT_ONCE = 32  # films in memory


def read_cells(films: Any, root: Root) -> list[Film | None]:
    """Return what a column holds as films, None for none.

    Raises
    ------
    InputError
        If it is no column of films.
    """
    if isinstance(films, str | bytes | os.PathLike) or not isinstance(films, Iterable):
        msg = (
            "films: expected several films, such as a column or a list, got a single "
            f"{type(films).__name__}. Put it into a list."
        )
        raise InputError(msg)
    n_dims = getattr(films, "ndim", 1)
    if n_dims != 1:
        # To walk along a table gives the names of its columns, along an array its rows.
        msg = (
            f"films: expected one column of films, got {n_dims} dimensions. Choose a column, "
            "such as table['xray']; put arrays into a list."
        )
        raise InputError(msg)
    return [_film(cell, row, root) for row, cell in enumerate(films)]


def _film(cell: Any, row: int, root: Root) -> Film | None:
    if not is_known(cell):
        return None
    film = as_film(cell, root)
    if film is None:
        msg = (
            f"films, row {row}: expected the path of an image file, its bytes, an array or an "
            f"image of Pillow, got {type(cell).__name__}."
        )
        raise InputError(msg)
    return film


def key_of(film: Film) -> str | None:
    """Return what a film is called among others: its path, or the digest of what it holds."""
    return os.path.normpath(film) if isinstance(film, str) else content_digest(film)


def digest_of(film: Film) -> str | None:
    """Return a name for the content of a film; None if it cannot be read."""
    try:
        return file_digest(film) if isinstance(film, str) else content_digest(film)
    except (OSError, ValueError):
        return None


def read_films(
    films: Sequence[Film], work: Callable[[Original], T], what: str
) -> Generator[T | ImageReadError, None, None]:
    """Yield what `work` makes of each film, in order, or what is wrong with the film.

    The film itself is let go: a column of them may not fit into memory.
    """

    def read(film: Film) -> T | ImageReadError:
        try:
            return work(read_original(film))
        except ImageReadError as error:
            return error

    with quiet_readers():
        yield from in_threads(read, films, what, "film")
