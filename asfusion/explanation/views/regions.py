"""The regions of a film, framed in the colour of what they add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asfusion.explanation._attribution import PRESENCE, RowAttribution
from asfusion.explanation.views.bars import Pairs
from asfusion.explanation.views.image import draw_over_bars
from asfusion.imaging.extent import Extent
from asfusion.imaging.place import Place
from asfusion.show import page as _html
from asfusion.show.colours import LOWERS_ON_FILM, RAISES_ON_FILM
from asfusion.show.figures import as_svg, given_or_new, literal, new_figure, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

_SIZE = (5.2, 4.4)
_DASHES = ("-", (0, (6, 3)), (0, (2, 2)))
_ROOM = 0.05
_SPOKEN = {"sij": "sacroiliac joint", "sijs": "sacroiliac joints"}


class RegionView(RowAttribution):
    """The picture of a film and of its regions."""

    regions: Mapping[str, float]
    maps: Mapping[str, Any]
    film: NDArray[np.uint8]
    extent: Extent
    unit: str
    elsewhere: float

    @property
    def total(self) -> float:
        """Sum of the regions, in units of the output."""
        return float(sum(self.regions.values()))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the film, and a frame around each region with what it adds.

        Orange raises the output, purple lowers it.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            What was drawn on.

        Raises
        ------
        ConfigurationError
            If `ax` is no Axes.
        """
        ax = given_or_new(ax, _SIZE)
        rows, columns = self.extent.rows, self.extent.columns
        ax.imshow(
            self.film,
            cmap="gray",
            vmin=0,
            vmax=255,
            extent=(0, columns, rows, 0),
            aspect=self.extent.aspect,
        )
        for number, (name, value) in enumerate(self.regions.items()):
            place = self.maps[name].place
            if place is not None:
                _frame(ax, f"{name} {signed(value)}", value >= 0, place, (rows, columns), number)
        ax.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
        return ax

    def _repr_html_(self) -> str:
        figure = new_figure(_SIZE, shown=False)
        self.plot(figure.subplots())
        words = [f"{self._where(name)} adds {signed(v)}" for name, v in self.regions.items()]
        return _html.fragment(
            [
                _html.picture(as_svg(figure), "Film with a frame around each region."),
                _html.paragraph(f"In {self.unit}: {'; '.join(words)}."),
                _html.paragraph(_html.RESEARCH_TOOL, "note"),
            ]
        )

    def _where(self, name: str) -> str:
        """Return which region it is, and where on the film."""
        place = self.maps[name].place
        return name if place is None else place.in_words()

    # -- what lies within the film -----------------------------------------------------

    def _named_parts(self) -> Pairs:
        return [*self.regions.items(), (PRESENCE, self.elsewhere)]

    def _read_parts(self) -> Pairs:
        named = [(_in_words(name), value) for name, value in self.regions.items()]
        return [*named, (PRESENCE, self.elsewhere)]

    def _draw_panel(
        self, pairs: Pairs, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        def picture(ax: Axes) -> None:
            self.plot(ax)
            ax.set_title(f"{name}: regions", fontsize=10)

        draw_over_bars(picture, pairs, figure, place, limit)

    def _left_open(self) -> float | None:
        gaps = [abs(part.gap) for part in self.maps.values() if part.gap is not None]
        return max(gaps) if gaps else None


def _in_words(name: str) -> str:
    """Return the name that a finder gives a region as it is spoken."""
    return " ".join(_SPOKEN.get(word, word) for word in name.split("_"))


def _frame(
    ax: Axes, label: str, raises: bool, place: Place, shape: tuple[int, int], number: int
) -> None:
    """Draw what a film of this shape (H, W) shows of a place; neighbours are dashed apart."""
    from matplotlib.patches import Rectangle

    colour = RAISES_ON_FILM if raises else LOWERS_ON_FILM
    down, across, _, _ = place.visible(shape)
    size = across.stop - across.start, down.stop - down.start
    style: Any = {"ec": colour, "lw": 1.8, "ls": _DASHES[number % len(_DASHES)]}
    ax.add_patch(Rectangle((across.start, down.start), *size, fill=False, **style))
    # Of neighbours, whose frames may overlap, one is named above and the next below.
    edge, side = (down.stop, -1) if number % 2 else (down.start, 1)
    has_room = _ROOM * shape[0] < edge < (1 - _ROOM) * shape[0]
    _name(ax, label, (across.start, edge), colour, side if has_room else -side)


def _name(ax: Axes, label: str, corner: tuple[int, int], colour: str, side: int) -> None:
    """Write above a corner (side 1) or below it (side -1)."""
    from matplotlib.patheffects import withStroke

    ax.annotate(
        literal(label),
        corner,
        xytext=(3, 3 * side),
        textcoords="offset points",
        va="bottom" if side > 0 else "top",
        color=colour,
        fontsize=8,
        annotation_clip=False,
        path_effects=[withStroke(linewidth=2.0, foreground="black")],
    )
