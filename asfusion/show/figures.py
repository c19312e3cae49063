"""Axes, names on them, and figures as files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asfusion.exceptions import ConfigurationError
from asfusion.show import colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def check_axes(axes: Any, count: int) -> list[Axes]:
    """Return `axes` as a list of `count` matplotlib axes."""
    given = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(given) != count or not all(hasattr(axis, "plot") for axis in given):
        msg = f"axes: expected {count} matplotlib Axes, got {len(given)} object(s)."
        raise ConfigurationError(msg)
    return given


def new_axes(
    size: tuple[float, float], n_lines: int = 1, n_columns: int = 1, *, shown: bool, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, line by line; `options` are those of ``subplots``.

    Where it is `shown`, pyplot keeps the figure and a notebook draws it, once, by itself. A figure
    for a page is nobody else's.
    """
    figure = new_figure(size, shown=shown)
    axes = figure.subplots(n_lines, n_columns, squeeze=False, **options)
    return figure, list(axes.ravel())


def unit_square(axis: Axes, x: str, y: str, title: str) -> None:
    """Prepare axes from 0 to 1 either way, with their diagonal."""
    axis.plot([0, 1], [0, 1], color=colours.GREY, linewidth=1, linestyle=":")
    axis.set(xlabel=x, ylabel=y, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_aspect("equal")


def new_figure(size: tuple[float, float], *, shown: bool) -> Figure:
    """Return an empty figure; pyplot keeps it where it is `shown`, and draws it in a notebook."""
    if shown:
        from matplotlib import pyplot

        return pyplot.figure(figsize=size, layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def given_or_new(ax: Any, size: tuple[float, float]) -> Axes:
    """Return the axes to draw on, those of a new figure if none are given."""
    if ax is None:
        axes: Axes = new_figure(size, shown=True).add_subplot()
        return axes
    if not hasattr(ax, "barh"):
        msg = f"ax: expected a matplotlib Axes or None, got {type(ax).__name__}."
        raise ConfigurationError(msg)
    given: Axes = ax
    return given


def shown_once(figure: Figure) -> Figure:
    """Return a figure of pyplot that is the value of a call, so that a notebook shows it once.

    Where pyplot draws inline, it would draw the figure when the cell ends, and the notebook once
    more as the value of the cell: there, pyplot lets go of it.
    """
    from matplotlib import get_backend, pyplot

    if "inline" in get_backend().lower():
        pyplot.close(figure)
    return figure


def as_svg(figure: Figure) -> bytes:
    """Return a figure as an SVG file, the same bytes every time."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "asfusion"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def tick_names(names: Sequence[str], longest: int = 28) -> list[str]:
    """Return names that leave room for a picture, and in which matplotlib sees no formula.

    Of a long one the middle is left out; those that would look the same then are numbered.
    """
    short = [shorten(name, longest) for name in names]
    seen: dict[str, int] = {}
    for place, (name, text) in enumerate(zip(names, short, strict=True)):
        seen[text] = seen.get(text, 0) + 1
        if seen[text] > 1 and text != name:
            short[place] = f"{text} ({seen[text]})"
    return [literal(text) for text in short]


def shorten(name: str, longest: int) -> str:
    """Return a name without line breaks, and without its middle if it is long."""
    text = " ".join(name.split())
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head].rstrip()}…{text[head + 1 - longest :].lstrip()}"


def literal(text: str) -> str:
    """Return a text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")


def axis_label(text: str, width: int = 56) -> str:
    """Return a text in lines that an axis has room for, in which matplotlib sees no formula."""
    return literal("\n".join(textwrap.wrap(text, width)))


def signed(number: float) -> str:
    """Return a number with its sign, a true minus among them."""
    text = f"{number:+.3g}"
    return "0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def room_for(names: Sequence[str]) -> float:
    """Return the width in inches that the names of lines need beside a picture."""
    return 0.08 * max(len(name) for name in names)
