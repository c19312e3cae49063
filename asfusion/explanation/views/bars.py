"""The parts of a row as bars, and their labels."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from asfusion.show.colours import LOWERS, RAISES
from asfusion.show.figures import literal, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pairs = list[tuple[str, float]]

LONGEST_LABEL = 36


def bars(pairs: Pairs, ax: Axes, limit: float) -> None:
    """Draw parts, the first on top."""
    if not pairs:
        ax.text(0.5, 0.5, "no part adds anything", ha="center", transform=ax.transAxes)
    pairs = pairs[::-1]
    values = [value for _, value in pairs]
    colours = [RAISES if value >= 0 else LOWERS for value in values]
    ax.barh(range(len(pairs)), values, color=colours, height=0.6)
    ax.set_yticks(range(len(pairs)), [label for label, _ in pairs], fontsize=8)
    ax.set_xlim(-limit, limit)
    ax.locator_params(axis="x", nbins=4)
    ax.axvline(0, color="black", lw=0.8)
    ax.spines[["top", "right"]].set_visible(False)


def labelled(pairs: Pairs) -> Pairs:
    """Return parts whose names have one short line, in which matplotlib sees no formula."""
    return [(_one_line(label), value) for label, value in pairs]


def _one_line(text: str) -> str:
    line = whole = " ".join(text.split())
    if len(whole) > LONGEST_LABEL:
        # Chunks of words end with a word; a single long one loses its middle.
        line = textwrap.shorten(whole, LONGEST_LABEL, placeholder=" \N{HORIZONTAL ELLIPSIS}")
        line = line if len(line) > 2 else shorten(whole, LONGEST_LABEL)
    return literal(line)
