"""What each voxel of a patient's series adds to a prediction.

Dimensions: Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from asfusion._checks import quoted
from asfusion.exceptions import ConfigurationError
from asfusion.explanation._attribution import PRESENCE, Floats, RowAttribution
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.views.bars import Pairs
from asfusion.explanation.views.image import draw_over_bars
from asfusion.show import page as _html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec


@dataclass(frozen=True, eq=False, repr=False)
class VolumeAttribution(RowAttribution):
    """What the voxels of one patient's series add to an output.

    ``attribution["mri_stir"]`` is the `ImageAttribution` of one sequence, on the voxels of its
    files and with their spacing in mm.

    Parameters
    ----------
    maps : mapping of str to ImageAttribution
        Attribution (Z, Y, X) of each sequence that the patient has, the others being as they
        are.
    attention : mapping of str to ndarray of shape (Z,)
        What each slice weighs in its sequence, for encoders that attend to slices.
    elsewhere : float, default=0.0
        What of the modality's value no voxel holds, in units of the output: what series
        without content are worth against none at all, and the method's gap. `total` and
        `elsewhere` add up to the modality's value.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.zeros((3, 4, 4))
    >>> values[1, 2, 2] = 0.5
    >>> stir = ImageAttribution(values, np.zeros((3, 4, 4)), "occlusion")
    >>> attribution = VolumeAttribution({"mri_stir": stir})
    >>> attribution
    VolumeAttribution(mri_stir: 3 x 4 x 4, total=0.5, method='occlusion')
    >>> attribution.strongest, attribution["mri_stir"].values[1].sum()
    ('mri_stir', np.float64(0.5))
    """

    maps: Mapping[str, ImageAttribution]
    attention: Mapping[str, Floats] = field(default_factory=dict)
    elsewhere: float = 0.0

    def __getitem__(self, column: str) -> ImageAttribution:
        """Return the attribution of one sequence."""
        if column not in self.maps:
            msg = f"VolumeAttribution: expected one of {quoted(self.maps)}, got {column!r}."
            raise ConfigurationError(msg)
        return self.maps[column]

    @property
    def total(self) -> float:
        """Sum over all voxels of all sequences, in units of the output."""
        return sum(part.total for part in self.maps.values())

    @property
    def gap(self) -> float | None:
        """The largest gap that a sequence leaves unexplained; None for methods without one."""
        gaps = [part.gap for part in self.maps.values() if part.gap is not None]
        return max(gaps, key=abs) if gaps else None

    @property
    def method(self) -> str:
        """How the values were found."""
        return next(iter(self.maps.values())).method

    @property
    def strongest(self) -> str:
        """The sequence that holds most attribution of either sign."""
        return max(self.maps, key=lambda name: float(np.abs(self.maps[name].values).sum()))

    def __repr__(self) -> str:
        shapes = [
            f"{name}: {' x '.join(map(str, part.values.shape))}" for name, part in self.maps.items()
        ]
        rest = f", elsewhere={self.elsewhere:.3g}" if self.elsewhere else ""
        words = f"total={self.total:.3g}{rest}, method={self.method!r}"
        return f"VolumeAttribution({', '.join(shapes)}, {words})"

    def plot(self, ax: Axes | None = None, limit: float | None = None) -> Axes:
        """Draw the strongest slice of the strongest sequence.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        limit : float, optional
            Value of full colour, of either sign, in units of the output.

        Returns
        -------
        Axes
            What was drawn on.
        """
        drawn = self.maps[self.strongest].plot(ax, limit)
        drawn.set_title(f"{self.strongest}, {drawn.get_title()}", fontsize=10)
        return drawn

    def montage(self, n: int = 9, column: str | None = None) -> Figure:
        """Draw slices of one sequence on one scale.

        Parameters
        ----------
        n : int
            How many slices, evenly spaced from the first to the last.
        column : str, optional
            Which sequence; the strongest by default.

        Returns
        -------
        Figure
            With one panel per slice.
        """
        name = self.strongest if column is None else column
        figure = self[name].montage(n)
        figure.suptitle(name, fontsize=10)
        return figure

    def _repr_html_(self) -> str:
        pages = "".join(part._repr_html_() for part in self.maps.values())
        if not self.elsewhere:
            return pages
        unit = next((part.unit for part in self.maps.values()), "units of the output")
        words = f"In no voxel (having it at all): {self.elsewhere:+.4g} {unit}."
        return pages + _html.paragraph(words)

    # -- what lies within the series ---------------------------------------------------

    def _named_parts(self) -> Pairs:
        voxels = [(f"(voxels of {name})", own.total) for name, own in self.maps.items()]
        return [*voxels, (PRESENCE, self.elsewhere)]

    def _draw_panel(
        self, pairs: Pairs, name: str, figure: Figure, place: SubplotSpec, limit: float
    ) -> None:
        def picture(ax: Axes) -> None:
            where = self.plot(ax).get_title()
            ax.set_title(f"{name}: {self.method.replace('_', ' ')}, {where}", fontsize=10)

        draw_over_bars(picture, pairs, figure, place, limit)

    def _left_open(self) -> float | None:
        return None if self.gap is None else abs(self.gap)
