"""What looks like marrow oedema on STIR and is none: strain, worn discs, vessels, the scanner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from asfusion.datasets._phantoms.mri_anatomy import Body
    from asfusion.datasets._phantoms.mri_canvas import Canvas, Field


@dataclass(frozen=True)
class Mimics:
    """How strong each mimic is in one study, from 0 (none) to 1.

    Parameters
    ----------
    strain : float
        Oedema of a loaded joint, small and at its front.
    worn : float
        Oedema of the end plates beside a worn last disc.
    vessels : float
        Bright veins in the bone beside the joints.
    flare : float
        Tissue that is too bright since it lies next to the coil.
    unsuppressed : float
        Fat that a distorted field leaves bright on one side.

    Examples
    --------
    >>> Mimics(strain=0.5).flare
    0.0
    """

    strain: float = 0.0
    worn: float = 0.0
    vessels: float = 0.0
    flare: float = 0.0
    unsuppressed: float = 0.0

    @classmethod
    def draw(cls, *, female: bool, age: float, rng: np.random.Generator) -> Mimics:
        """Return mimics by sex and age, whatever the disease does; the shares are assumed."""
        shares = (
            0.30 if female else 0.20,
            float(np.clip(0.006 * (age - 20.0), 0.02, 0.35)),
            0.35,
            0.15,
            0.12,
        )
        there, strength = rng.random(5), rng.uniform(0.3, 1.0, 5)
        return cls(*np.where(there < shares, strength, 0.0).tolist())

    def paint(self, canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
        """Paint worn end plates and vessels; strain is painted with the lesions."""
        places, sizes = rng.uniform(-1.0, 1.0, (8, 3)), rng.uniform(0.8, 1.3, 8)
        if self.worn > 0.0:
            for row, reach in ((-70.0, 1.0), (-53.0, 0.7)):
                centre = (body.right + 9.0 * places[0, 0], body.down + body.tall * row, -6.0)
                radii = (13.0 * sizes[0], (3.0 + 4.0 * self.worn) * reach, 11.0)
                canvas.blob(centre, radii, 0.36, 0.30 + 0.35 * self.worn)
        for at, size in zip(places, sizes, strict=True):
            if self.vessels > 0.0:
                side = 1.0 if at[0] > 0.0 else -1.0
                centre = (
                    body.right + side * (50.0 + 24.0 * at[1]),
                    body.down + 30.0 * at[2],
                    -4.0 + 16.0 * at[0],
                )
                radii = (3.0 * size, (0.9 + 1.2 * self.vessels) * size, 4.0)
                canvas.blob(centre, radii, 0.30, 0.40 + 0.35 * self.vessels)

    def gain(self, canvas: Canvas, rng: np.random.Generator) -> Field:
        """Return how much brighter the coil shows each voxel."""
        x, y = canvas.x / 90.0, canvas.y / 90.0
        place = rng.uniform(-0.8, 0.8)
        near = np.exp(-(((x - place) / 0.5) ** 2) - ((y - 1.0) / 0.55) ** 2)
        return np.asarray(1.0 + 1.1 * self.flare * near, dtype=np.float32)

    def left_fat(self, canvas: Canvas, rng: np.random.Generator) -> Field:
        """Return the share of the signal of fat that stays where suppression failed."""
        x, y = canvas.x / 90.0, canvas.y / 90.0
        turn, edge = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.15, 0.6)
        away = np.cos(turn) * x + np.sin(turn) * y - edge
        return np.asarray(0.55 * self.unsuppressed / (1.0 + np.exp(-9.0 * away)), np.float32)
