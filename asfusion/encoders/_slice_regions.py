"""Where the regions of a series lie: found on its middle slice, cut out of all of them.

Dimensions: Z Y X voxels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from asfusion._frames import Frame
from asfusion.anatomy.saved import read_finder
from asfusion.encoders._at_regions import fitted_finder
from asfusion.encoders._looking import Look, film_digest
from asfusion.imaging.original import Original
from asfusion.imaging.volumes._grid_plan import GridPlan
from asfusion.imaging.volumes.grid import Grid, to_eight_bits, window_of
from asfusion.imaging.volumes.volume import Volume

T = TypeVar("T")
_NUMBERS = ("x0", "y0", "x1", "y1", "x", "y")


@dataclass(frozen=True, eq=False)
class SliceLook:
    """How series are cut around the regions of a finder.

    Parameters
    ----------
    finder : fitted finder
        Says where its regions are on a slice.
    side_mm : float or None
        Side of the square that is cut from every slice; None takes a multiple of what was found.
    """

    finder: Any
    side_mm: float | None

    @property
    def settings(self) -> tuple[object, ...]:
        """What decides, besides the series, which voxels are seen."""
        return self.finder.digest_, self.side_mm

    def knows(self, volume: Volume) -> bool:
        """Return whether the finder learned from this series."""
        return film_digest(middle_slice(volume)) in self.finder.trained_on_

    def grid_of(self, plan: GridPlan, volume: Volume) -> Grid | None:
        """Return how the region of a volume is laid over the voxels; None if it was lost."""
        names = tuple(str(name) for name in self.finder.names_)
        look = Look(self.finder, names, 1, 1, self.side_mm, apart=False, blackout=False)
        picture, (tall, wide) = middle_slice(volume), volume.spacing[1:]
        place = look.around(Original(picture[None], (tall, wide), tall / wide), picture)
        n_rows, n_columns = picture.shape
        if place is None:
            return None
        rows, columns, _, _ = place.visible((n_rows, n_columns))
        part = volume.values[:, rows, columns]
        if not part.size:
            return None
        grid = plan.grid_of(replace(volume, values=part))
        return Grid(
            (
                grid.axes[0],
                _placed(grid.axes[1], rows, n_rows),
                _placed(grid.axes[2], columns, n_columns),
            )
        )


def fit_slice_finder(
    region: Any, cells: Mapping[str, T], read: Callable[[T], Volume | None]
) -> Any:
    """Return a finder that learned on middle slices, or one that was saved.

    `cells` are what `read` reads training series from (None: it cannot) by the cell that names
    them, also in annotations; only series that are annotated are read.
    """
    if isinstance(region, str | os.PathLike):
        return read_finder(os.fspath(region))
    told = getattr(region, "annotations", None)
    if told is None:
        return fitted_finder(region, [], [], None)  # raises, in the words of the finder
    import pandas as pd

    table = Frame.read(pd.read_csv(told) if isinstance(told, str | os.PathLike) else told)
    table.check_columns(["film"], "annotations")
    named = table.strings("film")
    known = dict.fromkeys(cell for cell in named if cell is not None and cell in cells)
    volumes = ((cell, read(cells[cell])) for cell in known)
    pictures = {cell: middle_slice(one) for cell, one in volumes if one is not None}
    rows = np.asarray([row for row, cell in enumerate(named) if cell in pictures], dtype=np.int64)
    kept = table.take(rows)
    columns = {name: list(kept.cells(name)) for name in kept.columns}
    columns["film"] = [pictures[str(named[row])] for row in rows]
    series = {name: pd.Series(values, dtype=object) for name, values in columns.items()}
    numbers = {name: pd.to_numeric(series[name]) for name in series if name in _NUMBERS}
    learner = clone(region).set_params(annotations=pd.DataFrame(series | numbers))
    films = list(pictures.values())
    return fitted_finder(learner, films, films, None)


def middle_slice(volume: Volume) -> NDArray[np.uint8]:
    """Return the middle slice as a picture, grey by the window of the whole series."""
    return to_eight_bits(volume.values[len(volume.values) // 2], window_of(volume.values))


def _placed(weights: NDArray[np.float64], part: slice, n: int) -> NDArray[np.float64]:
    """Return weights of a part of an axis as weights of all of it."""
    whole = np.zeros((len(weights), n))
    whole[:, part] = weights
    return whole
