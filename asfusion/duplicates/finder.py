"""Find the same image, note or row under different patients, before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_row_labels
from asfusion._door import public
from asfusion._frames import Frame
from asfusion._progress import progress, progress_shown
from asfusion.duplicates import _twins
from asfusion.duplicates._cuts import cut_pairs
from asfusion.duplicates.found import Duplicates, Link
from asfusion.encoders._files import check_folder
from asfusion.encoders.infer import column_roles
from asfusion.evaluation._inputs import read_groups
from asfusion.exceptions import ImageReadError
from asfusion.imaging._films import Film, Root, as_film
from asfusion.imaging._quiet import quiet_readers
from asfusion.imaging.fingerprint import Fingerprint, fingerprint_image
from asfusion.imaging.volumes.fingerprint import fingerprint_series

T = TypeVar("T")
Prints = Sequence[Fingerprint | None]

_THREADS = 4
_TABLES: dict[str, str] = {"table": "the table", "gene": "the variants"}


@public
def find_duplicates(
    X: Any,
    groups: Any = None,
    *,
    columns: Sequence[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    verbose: int = 1,
) -> Duplicates:
    """Find exact and near duplicates among rows of different patients.

    A radiograph that is there twice under two numbers, or a note that was copied, may land
    in training and test rows and make a model look better than it is. Columns are taken
    for what ``encoders="auto"`` would take them for.

    Parameters
    ----------
    X : pandas or polars DataFrame, or array of shape (n_rows, n_columns)
        One patient (or visit) per row.
    groups : array of shape (n_rows,), optional
        Patient of each row. Without them each row counts as a patient, and repeated
        visits are found, too.
    columns : sequence of str, optional
        Columns to compare; all by default.
    root : str or PathLike, optional
        Folder where relative paths of images and series start; the working directory by
        default.
    verbose : int
        0 is silent; 1 shows a progress bar while images are read.

    Returns
    -------
    Duplicates
        Links between rows, a table, a sentence, and ``joined_groups`` to split by.

    Raises
    ------
    ColumnError
        If a column is not there.
    InputError
        If X or groups cannot be used as given.
    ConfigurationError
        If `root` names no folder.

    Notes
    -----
    Images are files, or what `ImageEncoder` takes from a cell: bytes, an array, an image of
    Pillow. They are compared by the bytes of their files, by decoded pixels, and by a perceptual
    hash of 255 bits, of which at most 23 may differ: enough for another compression, size or
    brightness, too little for two films of one region. Each is then laid over the few that
    it is most like if up to 15 % of their height or width were cut off, and is a near duplicate
    if the fine detail of what both show correlates by 0.92 or more. So copies are found that
    were cut, put on a black ground, or turned by a degree or two; mirrored ones are not.

    Folders of slices and NIfTI files are compared by the bytes of their files, by voxels along
    the axes of the patient, so that a folder meets the NIfTI file that was made of it, and by a
    perceptual hash of 511 bits, of which 15 % may differ.

    Notes of at least ten words, also in a column of mostly shorter texts, are
    compared without case and punctuation,
    and are near duplicates if they share six in ten of their runs of three words. Rows of a
    table are equal if all their cells are, and if that is no coincidence; near duplicates
    among numbers are not looked for: a lab value that was rounded or converted hides a copy.
    A file that cannot be read is counted, as is a cell of images that holds none.

    Examples
    --------
    >>> import pandas as pd, asfusion as af
    >>> note = "Morning stiffness for an hour, better with exercise, worse at night and at rest."
    >>> other = "Pain since lifting a crate last week, better in bed, no stiffness in the morning."
    >>> X = pd.DataFrame({"note": [note, other, note.upper()], "crp": [9.0, 1.0, 4.0]})
    >>> found = af.find_duplicates(X, groups=["a", "b", "c"])
    >>> [(link.kind, link.first, link.second) for link in found.links]
    [('note', 0, 2)]
    >>> found.joined_groups.tolist()
    [0, 1, 0]
    """
    frame = Frame.read(X)
    check_row_labels(X, groups=groups)
    check_folder(root, "root")
    if columns is not None:
        frame = frame.select(list(columns), "columns")
    is_array = frame.is_array
    roles = dict.fromkeys(frame.columns, "table") if is_array else dict(column_roles(frame, root))
    return find_among(frame, groups, roles, root=root, verbose=verbose)


def find_among(
    frame: Frame, groups: Any, roles: Mapping[str, str], *, root: Root = None, verbose: int = 1
) -> Duplicates:
    """Return what `find_duplicates` finds among columns whose roles are known."""
    numbers, is_grouped = read_groups(groups, len(frame))
    found = _Search(frame, numbers, root)
    with progress_shown(bool(verbose)):
        for name, role in roles.items():
            if role == "image":
                found.add_images(name)
            elif role == "note":
                found.add_notes(name)
            elif role == "series":
                found.add_series(name)
            elif role in ("table", "identifier") and _holds_a_note(frame, name):
                found.add_notes(name)
    for role, label in _TABLES.items():
        found.add_table(label, [name for name, is_of in roles.items() if is_of == role])
    return Duplicates(
        tuple(found.links), numbers, is_grouped, dict(found.checked), found.n_unreadable
    )


class _Search:
    """Collects links, column by column."""

    def __init__(self, frame: Frame, groups: NDArray[np.int64], root: Root) -> None:
        self.frame, self.groups, self.root = frame, groups, root
        self.links: list[Link] = []
        self.checked: dict[str, int] = {}
        self.n_unreadable = 0

    def add_images(self, name: str) -> None:
        """Compare images by bytes, by pixels, and by how they look, whole or cut."""
        films = self._films(name)
        prints = self._each(name, films, _image_print)
        joined = self._joined()
        once = self._add_prints(name, films, prints, joined, _twins.ALIKE_IMAGES)
        patients = np.asarray([joined.root(int(group)) for group in self.groups])
        cut = cut_pairs([p and p.small for p in once], patients)
        self._add("image", name, _twins.alike_pairs(cut, self.groups, joined))

    def add_series(self, name: str) -> None:
        """Compare series by the bytes of their files, by voxels, and by how they look."""
        films = self._films(name)
        prints = self._each(name, films, _series_print)
        self._add_prints(name, films, prints, self._joined(), _twins.ALIKE_VOLUMES)

    def _films(self, name: str) -> list[Film | None]:
        """Return the paths and pictures of a column; a cell that is neither cannot be read."""
        cells, known = self.frame.cells(name), self.frame.known(name)
        films = [
            as_film(cell, self.root) if there else None
            for cell, there in zip(cells, known, strict=True)
        ]
        self.n_unreadable += int(known.sum()) - sum(film is not None for film in films)
        return films

    def _add_prints(
        self,
        name: str,
        films: Sequence[Film | None],
        prints: Prints,
        joined: _twins.Joined,
        least: float,
    ) -> Prints:
        """Add what is equal or alike; return the prints without copies that are known by now."""
        for pair in _twins.equal_pairs([p and p.content for p in prints], self.groups, joined):
            film = films[pair[0]]
            is_folder = isinstance(film, str) and Path(film).is_dir()
            self._add("folder" if is_folder else "file", name, [pair])
        pixels = [p and p.pixels for p in prints]
        self._add("pixels", name, _twins.equal_pairs(pixels, self.groups, joined))
        once = _firsts(prints, pixels)
        alike = _twins.image_pairs([p and p.perceptual for p in once], least)
        self._add("image", name, _twins.alike_pairs(alike, self.groups, joined))
        return once

    def add_notes(self, name: str) -> None:
        """Compare notes by their words, and by runs of three of them."""
        notes = [_twins.note_words(note) for note in self.frame.strings(name)]
        joined = self._joined()
        keys = _twins.note_keys(notes)
        self.checked[name] = sum(key is not None for key in keys)
        self._add("note", name, _twins.equal_pairs(keys, self.groups, joined))
        alike = _twins.note_pairs([words or [] for words in _firsts(notes, keys)])
        self._add("near note", name, _twins.alike_pairs(alike, self.groups, joined))

    def add_table(self, label: str, columns: Sequence[str]) -> None:
        """Compare the cells of whole rows."""
        if not columns:
            return
        keys = _twins.row_keys([_cells(self.frame, name) for name in columns])
        self.checked[label] = sum(key is not None for key in keys)
        self._add("cells", label, _twins.equal_pairs(keys, self.groups, self._joined()))

    def _each(
        self, name: str, films: Sequence[Film | None], work: Callable[[Film], T | None]
    ) -> list[T | None]:
        """Return what `work` says of the film in each row, each read once."""
        keys = [film if isinstance(film, str) else id(film) for film in films]
        once = {key: film for key, film in zip(keys, films, strict=True) if film is not None}
        with quiet_readers(), ThreadPoolExecutor(_THREADS) as pool:
            answers = pool.map(work, once.values())
            told = list(progress(answers, f"Comparing {name}", total=len(once), unit="file"))
        known = dict(zip(once, told, strict=True))
        n_unreadable = sum(answer is None for answer in told)
        self.n_unreadable += n_unreadable
        self.checked[name] = len(once) - n_unreadable
        return [known.get(key) for key in keys]

    def _joined(self) -> _twins.Joined:
        return _twins.Joined(int(self.groups.max(initial=-1)) + 1)

    def _add(
        self,
        kind: Literal["file", "pixels", "image", "note", "near note", "folder", "cells"],
        columns: str,
        pairs: Sequence[_twins.Pair],
    ) -> None:
        self.links += [Link(kind, columns, *pair) for pair in pairs]


def _firsts(items: Sequence[T], keys: Sequence[Hashable | None]) -> list[T | None]:
    """Return the first item of each key, None for later ones and for those without a key."""
    firsts = {key: row for row, key in reversed(list(enumerate(keys)))}
    return [
        item if key is not None and firsts[key] == row else None
        for row, (item, key) in enumerate(zip(items, keys, strict=True))
    ]


def _image_print(film: Film) -> Fingerprint | None:
    try:
        return fingerprint_image(film)
    except (ImageReadError, OSError):
        return None


def _series_print(film: Film) -> Fingerprint | None:
    return fingerprint_series(film) if isinstance(film, str) else None


def _holds_a_note(frame: Frame, name: str) -> bool:
    """Return whether a column of texts, most of them short, has one that is long enough."""
    texts = frame.strings(name) if frame.kind(name) == "text" else ()
    return any(text and len(text.split()) >= _twins.SHORTEST_NOTE for text in texts)


def _cells(frame: Frame, name: str) -> list[Hashable | None]:
    """Return the cells of a column as values that can be compared, None where missing."""
    if frame.kind(name) in ("number", "boolean"):
        numbers = frame.numbers(name)
        return [
            None if missing else value
            for missing, value in zip(np.isnan(numbers), numbers.tolist(), strict=True)
        ]
    return list(frame.strings(name))
