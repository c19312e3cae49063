"""Pictures of visits: pins over days, and measured values in the colour of what they add."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asfusion.explanation._table_plots import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from asfusion.explanation.visits import VisitAttribution

# The colours of `_draw`, which imports this room's results and so stands above.
_RAISES, _LOWERS, _NEUTRAL = "#E08214", "#7B5AA6", "#5A5A5A"
_MAP = "PuOr_r"


def size_of(n_visits: int, n_variables: int) -> tuple[float, float]:
    """Return the size in inches of a grid whose numbers can be read."""
    return 1.9 + 0.62 * max(n_visits, 3), 1.1 + 0.3 * max(n_variables, 2)


def pins(found: VisitAttribution, own: NDArray[np.int64], ax: Axes) -> Axes:
    """Draw a pin per visit at its day, which a bar would hide where visits are close."""
    days, values = found.days[own], found.values[own]
    span = max(float(-days.min()) if len(days) else 0.0, 30.0)
    colours = [_RAISES if value >= 0 else _LOWERS for value in values]
    ax.vlines(days, 0, values, color=colours, lw=2)
    ax.scatter(days, values, color=colours, s=28, zorder=3)
    if found.errors is not None and found.errors[own].any():
        ax.errorbar(days, values, 2 * found.errors[own], fmt="none", ecolor=_NEUTRAL, capsize=3)
    ax.axhline(0, color="black", lw=0.8)
    ax.set_xlim(-1.06 * span, 0.06 * span)
    ax.set_xlabel("Days from the index date")
    ax.set_ylabel(axis_label(f"Adds to the {found.output_name}", 34), fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def grid(found: VisitAttribution, own: NDArray[np.int64], ax: Axes) -> Axes:
    """Draw measured values, a column per visit and a line per variable."""
    cells, data = found.cells[own].T, found.data[own].T
    limit = float(np.abs(cells).max(initial=0.0)) or 1.0
    shown = np.ma.masked_where(np.isnan(data), cells)
    image = ax.imshow(shown, cmap=_MAP, vmin=-limit, vmax=limit, aspect="auto")
    for line, column in np.argwhere(~np.isnan(data)):
        strong = abs(cells[line, column]) > 0.6 * limit
        colour = "white" if strong else "black"
        text = f"{data[line, column]:.3g}"
        ax.text(column, line, text, ha="center", va="center", fontsize=8, color=colour)
    units = [found.units.get(name) for name in found.variables]
    pairs = zip(found.variables, units, strict=True)
    names = [f"{name} ({unit})" if unit else str(name) for name, unit in pairs]
    ax.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names], fontsize=8)
    ax.set_xticks(range(len(own)), [f"{day:.0f}" for day in found.days[own]], fontsize=8)
    ax.set_xlabel("Days from the index date")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02)
    bar.set_label("adds to the output", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return ax
