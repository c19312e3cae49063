"""Attribution maps over their grey pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_number
from asfusion.show import figures
from asfusion.show import page as _html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from asfusion.explanation.images import ImageAttribution

# Purple and orange as in ColorBrewer's PuOr, the purple lighter: most of a film is dark.
_LOWERS, _RAISES = "#8b6cf0", "#f07a10"
_OPAQUE = 0.85
_CLIPPED = 99.5  # percentile of the sizes that gets the full colour
_TOP = 95.0  # percentile of the sizes that the contour goes around
_SMOOTH = 0.015  # width of the blur before the contour, as a share of the longer side
_BAR = 0.25  # longest scale bar, as a share of the width


def symmetric_limit(attribution: ImageAttribution, limit: float | None) -> float:
    """Return the value that gets the full colour, of either sign."""
    if limit is not None:
        return check_number(limit, "limit", minimum=0.0, maximum=math.inf, exclusive=True)
    sizes = np.abs(attribution.values)
    return float(np.percentile(sizes, _CLIPPED)) or float(sizes.max()) or 1.0


def strongest_slice(values: NDArray[np.float64]) -> int:
    """Return the slice of a volume (Z, Y, X) that holds most attribution of either sign."""
    return int(np.abs(values).sum(axis=(1, 2)).argmax())


def draw(attribution: ImageAttribution, ax: Axes, limit: float | None) -> None:
    """Draw an image, or the strongest slice of a volume, with its colour bar."""
    top, level = symmetric_limit(attribution, limit), _contour_level(attribution.values)
    plane = None
    if attribution.values.ndim == 3:
        plane = strongest_slice(attribution.values)
        ax.set_title(f"slice {plane + 1} of {len(attribution.values)}")
    shown = _overlay(attribution, ax, top, level, plane)
    figure: Any = ax.get_figure()
    _colour_bar(attribution, figure, shown, [ax])


def montage(attribution: ImageAttribution, planes: list[int]) -> Figure:
    """Return a figure with slices of a volume on one scale."""
    # By pyplot, or a notebook that has drawn nothing yet does not show it.
    from matplotlib import pyplot

    top, level = symmetric_limit(attribution, None), _contour_level(attribution.values)
    n_columns = math.ceil(math.sqrt(len(planes)))
    n_rows = math.ceil(len(planes) / n_columns)
    spacing = attribution.spacing_mm or (1.0, 1.0, 1.0)
    height, width = (
        n * step for n, step in zip(attribution.values.shape[1:], spacing[1:], strict=True)
    )
    tall = min(max(height / width, 0.3), 3.0)
    side = 2.4  # inches, of a panel without its title
    figure = pyplot.figure(
        figsize=(side * n_columns + 1.2, max((side * tall + 0.3) * n_rows, 2.8)),
        layout="constrained",
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
    attribution: ImageAttribution, ax: Axes, limit: float, level: float, plane: int | None
) -> AxesImage:
    """Draw grey pixels, colours over them and a line around the strongest pixels."""
    from matplotlib.colors import ListedColormap

    values, grey = attribution.values, attribution.image
    if plane is not None:
        values, grey = values[plane], grey[plane]
    spacing = attribution.spacing_mm
    aspect = 1.0 if spacing is None else spacing[-2] / spacing[-1]
    ax.imshow(grey, cmap="gray", vmin=0.0, vmax=1.0, aspect=aspect)
    # Where there is nothing to show, the picture is seen as it is.
    shown = ax.imshow(
        values,
        cmap=ListedColormap([_LOWERS, _RAISES]),
        alpha=_opacity(values / limit),
        vmin=-limit,
        vmax=limit,
        aspect=aspect,
    )
    smooth = _smooth(np.abs(values))
    if smooth.min() < level < smooth.max():
        ax.contour(smooth, levels=[level], colors="black", linewidths=1.8)
        ax.contour(smooth, levels=[level], colors="white", linewidths=0.9)
    ax.set_xticks([])
    ax.set_yticks([])
    if spacing is not None:
        _scale_bar(ax, values.shape, spacing[-1])
    return shown


def _opacity(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much of the picture a colour hides, for values as shares of the limit."""
    opacity: NDArray[np.float64] = _OPAQUE * np.clip(np.abs(shares), 0.0, 1.0)
    return opacity


def _bar_colours() -> ListedColormap:
    """Return the colours as they look on white: a bar has no picture beneath it."""
    from matplotlib.colors import ListedColormap, to_rgb

    shares = np.linspace(-1.0, 1.0, 256)
    hue = np.where(shares[:, None] < 0, to_rgb(_LOWERS), to_rgb(_RAISES))
    opacity = _opacity(shares)[:, None]
    return ListedColormap(list(map(tuple, hue * opacity + 1.0 - opacity)))


def _contour_level(values: NDArray[np.float64]) -> float:
    planes = values if values.ndim == 3 else values[None]
    smooth = np.stack([_smooth(np.abs(plane)) for plane in planes])
    return float(np.percentile(smooth, _TOP))


def _smooth(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sizes (H, W) blurred a little: around noise there is no line to draw."""
    from scipy.ndimage import gaussian_filter

    smooth: NDArray[np.float64] = gaussian_filter(sizes, _SMOOTH * max(sizes.shape), mode="nearest")
    return smooth


def _colour_bar(
    attribution: ImageAttribution, figure: Figure, shown: AxesImage, axes: list[Axes]
) -> None:
    from matplotlib.cm import ScalarMappable

    limit = shown.norm.vmax or 1.0
    beyond = bool(np.abs(attribution.values).max() > limit)
    scale = ScalarMappable(norm=shown.norm, cmap=_bar_colours())
    bar = figure.colorbar(
        scale, ax=axes, fraction=0.046, pad=0.03, extend="both" if beyond else "neither"
    )
    bar.formatter.set_powerlimits((-3, 4))  # type: ignore[attr-defined]
    unit = attribution.unit.replace("$", r"\$")  # matplotlib would see a formula
    bar.set_label(f"attribution per pixel ({unit})")


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


def as_html(attribution: ImageAttribution) -> str:
    """Return the picture and its numbers for a notebook."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    draw(attribution, figure.subplots(), None)
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
            _html.picture(figures.as_svg(figure), described),
            _html.paragraph(words),
            _html.paragraph(_html.RESEARCH_TOOL, "note"),
        ]
    )
