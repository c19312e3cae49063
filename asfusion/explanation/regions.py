"""What each region of a film adds to a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion.exceptions import ConfigurationError
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.views.regions import RegionView
from asfusion.imaging.extent import Extent


@dataclass(frozen=True, eq=False, repr=False)
class RegionAttribution(RegionView):
    """What the regions of one film add to an output.

    ``attribution["right_sij"]`` is the `ImageAttribution` of the pixels of one region; its
    ``at_original()`` lays them on the film.

    Parameters
    ----------
    regions : mapping of str to float
        Shapley values of the regions that were found, in units of the output: the players of one
        game, each as if it had not been found where it is left out. All coalitions are played
        up to ten regions. They add up to the modality's value.
    maps : mapping of str to ImageAttribution
        Attribution of the pixels of each region, the others being as they are.
    film : ndarray of shape (H, W), uint8
        The film, to be drawn beneath; of fewer pixels than it has, where those are many.
    extent : Extent
        Size of the film in its file.
    unit : str
        Units of the output.
    elsewhere : float, default=0.0
        What of the modality's value no region holds, in units of the output.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.imaging.place import Place
    >>> heat, film = np.zeros((4, 4)), np.zeros((40, 60), np.uint8)
    >>> place = Place("right_sij", 10, 10, 20, 20, (0.5, 0.5))
    >>> joint = ImageAttribution(heat, heat, "occlusion", extent=Extent(40, 60), place=place)
    >>> attribution = RegionAttribution(
    ...     {"right_sij": 0.25}, {"right_sij": joint}, film, Extent(40, 60))
    >>> attribution
    RegionAttribution(right_sij: +0.25, total=0.25)
    >>> attribution["right_sij"].at_original().values.shape
    (40, 60)
    """

    regions: Mapping[str, float]
    maps: Mapping[str, ImageAttribution]
    film: NDArray[np.uint8] = field(repr=False)
    extent: Extent
    unit: str = "units of the output"
    elsewhere: float = 0.0

    def __getitem__(self, name: str) -> ImageAttribution:
        """Return the attribution of the pixels of one region."""
        if name not in self.maps:
            msg = f"RegionAttribution: expected one of {quoted(self.maps)}, got {name!r}."
            raise ConfigurationError(msg)
        return self.maps[name]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}: {value:+.3g}" for name, value in self.regions.items())
        return f"RegionAttribution({values}, total={self.total:.3g})"
