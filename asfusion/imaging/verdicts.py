"""What can be said of images before anything is learned from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._door import public
from asfusion._processes import side_by_side
from asfusion._progress import progress
from asfusion.exceptions import ImageReadError
from asfusion.imaging._burned_in import LETTERS, letters_in_a_row
from asfusion.imaging._cells import image_cells
from asfusion.imaging._guard import guarded
from asfusion.imaging._picture import on_square, resize_inside
from asfusion.imaging._sheet import sheet_html
from asfusion.imaging.dicom.file import header_if_dicom
from asfusion.imaging.dicom.header import Header
from asfusion.imaging.dicom.spacing import pixel_spacing
from asfusion.imaging.read import WHO, read_pixels

if TYPE_CHECKING:
    import pandas as pd

_THUMBNAIL = 112  # pixels
_ON_SHEET = 48
_CLIPPED = 0.25  # share of pixels in the darkest or brightest step of grey
_PALE = 0.15  # least part of the grey scale that 90 % of the pixels have to use
_TOUCHING = 0.5  # share of a side
_SMALL = 64  # pixels
_WIDE = 0.8  # a pelvis is wider than it is high; a detector may be a little higher


@dataclass(frozen=True, eq=False)
class ImageQuality:
    """Findings on N images, one row each.

    Parameters
    ----------
    table : DataFrame of N rows
        See `asfusion.imaging.quality`.
    thumbnails : ndarray of shape (N, 1, H, W), uint8
        The images, small, for the sheet that notebooks show.

    Examples
    --------
    >>> from asfusion.imaging import quality
    >>> found = quality([None, "nowhere.png"])
    >>> found
    <ImageQuality of 1 images (1 rows without), 1 flagged>
    >>> found.flagged["problem"].tolist()
    ['expected an existing file, got a path where there is none.']
    """

    table: pd.DataFrame
    thumbnails: NDArray[np.uint8]

    @property
    def flagged(self) -> pd.DataFrame:
        """The rows that somebody should look at, with the reasons in words."""
        reasons = _reasons(self.table)
        return self.table.assign(reasons=reasons)[[bool(reason) for reason in reasons]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def __repr__(self) -> str:
        """Return counts of what was found."""
        return f"<ImageQuality of {self._summary()}>"

    def _repr_html_(self) -> str:
        """Return a sheet of the images, flagged ones first, for notebooks."""
        reasons = _reasons(self.table)
        there = [i for i, kind in enumerate(self.table["file"]) if kind != "missing"]
        shown = sorted(there, key=lambda i: (not reasons[i], i))[:_ON_SHEET]
        labels = [f"{i}: {reasons[i] or 'no finding'}" for i in shown]
        more = (
            f"; {len(shown)} of them shown, flagged ones first" if len(there) > len(shown) else ""
        )
        return sheet_html(self.thumbnails[shown], labels, self._summary() + more)

    def _summary(self) -> str:
        n_missing = int((self.table["file"] == "missing").sum())
        return (
            f"{len(self) - n_missing} images ({n_missing} rows without), "
            f"{len(self.flagged)} flagged"
        )


@public
def quality(paths: Iterable[Any], *, n_jobs: int | None = None) -> ImageQuality:
    """Look at each image of a column: can it be read, what does it show, how well.

    Parameters
    ----------
    paths : iterable of str, PathLike or None
        N image files, such as a column of a data frame; None or NaN where there is none.
    n_jobs : int, optional
        Processes of joblib; one by default, -1 for all processors.

    Returns
    -------
    ImageQuality
        ``table`` has one row per cell, in order:

        - ``file``: ``"read"``, ``"unreadable"`` or ``"missing"``; ``problem`` in words;
        - ``view``: ``"ap pelvis"`` or ``"other"`` where the header says so, ``"unknown"``
          where it does not, or where the shape of the image contradicts it;
        - ``height``, ``width`` (pixels) and ``spacing`` (mm between rows: in the
          patient, else at the detector, else on a film that was scanned);
        - ``black``, ``white``: share of pixels in the darkest and the brightest step of
          grey; ``contrast``: part of the grey scale that the middle 90 % of pixels use;
        - ``touching``: sides (top, bottom, left, right) along half of which something
          brighter than the background reaches the border. A pelvis continues above and
          below: left and right are what may have been cut off;
        - ``text``: ``"declared"`` in the header, ``"suspected"`` in the pixels, ``"denied"``
          by the header and not seen, or ``"not seen"``;
        - ``duplicate_of``: the first row with the same pixels, whatever the file.

    Raises
    ------
    InputError
        If `paths` is a table or a single path, or a cell is neither a path nor missing.

    Notes
    -----
    Nothing here judges positioning, and no view is guessed from pixels. Text is looked for
    at full size, where up to one line in five is missed if its letters are small; in images
    of a few hundred pixels, whose letters run together, most is. The page *Measured* has
    the figures.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np
    >>> from PIL import Image
    >>> from asfusion.imaging import quality
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "hand.png"
    >>> Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (150, 1)).T).save(file)
    >>> found = quality([file, None, file])
    >>> found.table["file"].tolist(), found.table["duplicate_of"].tolist()
    (['read', 'missing', 'read'], [<NA>, <NA>, 0])
    >>> folder.cleanup()
    """
    import pandas as pd

    cells = image_cells(paths)
    given = [i for i, cell in enumerate(cells) if cell is not None]
    answers = side_by_side(_look, (cell for cell in cells if cell is not None), n_jobs)
    shown = progress(answers, "Looking", total=len(given), unit="file")
    looked = dict(zip(given, shown, strict=True))
    empty = np.zeros((_THUMBNAIL, _THUMBNAIL), dtype=np.uint8)
    missing = _Look({"file": "missing"}, "", empty)
    looks = [looked.get(i, missing) for i in range(len(cells))]
    table = pd.DataFrame([look.findings for look in looks], columns=list(_COLUMNS))
    table["duplicate_of"] = _first_of_same([look.pixels for look in looks])
    table = table.astype(_COLUMNS)
    small = [look.thumbnail for look in looks] or [empty][:0]
    stack = np.asarray(small, dtype=np.uint8).reshape(-1, 1, _THUMBNAIL, _THUMBNAIL)
    return ImageQuality(table, stack)


_COLUMNS = {
    "file": "object", "problem": "object", "view": "object", "height": "Int64", "width": "Int64",
    "spacing": "float64", "black": "float64", "white": "float64", "contrast": "float64",
    "touching": "object", "text": "object", "duplicate_of": "Int64",
}  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """Findings on one image, a digest of its pixels, and the image, small."""

    findings: dict[str, Any]
    pixels: str
    thumbnail: NDArray[np.uint8]


def _look(path: str) -> _Look:
    """Return what can be said of one file."""
    try:
        grey = read_pixels(path, None, 1)[0]
        header = _header(path)
    except ImageReadError as error:
        problem = str(error).removeprefix(WHO)
        empty = np.zeros((_THUMBNAIL, _THUMBNAIL), dtype=np.uint8)
        return _Look({"file": "unreadable", "problem": problem}, "", empty)
    low, high = np.percentile(grey, [5, 95])
    spacing = pixel_spacing(header)
    findings = {
        "file": "read",
        "problem": "",
        "view": _view(header, grey.shape, spacing),
        "height": grey.shape[0],
        "width": grey.shape[1],
        "spacing": spacing[0] if spacing else np.nan,
        "black": float((grey == 0).mean()),
        "white": float((grey == 255).mean()),
        "contrast": float(high - low) / 255.0,
        "touching": ", ".join(_touching(grey)),
        "text": _text(header, grey),
    }
    digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()
    return _Look(findings, digest, on_square(resize_inside(grey, _THUMBNAIL), _THUMBNAIL))


def _header(path: str) -> Header:
    """Return what a DICOM header says; nothing for other files."""
    with guarded(WHO, "header", ImageReadError):
        return header_if_dicom(Path(path)) or Header("", {})


def _view(header: Header, shape: tuple[int, ...], spacing: tuple[float, float] | None) -> str:
    part, position = header.code("BodyPartExamined"), header.code("ViewPosition")
    rows, columns = spacing or (1.0, 1.0)
    wide = shape[1] * columns >= _WIDE * shape[0] * rows
    if part == "PELVIS" and position == "AP":
        return "ap pelvis" if wide else "unknown"
    if (part and part != "PELVIS") or (position and position != "AP"):
        return "other"
    return "unknown"


def _touching(grey: NDArray[np.uint8]) -> list[str]:
    """Return the sides that something brighter than the background reaches."""
    strip = max(1, round(min(grey.shape) * 0.01))
    level = _between(grey)
    sides = {
        "top": grey[:strip].mean(axis=0),
        "bottom": grey[-strip:].mean(axis=0),
        "left": grey[:, :strip].mean(axis=1),
        "right": grey[:, -strip:].mean(axis=1),
    }
    return [name for name, side in sides.items() if float((side > level).mean()) >= _TOUCHING]


def _between(grey: NDArray[np.uint8]) -> float:
    """Return the level that parts background from the rest best (Otsu)."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(np.argmax(np.nan_to_num(apart)))


def _text(header: Header, grey: NDArray[np.uint8]) -> str:
    declared = header.code("BurnedInAnnotation")
    if declared == "YES":
        return "declared"
    if letters_in_a_row(grey) >= LETTERS:
        return "suspected"
    return "denied" if declared == "NO" else "not seen"


def _first_of_same(digests: list[str]) -> list[int | None]:
    """Return for each row the first row with the same pixels, None for that one itself."""
    first: dict[str, int] = {}
    found: list[int | None] = []
    for row, digest in enumerate(digests):
        earlier = first.setdefault(digest, row) if digest else row
        found.append(None if earlier == row else earlier)
    return found


def _reasons(table: pd.DataFrame) -> list[str]:
    """Return what is to be looked at in each row, in words; empty for nothing."""
    return [_reasons_of(row) for row in table.to_dict("records")]


def _reasons_of(row: dict[Any, Any]) -> str:
    if row["file"] != "read":
        return "unreadable" if row["file"] == "unreadable" else ""
    checks = {
        "another view": row["view"] == "other",
        "small": min(row["height"], row["width"]) < _SMALL,
        "dark": row["black"] > 2 * _CLIPPED,
        "burnt out": row["white"] > _CLIPPED,
        "pale": row["contrast"] < _PALE,
        "reaches the side": {"left", "right"} & set(str(row["touching"]).split(", ")),
        f"text {row['text']}": row["text"] in ("declared", "suspected"),
    }
    reasons = [reason for reason, holds in checks.items() if holds]
    if isinstance(row["duplicate_of"], int):  # pandas has its own word for none
        reasons.append(f"same pixels as row {row['duplicate_of']}")
    return ", ".join(reasons)
