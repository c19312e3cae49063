"""What each pixel of an image, or voxel of a volume, adds to a prediction.

Dimensions: H rows, W columns, Z Y X voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asfusion._checks import check_integer, check_number
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation._image_geometry import geometry, mean_over, picture_from, spread_from
from asfusion.explanation.views.image import ImageView
from asfusion.imaging.extent import Extent
from asfusion.imaging.place import Place


@dataclass(frozen=True, eq=False, repr=False)
class ImageAttribution(ImageView):
    """What the pixels of one image, or the voxels of one volume, add to an output.

    Parameters
    ----------
    values : ndarray of shape (H, W) or (Z, Y, X), float64
        Attribution per pixel, in units of the output; below zero where a pixel lowers it.
    image : ndarray of the same shape, float
        The picture beneath, from 0 (black) to 1 (white).
    method : {"integrated_gradients", "smoothgrad", "grad_cam", "occlusion"}
        How the values were found.
    gap : float, optional
        What the values leave unexplained of the difference that they should add up to;
        None for methods that promise no such sum.
    spacing_mm : tuple of float, optional
        Height and width of a pixel in mm, for a volume after the distance of its slices.
    unit : str
        Units of the output, such as ``"log odds"`` or ``"points"``.
    extent : Extent, optional
        Size of the picture in the file that was fitted into this square.
    place : Place, optional
        Where on the film this was cut from, for encoders that look at a region; `at_original`
        then gives the whole film, with the attribution in its place.
    elsewhere : float, default=0.0
        What of the modality's value no pixel holds, in units of the output: what a picture
        without content (the baseline) is worth against none at all, and the method's gap.
        `explain` fills it in, so that `total` and `elsewhere` add up to the modality's value.

    Raises
    ------
    ShapeError
        If values and image are not two images, or two volumes, of one shape.
    InputError
        If a value is not finite.
    ConfigurationError
        If there is not one positive spacing per axis, or `elsewhere` is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.zeros((4, 4))
    >>> values[1, 2] = 0.5
    >>> attribution = ImageAttribution(values, np.zeros((4, 4)), "integrated_gradients")
    >>> attribution.total
    0.5
    >>> attribution.top_share(values > 0)
    1.0
    """

    values: NDArray[np.float64]
    image: NDArray[np.floating[Any]]
    method: str
    gap: float | None = None
    spacing_mm: tuple[float, ...] | None = None
    unit: str = "units of the output"
    extent: Extent | None = field(default=None, repr=False)
    elsewhere: float = 0.0
    place: Place | None = None

    def __post_init__(self) -> None:
        values = _as_map(self.values, "values")
        image = _as_map(self.image, "image")
        if image.shape != values.shape:
            msg = f"image: expected the shape of values, {values.shape}, got {image.shape}."
            raise ShapeError(msg)
        check_number(self.elsewhere, "elsewhere")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "image", np.clip(image, 0.0, 1.0))
        if self.spacing_mm is not None:
            spacing = tuple(self.spacing_mm)
            if len(spacing) != values.ndim:
                msg = f"spacing_mm: expected {values.ndim} numbers in mm, got {len(spacing)}."
                raise ConfigurationError(msg)
            checked = [check_number(step, "spacing_mm", minimum=1e-6) for step in spacing]
            object.__setattr__(self, "spacing_mm", tuple(checked))

    def __repr__(self) -> str:
        size = " x ".join(str(extent) for extent in self.values.shape)
        gap = "" if self.gap is None else f", gap={self.gap:.3g}"
        rest = f", elsewhere={self.elsewhere:.4g}" if self.elsewhere else ""
        words = f"method={self.method!r}, total={self.total:.4g}{rest}{gap}"
        where = "" if self.place is None else f", at {self.place.in_words()}"
        return f"ImageAttribution({size}, {words}{where})"

    def at_original(
        self,
        original_shape: tuple[int, int] | None = None,
        *,
        aspect: float | None = None,
        image: ArrayLike | None = None,
        spacing_mm: tuple[float, ...] | None = None,
    ) -> ImageAttribution:
        """Return the attribution on the pixels of the file that was fitted into a square.

        Parameters
        ----------
        original_shape : (int, int), optional
            Rows and columns of the file, turned as it is shown; those of `extent` by default,
            which `explain` fills in.
        aspect : float, optional
            Height of a pixel of the file divided by its width, unitless.
        image : array of shape (H, W) or (Z, Y, X), optional
            The picture of the file, from 0 to 1; by default what the network saw of it.
        spacing_mm : tuple of float, optional
            Height and width of a pixel of the file in mm; that of `extent` by default.

        Returns
        -------
        ImageAttribution
            With the same total; see `to_original`.

        Raises
        ------
        ShapeError
            If the attribution is not on squares.
        ConfigurationError
            If the size of the file is neither given nor known.
        """
        size = _side(self.values)
        if original_shape is None:
            if self.extent is None:
                msg = (
                    "original_shape: expected rows and columns of the file, got none, and this "
                    "attribution does not know them. Pass at_original((rows, columns))."
                )
                raise ConfigurationError(msg)
            original_shape = (self.extent.rows, self.extent.columns)
            aspect = self.extent.aspect if aspect is None else aspect
            spacing_mm = self.extent.spacing_mm if spacing_mm is None else spacing_mm
        aspect = 1.0 if aspect is None else aspect
        if self.place is not None:
            return self._on_film(original_shape, image, spacing_mm)
        values = to_original(self.values, size=size, original_shape=original_shape, aspect=aspect)
        if image is None:
            rows, columns, place = geometry(size, original_shape, aspect)
            image = mean_over(rows) @ self.image[place] @ mean_over(columns).T
        return replace(
            self, values=values, image=np.asarray(image), spacing_mm=spacing_mm, extent=None
        )

    def _on_film(
        self, shape: tuple[int, int], image: ArrayLike | None, spacing_mm: tuple[float, ...] | None
    ) -> ImageAttribution:
        """Return the attribution of a cut on the film that it was cut from."""
        place = cast("Place", self.place)
        if image is None:
            image = picture_from(self.image, place, shape)
        return replace(
            self,
            values=spread_from(self.values, place, shape),
            image=np.asarray(image),
            spacing_mm=spacing_mm,
            extent=None,
            place=None,
        )

    def top_share(self, mask: ArrayLike, share: float = 0.1) -> float:
        """Return how much of the strongest positive attribution lies inside a mask.

        Parameters
        ----------
        mask : array of shape (H, W) or (Z, Y, X), bool
            The region, such as the sacroiliac joints.
        share : float
            Pixels are taken from the strongest down until they hold this share of all
            positive attribution, above 0 and at most 1; pixels as strong as the last one
            count too.

        Returns
        -------
        float
            Share of their attribution inside the mask, from 0 to 1; NaN if no pixel is
            positive.

        Raises
        ------
        ShapeError
            If the mask has another shape.
        InputError
            If the mask is not boolean.
        ConfigurationError
            If `share` is not above 0 and at most 1.
        """
        share = check_number(share, "share", minimum=0.0, maximum=1.0)
        if share == 0.0:
            msg = "share: expected a share above 0, got 0."
            raise ConfigurationError(msg)
        inner = np.asarray(mask)
        if inner.shape != self.values.shape:
            msg = f"mask: expected shape {self.values.shape}, got {inner.shape}."
            raise ShapeError(msg)
        if inner.dtype != np.bool_:
            msg = f"mask: expected boolean values, got {inner.dtype}. Pass mask > 0."
            raise InputError(msg)
        positive = np.sort(self.values[self.values > 0])[::-1]
        if not positive.size:
            return float("nan")
        held = np.cumsum(positive)
        # Without the slack, rounding in the sum could ask for more than there is.
        last = min(int(np.searchsorted(held, share * held[-1] * (1 - 1e-12))), positive.size - 1)
        top = self.values >= positive[last]
        return float(self.values[top & inner].sum() / self.values[top].sum())


def to_original(
    values: ArrayLike,
    *,
    size: int,
    original_shape: tuple[int, int],
    aspect: float = 1.0,
) -> NDArray[np.float64]:
    """Return attributions on a square as attributions on the pixels of the original file.

    Parameters
    ----------
    values : array of shape (size, size) or (Z, size, size)
        Attributions on the square into which `asfusion.imaging.read_image` fits an image,
        proportions kept and the rest black.
    size : int
        Side of the square, in pixels.
    original_shape : (int, int)
        Rows and columns of the original image.
    aspect : float
        Height of a pixel of the original divided by its width, unitless; for DICOM files
        with pixels that are not square.

    Returns
    -------
    ndarray of shape `original_shape`, or (Z, *original_shape), float64
        Each value is shared among the original pixels beneath it, by area: the sum stays.
        What lies on the black margin belongs to no place of the original, and is spread
        over it evenly.

    Raises
    ------
    ShapeError
        If `values` are not on squares of that size.
    InputError
        If a value is not finite.
    ConfigurationError
        If `size`, `original_shape` or `aspect` is unusable.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.zeros((4, 4))
    >>> square[0, 1:3] = 1.0
    >>> to_original(square, size=4, original_shape=(2, 1))
    array([[2.], [0.]])
    """
    check_integer(size, "size", minimum=1)
    array = _as_map(values, "values")
    if array.shape[-2:] != (size, size):
        msg = f"values: expected maps of {size} x {size} pixels, got shape {array.shape}."
        raise ShapeError(msg)
    rows, columns, place = geometry(size, original_shape, aspect)
    picture = array[place]
    placed: NDArray[np.float64] = rows @ picture @ columns.T
    margin = array.sum(axis=(-2, -1)) - picture.sum(axis=(-2, -1))
    if picture.shape == array.shape:
        return placed
    placed += np.expand_dims(margin, (-2, -1)) / (placed.shape[-2] * placed.shape[-1])
    return placed


# -- checks ----------------------------------------------------------------------------


def _as_map(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return values as a finite array (H, W) or (Z, Y, X)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (2, 3) or not array.size:
        msg = f"{name}: expected shape (H, W) or (Z, Y, X), got {array.shape}."
        raise ShapeError(msg)
    if not np.isfinite(array).all():
        msg = f"{name}: expected finite numbers, got NaN or infinity."
        raise InputError(msg)
    return array


def _side(values: NDArray[np.float64]) -> int:
    height, width = values.shape[-2:]
    if height != width:
        msg = (
            "at_original: expected an attribution on a square, as images are fitted into one, "
            f"got {height} x {width} pixels."
        )
        raise ShapeError(msg)
    return int(height)
