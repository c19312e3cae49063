"""What each pixel of an image adds to a prediction.

The functions know of no estimator: what is to be explained comes in as a function.

Dimensions: B images, C channels, H rows, W columns, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asfusion._checks import check_choice, check_integer, check_number
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation._image_geometry import geometry, mean_over
from asfusion.imaging.extent import Extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor, nn

ImageMethod = Literal["integrated_gradients", "smoothgrad", "grad_cam", "occlusion"]
METHODS = ("integrated_gradients", "smoothgrad", "grad_cam", "occlusion")


@dataclass(frozen=True, eq=False, repr=False)
class ImageAttribution:
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

    @property
    def total(self) -> float:
        """Sum of the values, in units of the output."""
        return float(self.values.sum())

    def __repr__(self) -> str:
        size = " x ".join(str(extent) for extent in self.values.shape)
        gap = "" if self.gap is None else f", gap={self.gap:.3g}"
        rest = f", elsewhere={self.elsewhere:.4g}" if self.elsewhere else ""
        words = f"method={self.method!r}, total={self.total:.4g}{rest}{gap}"
        return f"ImageAttribution({size}, {words})"

    def _repr_html_(self) -> str:
        from asfusion.explanation._image_plots import as_html

        return as_html(self)

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
        values = to_original(self.values, size=size, original_shape=original_shape, aspect=aspect)
        if image is None:
            rows, columns, place = geometry(size, original_shape, aspect)
            image = mean_over(rows) @ self.image[place] @ mean_over(columns).T
        return replace(
            self, values=values, image=np.asarray(image), spacing_mm=spacing_mm, extent=None
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

    def plot(self, ax: Axes | None = None, limit: float | None = None) -> Axes:
        """Draw the attribution over the picture; for a volume, over its strongest slice.

        Orange raises the output, purple lowers it, and a line goes around the strongest 5 %
        of the pixels, slightly smoothed.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        limit : float, optional
            Value of full colour, of either sign, in units of the output. Give the same to
            pictures that are to be compared. By default, 99.5 % of the pixels are within.

        Returns
        -------
        Axes
            What was drawn on.

        Raises
        ------
        ConfigurationError
            If `ax` is no Axes, or `limit` is not positive.
        """
        from asfusion.explanation._image_plots import draw, symmetric_limit
        from asfusion.show.figures import check_axes

        symmetric_limit(self, limit)  # before a figure is opened for nothing
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.figure(figsize=(5.2, 4.4), layout="constrained").subplots()
        draw(self, check_axes(ax, 1)[0], limit)
        return ax

    def montage(self, n: int = 9) -> Figure:
        """Draw slices of a volume, evenly spaced from the first to the last, on one scale.

        Parameters
        ----------
        n : int
            How many slices; all of them if there are fewer.

        Returns
        -------
        Figure
            With one panel per slice.

        Raises
        ------
        ShapeError
            If the attribution is not on a volume.
        ConfigurationError
            If `n` is not a positive integer.
        """
        from asfusion.explanation._image_plots import montage

        check_integer(n, "n", minimum=1)
        if self.values.ndim != 3:
            msg = "montage: expected the attribution of a volume (Z, Y, X), got one of an image."
            raise ShapeError(msg)
        last = len(self.values) - 1
        ends = (0, last) if n > 1 else (last // 2, last // 2)
        planes = np.unique(np.rint(np.linspace(*ends, n)).astype(int)).tolist()
        return montage(self, planes)


def attribute_image(
    forward: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    method: ImageMethod = "integrated_gradients",
    baseline: Literal["blur", "black", "mean"] | Tensor = "blur",
    layer: nn.Module | None = None,
    n_steps: int = 32,
    noise: float = 0.02,
    batch_size: int = 16,
    window: int = 16,
    stride: int = 8,
    expected_difference: float | None = None,
) -> ImageAttribution:
    """Return what each pixel adds to an output, against an image without its content.

    Parameters
    ----------
    forward : callable
        From images (B, C, H, W) or volumes (B, C, Z, Y, X) in [0, 1] to the explained
        output (B,), one number per image. Gradients must pass through it, except for
        ``"occlusion"``. Put the network into evaluation mode before: dropout and batch
        statistics would be explained otherwise.
    image : Tensor of shape (C, H, W) or (C, Z, Y, X), float
        One image, from 0 to 1, in the precision and on the device of the network.
    method : {"integrated_gradients", "smoothgrad", "grad_cam", "occlusion"}
        Integrated gradients [1]_ are fine-grained and add up to the difference between the
        outputs for image and baseline. SmoothGrad [4]_ is the same, each step seen through
        noise of its own: it takes as long, points more sharply at what counts, and no longer
        adds up. Grad-CAM [2]_ is coarse, one value per position of a feature map, and fast.
        Occlusion [3]_ covers the image window by window, needs no gradient, and is slow.
    baseline : {"blur", "black", "mean"} or Tensor
        What the image is compared with: itself blurred by a tenth of its side, black, its
        mean grey, or another image of its shape. Black rows and columns at the edges, which
        fill the square around a picture, stay black and get no attribution.
    layer : Module, optional
        Where Grad-CAM reads the feature map, usually the last block of convolutions.
    n_steps : int
        Steps between baseline and image for integrated gradients; more narrow the gap.
    noise : float
        Standard deviation of the noise of SmoothGrad, in grey values from 0 to 1. It is drawn
        from a fixed seed, inside the picture only.
    batch_size : int
        Images that go through `forward` at a time.
    window, stride : int
        Side of the window that is covered and how far it moves, in pixels; along an axis
        that is shorter, such as the slices of a volume, its whole extent.
    expected_difference : float, optional
        What the values should add up to, in units of the output, if it is known from
        elsewhere; by default ``forward(image) - forward(baseline)``.

    Returns
    -------
    ImageAttribution
        On the pixels of `image`, channels added up.

    Raises
    ------
    ShapeError
        If `image`, `baseline`, the output or the feature map has an unusable shape.
    InputError
        If pixels are not from 0 to 1, or the output is not finite.
    ConfigurationError
        If a parameter is unusable, or no gradient passes through `forward`.

    Warns
    -----
    AsfusionWarning
        If the Grad-CAM map cannot be scaled by a factor (see Notes), or captum warns.

    Notes
    -----
    Values of Grad-CAM have no unit of their own. By convention, the signed map is scaled so
    that it adds up to the expected difference, like the other parts of an explanation;
    its sum proves nothing. Where positive and negative evidence cancel, or their sum points
    the other way, the map keeps its order and what is left of the difference is spread
    evenly. A layer without any gradient gives a map of zeros.

    An occluded window spreads what it changes evenly over its pixels; a pixel under many
    windows has their mean. Such values need not add up to the difference.

    References
    ----------
    .. [1] Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
       https://proceedings.mlr.press/v70/sundararajan17a.html
    .. [2] Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
       Gradient-Based Localization", ICCV 2017. https://doi.org/10.1109/ICCV.2017.74
    .. [3] Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks",
       ECCV 2014. https://doi.org/10.1007/978-3-319-10590-1_53
    .. [4] Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.
       https://doi.org/10.48550/arXiv.1706.03825

    Examples
    --------
    >>> import torch
    >>> def brightness(images):
    ...     return images.flatten(1).sum(dim=1)
    >>> image = torch.zeros(1, 4, 4)
    >>> image[0, 1, 2] = 1.0
    >>> attribution = attribute_image(brightness, image, baseline="black")
    >>> attribution.values[1, 2].round(4), abs(attribution.gap) < 1e-6
    (np.float64(1.0), True)
    """
    import torch

    from asfusion.explanation import _image_methods as methods

    check_choice(method, "method", METHODS)
    _check_numbers(n_steps=n_steps, batch_size=batch_size, window=window, stride=stride)
    noise = check_number(noise, "noise", minimum=0.0, maximum=1.0)
    if method == "occlusion" and stride > window:
        msg = (
            f"stride: expected at most window={window}, so that no pixel is left out, got {stride}."
        )
        raise ConfigurationError(msg)
    pixels = _check_image(image)
    checked = methods.Forward(forward)
    empty = methods.make_baseline(pixels, baseline)
    if expected_difference is None:
        difference = checked.alone(pixels) - checked.alone(empty)
    else:
        difference = check_number(expected_difference, "expected_difference")
    if method == "grad_cam":
        if not isinstance(layer, torch.nn.Module):
            msg = (
                "layer: method='grad_cam' expected the module whose feature map it reads, got "
                f"{type(layer).__name__}. Pass the last block of convolutions, such as "
                "network.last_block()."
            )
            raise ConfigurationError(msg)
        values = methods.grad_cam(checked, pixels, empty, layer, difference)
    elif method == "occlusion":
        values = methods.occlusion(
            checked, pixels, empty, window=window, stride=stride, batch_size=batch_size
        )
    else:
        values = methods.integrated_gradients(
            checked,
            pixels,
            empty,
            n_steps=n_steps,
            noise=noise if method == "smoothgrad" else 0.0,
            batch_size=batch_size,
        )
    array = values.double().cpu().numpy()
    return ImageAttribution(
        values=array,
        image=pixels.double().mean(dim=0).cpu().numpy(),
        method=method,
        gap=difference - float(array.sum()) if method == "integrated_gradients" else None,
    )


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


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        check_integer(number, name, minimum=1)


def _check_image(image: object) -> Tensor:
    """Return one image (C, H, W) or volume (C, Z, Y, X), from 0 to 1."""
    import torch

    if not isinstance(image, torch.Tensor) or image.dim() not in (3, 4) or not image.numel():
        got = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        msg = f"image: expected one tensor (C, H, W) or (C, Z, Y, X), got {got}."
        raise ShapeError(msg)
    if not image.is_floating_point():
        msg = f"image: expected floating pixels from 0 to 1, got {image.dtype}. Divide by 255."
        raise InputError(msg)
    if not bool(((image >= 0) & (image <= 1)).all()):
        msg = "image: expected pixels from 0 to 1, got some outside of that, or NaN."
        raise InputError(msg)
    with torch.inference_mode(False):  # tensors made there could never have gradients
        return image.detach().clone()


def _side(values: NDArray[np.float64]) -> int:
    height, width = values.shape[-2:]
    if height != width:
        msg = (
            "at_original: expected an attribution on a square, as images are fitted into one, "
            f"got {height} x {width} pixels."
        )
        raise ShapeError(msg)
    return int(height)
