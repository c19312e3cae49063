"""Films with two bright joints, and a finder that needs no training to see them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from asfusion.encoders._looking import film_digest
from asfusion.exceptions import ImageReadError
from asfusion.imaging._films import as_film
from asfusion.imaging.original import read_original

NAMES = ("right_sij", "left_sij")
HEIGHT, WIDTH = 64, 80


class BrightFinder(BaseEstimator):
    """Finds the brighter of the pixels left and right of the middle of a film."""

    def __init__(self, annotations=None, *, root=None, verbose=1, random_state=None, names=NAMES):
        self.annotations = annotations
        self.root = root
        self.verbose = verbose
        self.random_state = random_state
        self.names = names

    def fit(self, films: Any, groups: Any = None) -> BrightFinder:
        """Learn nothing but which films there were."""
        named = films if self.annotations is None else self.annotations["film"]
        known = {film_digest(as_film(cell, self.root)) for cell in named if _is_film(cell)}
        shown = [as_film(cell, self.root) for cell in films if _is_film(cell)]
        self.trained_on_ = frozenset(known & {film_digest(film) for film in shown})
        self.names_ = self.names
        self.mirrored_ = (("left_sij", "right_sij"),)
        self.weights_ = [len(self.trained_on_)]
        return self

    def __eq__(self, other: object) -> bool:
        return getattr(other, "digest_", None) == getattr(self, "digest_", None)

    __hash__ = None

    @property
    def digest_(self) -> str:
        told = (self.names_, sorted(self.trained_on_))
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def find(self, films: Any) -> Any:
        """Return boxes as `asfusion.anatomy.Found` has them."""
        n, r = len(films), len(self.names)
        boxes, status = np.full((n, r, 4), np.nan), np.full((n, r), "absent", dtype=object)
        for row, film in enumerate(films):
            try:
                pixels = read_original(as_film(film, self.root)).pixels[0]
            except ImageReadError:
                continue
            middle = pixels.shape[1] // 2
            halves = {"right_sij": pixels[:, :middle], "left_sij": pixels[:, middle:]}
            for region, name in enumerate(self.names):
                start = 0 if name == "right_sij" else middle
                y, x = np.nonzero(halves[name] > 150)
                status[row, region] = "found" if len(y) else "lost"
                if len(y):
                    edges = (x.min() + start, y.min(), x.max() + 1 + start, y.max() + 1)
                    boxes[row, region] = edges
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        return SimpleNamespace(names=self.names, boxes=boxes, centres=centres, status=status)


def draw_film(seed: int, sides: str = "rl", eroded: bool = False) -> np.ndarray:
    """Return a dark film with a bright joint at either side, one of them with a dark spot."""
    rng = np.random.default_rng(seed)
    film = rng.integers(0, 90, (HEIGHT, WIDTH), dtype=np.uint8)
    for side in sides:
        x = (8 if side == "r" else 52) + int(rng.integers(0, 8))
        y = 16 + int(rng.integers(0, 16))
        film[y : y + 18, x : x + 12] = 200
        outer = slice(x, x + 3) if side == "r" else slice(x + 9, x + 12)
        film[y : y + 18, outer] = 250
        if eroded:
            film[y + 6 : y + 12, x + 4 : x + 8] = 160
    return film


def annotated(films: Any) -> pd.DataFrame:
    """Return annotations that name films; `BrightFinder` reads nothing else of them."""
    known = [film for film in films if _is_film(film)]
    rows = [[film, name, 0, 0, 9, 9] for film in known for name in NAMES]
    return pd.DataFrame(rows, columns=["film", "region", "x0", "y0", "x1", "y1"])


def _is_film(cell: Any) -> bool:
    return isinstance(cell, str | Path | np.ndarray)
