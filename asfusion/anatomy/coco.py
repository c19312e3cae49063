"""Boxes from COCO files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion._door import public
from asfusion.anatomy._annotations import BOXES
from asfusion.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd

Box = tuple[float, float, float, float]

_MAX_BYTES = 256 << 20


@public
def read_coco(
    path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> pd.DataFrame:
    """Return the boxes of a COCO file, as annotations for `RegionFinder`.

    Parameters
    ----------
    path : str or PathLike
        A JSON file with ``images``, ``categories`` and ``annotations``. A region is the box of its
        segmentation (polygons, or run lengths that are not compressed), or its ``bbox`` where it
        has none.
    root : str or PathLike, optional
        Folder that is put before each ``file_name``.

    Returns
    -------
    DataFrame
        A row per annotation: ``film``, ``region`` (name of the category), ``x0``, ``y0``, ``x1``,
        ``y1`` (pixels, the first one from 0 to 1).

    Raises
    ------
    InputError
        If it is no COCO file, or an annotation of it cannot be read.

    Examples
    --------
    >>> import json, pathlib, tempfile, asfusion as af
    >>> said = {
    ...     "images": [{"id": 1, "file_name": "a.png"}],
    ...     "categories": [{"id": 3, "name": "left_lung"}],
    ...     "annotations": [{"image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40]}],
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "boxes.json"
    ...     _ = file.write_text(json.dumps(said))
    ...     af.anatomy.read_coco(file).values.tolist()
    [['a.png', 'left_lung', 10.0, 20.0, 40.0, 60.0]]
    """
    import pandas as pd

    said = _read(Path(path))
    films = _by_id(said, "images", "file_name")
    regions = _by_id(said, "categories", "name")
    if root is not None:
        films = {number: str(Path(root, name)) for number, name in films.items()}
    rows = [
        _row(number, entry, films, regions)
        for number, entry in enumerate(_list(said, "annotations"))
    ]
    return pd.DataFrame(rows, columns=BOXES.columns)


def _read(path: Path) -> dict[str, Any]:
    try:
        is_large = path.stat().st_size > _MAX_BYTES
        said = None if is_large else json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise InputError("read_coco: expected a JSON file, got none that can be read.") from None
    if is_large:
        msg = f"read_coco: expected a file of at most {_MAX_BYTES >> 20} MB, got a larger one."
        raise InputError(msg)
    if not isinstance(said, dict):
        raise InputError(f"read_coco: expected a JSON object, got a {type(said).__name__}.")
    return said


def _list(said: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = said.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"read_coco: expected a list of objects under {name!r}, got none.")
    return entries


def _by_id(said: dict[str, Any], what: str, name: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, entry in enumerate(_list(said, what)):
        key, text = entry.get("id"), entry.get(name)
        if type(key) is not int or not isinstance(text, str) or not text.strip() or key in found:
            msg = f"read_coco: {what} {number}: expected an 'id' of its own and a {name!r}."
            raise InputError(msg)
        found[key] = text
    return found


def _row(
    number: int, entry: dict[str, Any], films: dict[int, str], regions: dict[int, str]
) -> list[Any]:
    film, region = entry.get("image_id"), entry.get("category_id")
    if type(film) is not int or type(region) is not int:
        raise _refused(number, "expected numbers as 'image_id' and 'category_id'")
    if film not in films or region not in regions:
        raise _refused(number, "expected an image and a category of this file")
    return [films[film], regions[region], *_box(number, entry)]


def _box(number: int, entry: dict[str, Any]) -> Box:
    shape = entry.get("segmentation")
    if isinstance(shape, list) and shape:
        return _of_polygons(number, shape)
    if isinstance(shape, dict):
        return _of_runs(number, shape)
    box = _numbers(entry.get("bbox"))
    if box is None or len(box) != 4 or min(box[2:]) <= 0:
        raise _refused(number, "expected a 'bbox' of x, y, width and height, or a 'segmentation'")
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def _of_polygons(number: int, polygons: list[Any]) -> Box:
    """Return the box around polygons; COCO's corners go from the edge of the first pixel."""
    parts = [_numbers(polygon) for polygon in polygons]
    if any(part is None or len(part) < 6 or len(part) % 2 for part in parts):
        raise _refused(number, "expected polygons of at least three corners")
    corners = np.concatenate([np.reshape(part, (-1, 2)) for part in parts if part is not None])
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    if x0 >= x1 or y0 >= y1:
        raise _refused(number, "expected polygons with an area")
    return x0, y0, x1, y1


def _of_runs(number: int, shape: dict[str, Any]) -> Box:
    """Return the box around run lengths, which go down the columns and begin with what is not."""
    size, counts = _numbers(shape.get("size")), _numbers(shape.get("counts"))
    if size is None or counts is None:
        raise _refused(number, "expected run lengths as a list of numbers, not compressed")
    is_whole = all(value >= 0 and value == int(value) for value in (*size, *counts))
    if len(size) != 2 or not is_whole or min(size) < 1:
        raise _refused(number, "expected a 'size' of height and width, and whole run lengths")
    height, width = int(size[0]), int(size[1])
    if sum(counts) != height * width:
        raise _refused(number, "expected run lengths that fill the size")
    ends = np.cumsum(np.asarray(counts, dtype=np.int64))
    starts, stops = ends[:-1:2], ends[1::2]  # every other run is of what is there
    there = stops > starts
    if not there.any():
        raise _refused(number, "expected run lengths with an area")
    first, last = starts[there], stops[there] - 1
    is_split = first // height != last // height  # from one column into the next
    y0 = np.where(is_split, 0, first % height).min()
    y1 = np.where(is_split, height - 1, last % height).max()
    return float(first[0] // height), float(y0), float(last[-1] // height + 1), float(y1 + 1)


def _numbers(value: Any) -> list[float] | None:
    """Return a list of finite numbers; None if it is not one."""
    if not isinstance(value, Iterable) or isinstance(value, str | dict):
        return None
    numbers = list(value)
    if not all(type(n) in (int, float) and abs(n) < 1e9 and math.isfinite(n) for n in numbers):
        return None
    return [float(n) for n in numbers]


def _refused(number: int, expected: str) -> InputError:
    return InputError(f"read_coco: annotations {number}: {expected}, got another.")
