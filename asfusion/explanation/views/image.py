"""Attribution maps over their grey pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, check_number
from asfusion.exceptions import ShapeError
from asfusion.explanation._attribution import PRESENCE, RowAttribution
from asfusion.explanation.views.bars import Pairs, bars, labelled
from asfusion.show import page as _html
from asfusion.show.colours import LOWERS_ON_FILM, RAISES_ON_FILM
from asfusion.show.figures import as_svg, given_or_new, literal, new_figure, shown_once

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec
    from matplotlib.image import AxesImage

_SIZE = (5.2, 4.4)
_OPAQUE = 0.85
_CLIPPED = 99.5  # percentile of the sizes that gets the full colour
_TOP = 95.0  # percentile of the sizes that the contour goes around
_SMOOTH = 0.025  # width of the blur of what is drawn, as a share of the longer side
_QUIET = 0.15  # share of full colour below which nothing is drawn
_BAR = 0.25  # longest scale bar, as a share of the width


class ImageView(RowAttribution):
    """The pictures of the pixels of an image, or the voxels of a volume."""

    values: NDArray[np.float64]
    image: NDArray[np.floating[Any]]
    method: str
    gap: float | None
    spacing_mm: tuple[float, ...] | None
    unit: str
    elsewhere: float

    @property
    def total(self) -> float:
        """Sum of the values, in units of the output."""
        return float(self.values.sum())

    def plot(self, ax: Axes | None = None, limit: float | None = None) -> Axes:
        """Draw the attribution over the picture; for a volume, over its strongest slice.

        Orange raises the output, purple lowers it, and a line goes around the strongest 5 %
        of the pixels. What is drawn is smoothed, as single pixels mean nothing to a reader, and
        what is weak is left out; `values` are as they were found.

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
        _symmetric_limit(self, limit)  # before a figure is opened for nothing
        ax = given_or_new(ax, _SIZE)
        _draw(self, ax, limit)
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
        check_integer(n, "n", minimum=1)
        if self.values.ndim != 3:
            msg = "montage: expected the attribution of a volume (Z, Y, X), got one of an image."
            raise ShapeError(msg)
        last = len(self.values) - 1
        ends = (0, last) if n > 1 else (last // 2, last // 2)
        planes = np.unique(np.rint(np.linspace(*ends, n)).astype(int)).tolist()
        return shown_once(_montage(self, planes))

    def _repr_html_(self) -> str:
        return _as_html(self)

    # -- what lies within the picture --------------------------------------------------

    def _named_parts(self) -> Pairs:
        return [("(pixels)", self.total), (PRESENCE, self.elsewhere)]

    def _draw_panel(
        self, pairs: Pairs, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        def picture(ax: Axes) -> None:
            self.plot(ax)
            ax.set_title(f"{name}: {self.method.replace('_', ' ')}", fontsize=10)

        draw_over_bars(picture, pairs, figure, place, limit)

    def _left_open(self) -> float | None:
        return None if self.gap is None else abs(self.gap)


def draw_over_bars(
    picture: Callable[[Axes], None], pairs: Pairs, figure: Figure, place: SubplotSpec, limit: float
) -> None:
    """Draw a picture in its place of a figure, and bars at its foot."""
    inner = place.subgridspec(2, 1, height_ratios=(12, 1 + len(pairs)))
    picture(figure.add_subplot(inner[0]))
    bars(labelled(pairs), figure.add_subplot(inner[1]), limit)


def _symmetric_limit(attribution: ImageView, limit: float | None) -> float:
    """Return the value that gets the full colour, of either sign."""
    if limit is not None:
        return check_number(limit, "limit", minimum=0.0, maximum=math.inf, exclusive=True)
    sizes = np.abs(_shown_values(attribution.values))
    return float(np.percentile(sizes, _CLIPPED)) or float(sizes.max()) or 1.0


def _strongest_slice(values: NDArray[np.float64]) -> int:
    """Return the slice of a volume (Z, Y, X) that holds most attribution of either sign."""
    return int(np.abs(values).sum(axis=(1, 2)).argmax())


def _draw(attribution: ImageView, ax: Axes, limit: float | None) -> None:
    """Draw an image, or the strongest slice of a volume, with its colour bar."""
    top, level = _symmetric_limit(attribution, limit), _contour_level(attribution.values)
    plane = None
    if attribution.values.ndim == 3:
        plane = _strongest_slice(attribution.values)
        ax.set_title(f"slice {plane + 1} of {len(attribution.values)}")
    shown = _overlay(attribution, ax, top, level, plane)
    figure: Any = ax.get_figure()
    _colour_bar(attribution, figure, shown, [ax])


def _montage(attribution: ImageView, planes: list[int]) -> Figure:
    """Return a figure with slices of a volume on one scale."""
    top, level = _symmetric_limit(attribution, None), _contour_level(attribution.values)
    n_columns = math.ceil(math.sqrt(len(planes)))
    n_rows = math.ceil(len(planes) / n_columns)
    spacing = attribution.spacing_mm or (1.0, 1.0, 1.0)
    height, width = (
        n * step for n, step in zip(attribution.values.shape[1:], spacing[1:], strict=True)
    )
    tall = min(max(height / width, 0.3), 3.0)
    side = 2.4  # inches, of a panel without its title
    # By pyplot, or a notebook that has drawn nothing yet does not show it.
    figure = new_figure(
        (side * n_columns + 1.2, max((side * tall + 0.3) * n_rows, 2.8)), shown=True
    )
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax in grid[len(planes) :]:
        ax.set_axis_off()
    for ax, plane in zip(grid, planes, strict=False):
        shown = _overlay(attribution, ax, top, level, plane)
        ax.set_title(f"slice {plane + 1} of {len(attribution.values)}", fontsize="small")
    _colour_bar(attribution, figure, shown, list(grid))
    return figure


def _overlay(
    attribution: ImageView, ax: Axes, limit: float, level: float, plane: int | None
) -> AxesImage:
    """Draw grey pixels, colours over them and a line around the strongest pixels."""
    from matplotlib.colors import ListedColormap

    values, grey = attribution.values, attribution.image
    if plane is not None:
        values, grey = values[plane], grey[plane]
    values = _smooth(values)
    spacing = attribution.spacing_mm
    aspect = 1.0 if spacing is None else spacing[-2] / spacing[-1]
    ax.imshow(grey, cmap="gray", vmin=0.0, vmax=1.0, aspect=aspect)
    # Where there is nothing to show, the picture is seen as it is.
    shown = ax.imshow(
        values,
        cmap=ListedColormap([LOWERS_ON_FILM, RAISES_ON_FILM]),
        alpha=_opacity(values / limit),
        interpolation="bilinear",
        vmin=-limit,
        vmax=limit,
        aspect=aspect,
    )
    sizes = np.abs(values)
    if sizes.min() < level < sizes.max():
        ax.contour(sizes, levels=[level], colors="black", linewidths=1.4)
        ax.contour(sizes, levels=[level], colors="white", linewidths=0.7)
    ax.set_xticks([])
    ax.set_yticks([])
    if spacing is not None:
        _scale_bar(ax, values.shape, spacing[-1])
    return shown


def _opacity(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much of the picture a colour hides, for values as shares of the limit."""
    strong = (np.clip(np.abs(shares), 0.0, 1.0) - _QUIET) / (1 - _QUIET)
    opacity: NDArray[np.float64] = _OPAQUE * np.clip(strong, 0.0, 1.0)
    return opacity


def _bar_colours() -> ListedColormap:
    """Return the colours as they look on white: a bar has no picture beneath it."""
    from matplotlib.colors import ListedColormap, to_rgb

    shares = np.linspace(-1.0, 1.0, 256)
    hue = np.where(shares[:, None] < 0, to_rgb(LOWERS_ON_FILM), to_rgb(RAISES_ON_FILM))
    opacity = _opacity(shares)[:, None]
    return ListedColormap(list(map(tuple, hue * opacity + 1.0 - opacity)))


def _contour_level(values: NDArray[np.float64]) -> float:
    return float(np.percentile(np.abs(_shown_values(values)), _TOP))


def _shown_values(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values as they are drawn, of each slice by itself."""
    planes = values if values.ndim == 3 else values[None]
    return np.stack([_smooth(plane) for plane in planes])


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values (H, W) blurred a little: noise of either sign goes, what agrees stays."""
    from scipy.ndimage import gaussian_filter

    width = _SMOOTH * max(values.shape)
    smooth: NDArray[np.float64] = gaussian_filter(values, width, mode="nearest")
    return smooth


def _colour_bar(attribution: ImageView, figure: Figure, shown: AxesImage, axes: list[Axes]) -> None:
    from matplotlib.cm import ScalarMappable

    limit = shown.norm.vmax or 1.0
    beyond = bool(np.abs(_shown_values(attribution.values)).max() > limit)
    scale = ScalarMappable(norm=shown.norm, cmap=_bar_colours())
    bar = figure.colorbar(
        scale, ax=axes, fraction=0.046, pad=0.03, extend="both" if beyond else "neither"
    )
    bar.formatter.set_powerlimits((-3, 4))  # type: ignore[attr-defined]
    unit = literal(attribution.unit)  # matplotlib would see a formula
    bar.set_label(f"per pixel, smoothed ({unit})", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _scale_bar(ax: Axes, shape: tuple[int, ...], spacing: float) -> None:
    """Draw a bar of a round length in mm at the lower left."""
    from matplotlib.patheffects import withStroke

    height, width = shape
    length = _round_below(_BAR * width * spacing)
    left, bottom = 0.04 * width, 0.95 * height
    outline = [withStroke(linewidth=4.5, foreground="black")]
    ax.plot(
        [left, left + length / spacing],
        [bottom, bottom],
        color="white",
        linewidth=2.5,
        solid_capstyle="butt",
        path_effects=outline,
        gid="scale-bar",
    )
    ax.text(
        left,
        bottom - 0.02 * height,
        f"{length:g} mm",
        color="white",
        fontsize="small",
        va="bottom",
        path_effects=[withStroke(linewidth=2.0, foreground="black")],
    )
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)


def _round_below(length: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, 50 ... that is at most `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return float(
        max(step for step in (1.0, 2.0, 5.0) if step * power <= length * (1 + 1e-9)) * power
    )


def _as_html(attribution: ImageView) -> str:
    """Return the picture and its numbers for a notebook."""
    figure = new_figure(_SIZE, shown=False)
    _draw(attribution, figure.subplots(), None)
    words = (
        f"Orange raises the output, purple lowers it; the line goes around the strongest 5 %. "
        f"Sum over all pixels: {attribution.total:+.4g} {attribution.unit}."
    )
    if attribution.elsewhere:
        words += f" In no pixel (having it at all): {attribution.elsewhere:+.4g}."
    if attribution.gap is not None:
        words += f" Not explained (completeness gap): {attribution.gap:+.2g}."
    described = f"Attribution by {attribution.method} over the image."
    return _html.fragment(
        [
            _html.picture(as_svg(figure), described),
            _html.paragraph(words),
            _html.paragraph(_html.RESEARCH_TOOL, "note"),
        ]
    )
