"""Annotations from label images: the boxes around regions, and where their masks are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import in_words
from asfusion._door import public
from asfusion.anatomy._annotations import BOXES, MASKS
from asfusion.anatomy._films import read_cells, read_films
from asfusion.exceptions import ConfigurationError, ImageReadError, InputError
from asfusion.imaging.original import Original

if TYPE_CHECKING:
    import pandas as pd


@public
def read_masks(films: Any, masks: Any, names: Mapping[int, str]) -> pd.DataFrame:
    """Return the boxes around regions of label images, as annotations for `RegionFinder`.

    Parameters
    ----------
    films : sequence
        Cells of the films, as the finder is given them.
    masks : sequence of str, PathLike, bytes, ndarray, PIL.Image.Image or None
        A label image per film, of the same size; None where there is none. Grey values are codes,
        as they are stored in a PNG or an array of uint8.
    names : mapping of int to str
        Regions to read, by the code of each. Other codes are passed over.

    Returns
    -------
    DataFrame
        A row per film and region that is there: ``film``, ``region``, ``x0``, ``y0``, ``x1``,
        ``y1`` (pixels, the first one from 0 to 1), and the label image with the code of the
        region, ``mask`` and ``code``, for ``RegionFinder(method="masks")``.

    Raises
    ------
    InputError
        If a mask cannot be read, there is not one per film, or a region is in none.
    ConfigurationError
        If `names` is no mapping from codes to names.

    Examples
    --------
    >>> import numpy as np, asfusion as af
    >>> mask = np.zeros((10, 10), np.uint8)
    >>> mask[2:5, 3:9] = 7
    >>> table = af.anatomy.read_masks(["a.png"], [mask], names={7: "left_sij"})
    >>> table.drop(columns="mask").values.tolist()
    [['a.png', 'left_sij', 3.0, 2.0, 9.0, 5.0, 7]]
    """
    import pandas as pd

    codes = _checked(names)
    code_of = {name: code for code, name in codes.items()}
    cells = list(films)
    labels = read_cells(masks, None)
    images = list(masks)
    if len(labels) != len(cells):
        msg = f"masks: expected one per film, {len(cells)}, got {len(labels)}. Give None for none."
        raise InputError(msg)
    rows = [row for row, mask in enumerate(labels) if mask is not None]
    given = [mask for mask in labels if mask is not None]
    found: list[list[Any]] = []
    for row, boxes in zip(rows, read_films(given, _Boxes(codes), "Reading masks"), strict=True):
        if isinstance(boxes, ImageReadError):
            raise ImageReadError(f"masks, row {row}: {boxes}")
        found += [
            [cells[row], name, *box, images[row], code_of[name]] for name, box in boxes.items()
        ]
    absent = [name for name in codes.values() if all(line[1] != name for line in found)]
    if absent:
        msg = (
            "names: expected every region in some mask, got none with code "
            f"{code_of[absent[0]]} for {absent[0]!r}. Check the codes, and that masks are label "
            "images, not pictures."
        )
        raise InputError(msg)
    return pd.DataFrame(found, columns=[*BOXES.columns, *MASKS])


class _Boxes:
    """Read the boxes of one label image."""

    def __init__(self, codes: Mapping[int, str]) -> None:
        self.codes = codes

    def __call__(self, mask: Original) -> dict[str, tuple[float, ...]]:
        found = {name: box_of(mask.pixels[0] == code) for code, name in self.codes.items()}
        return {name: box for name, box in found.items() if box is not None}


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """Return the edges of what is true; None if nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _checked(names: Any) -> dict[int, str]:
    is_map = isinstance(names, Mapping) and bool(names)
    if not is_map or not all(_is_code(c) and isinstance(n, str) and n for c, n in names.items()):
        msg = (
            "names: expected a mapping of codes (1 to 255) to names of regions, such as "
            f"{{7: 'left_sij'}}, got {in_words(names)}."
        )
        raise ConfigurationError(msg)
    if len(set(names.values())) < len(names):
        raise ConfigurationError("names: expected a name of its own for each code, got one twice.")
    return {int(code): name for code, name in names.items()}


def _is_code(code: object) -> bool:
    is_integer = isinstance(code, int | np.integer) and not isinstance(code, bool)
    return is_integer and 1 <= int(code) <= 255  # type: ignore[call-overload]
