"""A stack of slices with its place in the patient."""

from __future__ import annotations

import base64
import html
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion.imaging._picture import robust_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 12  # slices of a montage
_SIDE = 160  # pixels of a slice in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """Voxels of one series, in order and with their geometry in mm.

    Voxel ``[z, y, x]`` is centred at ``origin + z * spacing[0] * directions[0] +
    y * spacing[1] * directions[1] + x * spacing[2] * directions[2]``. Places are in mm in the
    patient's coordinates of DICOM: x to the left, y to the back, z to the head.

    Parameters
    ----------
    values : ndarray of shape (Z, Y, X)
        Stored whole numbers, or float32 after the rescale of the header (HU for CT).
    spacing : tuple of three float
        Distance of slices, rows and columns, in mm.
    orientation : {"axial", "coronal", "sagittal", "oblique"}
        Plane of the slices: the nearest if it is within 40 degrees.
    directions : ndarray of shape (3, 3)
        Unit vectors along Z, Y and X, one a row.
    origin : ndarray of shape (3,)
        Centre of the first voxel, in mm.
    modality : str
        DICOM code, such as ``"MR"`` or ``"CT"``; empty where the file says none.
    window : tuple of two float
        Values to show as black and as white.
    notes : tuple of str
        What was left out, filled in or converted on the way.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.imaging import Volume
    >>> volume = Volume(
    ...     np.zeros((20, 128, 128), dtype=np.int16), spacing=(4.0, 1.5, 1.5),
    ...     orientation="coronal", directions=np.eye(3), origin=np.zeros(3), modality="MR",
    ...     window=(0.0, 900.0),
    ... )
    >>> volume
    Volume(20 x 128 x 128 int16, 4 x 1.5 x 1.5 mm, coronal, MR)
    >>> volume.n_slices
    20
    """

    values: NDArray[Any]
    spacing: tuple[float, float, float]
    orientation: str
    directions: NDArray[np.float64]
    origin: NDArray[np.float64]
    modality: str = ""
    window: tuple[float, float] = (0.0, 1.0)
    notes: tuple[str, ...] = ()

    @property
    def n_slices(self) -> int:
        """Number of slices, Z."""
        return len(self.values)

    def __repr__(self) -> str:
        shape = " x ".join(str(extent) for extent in self.values.shape)
        spacing = " x ".join(f"{length:.4g}" for length in self.spacing)
        parts = [f"{shape} {self.values.dtype}", f"{spacing} mm", self.orientation, self.modality]
        return f"Volume({', '.join(part for part in parts if part)})"

    def plot(self, ax: Axes | None = None, *, n_slices: int = _SHOWN) -> Axes:
        """Draw evenly spaced slices side by side, first to last.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        n_slices : int
            Largest number of slices to draw.

        Returns
        -------
        Axes
            The axes drawn on.
        """
        check_integer(n_slices, "n_slices", minimum=1)
        numbers = self._chosen(n_slices)
        picture, n_columns, (height, width) = _montage(self, numbers)
        if ax is None:
            import matplotlib.pyplot as plt

            n_rows = math.ceil(len(numbers) / n_columns)
            inches = 2.0 * n_columns, 2.0 * n_rows * height / width + 0.4
            _, ax = plt.subplots(figsize=inches, layout="constrained")
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        for place, number in enumerate(numbers):
            row, column = divmod(place, n_columns)
            ax.text(
                column * width + 0.04 * width, row * height + 0.04 * width, str(number),
                color="white", fontsize=8, va="top",
                bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1.0},
            )  # fmt: skip
        ax.set_axis_off()
        ax.set_title(repr(self).removeprefix("Volume(").removesuffix(")"), fontsize=9)
        return ax

    def _chosen(self, n: int) -> list[int]:
        last = self.n_slices - 1
        n = min(n, self.n_slices)
        return [round(i * last / max(1, n - 1)) for i in range(n)] if n > 1 else [last // 2]

    def _repr_html_(self) -> str:
        from PIL import Image

        picture, *_ = _montage(self, self._chosen(_SHOWN), side=_SIDE)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        code = base64.b64encode(buffer.getvalue()).decode("ascii")
        title = html.escape(repr(self))
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f'<figure style="margin:0"><img alt="{title}" style="max-width:100%" '
            f'src="data:image/png;base64,{code}"><figcaption>{title}</figcaption>'
            f"{f'<ul>{notes}</ul>' if notes else ''}</figure>"
        )


def volume_window(
    values: NDArray[Any], padding: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the values between which all but the tails of the voxels lie, less the padding."""
    n_slices, n_rows, n_columns = values.shape
    steps = [max(1, extent // 96) for extent in (n_slices, n_rows, n_columns)]
    grid = tuple(slice(None, None, step) for step in steps)
    sample = values[grid].reshape(-1)
    if padding is not None:
        sample = sample[~padding[grid].reshape(-1)]
    side = math.isqrt(sample.size)
    # As square as it comes: `robust_window` looks at some rows and columns of a picture.
    low, high = robust_window(sample[: side * side].reshape(side, side))
    return (low, high) if high > low else (low, low + 1.0)


def _montage(
    volume: Volume, numbers: list[int], side: int = 256
) -> tuple[NDArray[np.uint8], int, tuple[int, int]]:
    """Return slices on a grid, its number of columns, and height and width of a tile."""
    from PIL import Image

    low, high = volume.window
    _, n_rows, n_columns = volume.values.shape
    tall, wide = n_rows * volume.spacing[1], n_columns * volume.spacing[2]
    scale = side / max(tall, wide)
    height, width = max(1, round(tall * scale)), max(1, round(wide * scale))
    across = min(len(numbers), max(1, round(math.sqrt(len(numbers) * 1.5 * height / width))))
    down = math.ceil(len(numbers) / across)
    grid = np.zeros((down * height, across * width), dtype=np.uint8)
    for place, number in enumerate(numbers):
        row, column = divmod(place, across)
        grey = (volume.values[number].astype(np.float32) - low) / max(high - low, 1e-6)
        eight = (np.clip(np.nan_to_num(grey), 0.0, 1.0) * 255.0).round().astype(np.uint8)
        tile = Image.fromarray(eight).resize((width, height), Image.Resampling.BILINEAR)
        grid[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return grid, across, (height, width)
