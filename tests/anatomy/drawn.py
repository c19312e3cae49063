"""Films with two blocks and a dot, drawn; where they are is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SHAPE = (56, 72)
BOX_COLUMNS = ["film", "region", "x0", "y0", "x1", "y1"]
POINT_COLUMNS = ["film", "point", "x", "y"]


def draw(n: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return films and the boxes (n, 2, 4) of a tall block at the left and a wide one right."""
    rng = np.random.default_rng(seed)
    films, boxes = [], np.empty((n, 2, 4))
    for film_number in range(n):
        film = rng.normal(50, 8, SHAPE)
        for side in range(2):
            wide, tall = rng.integers(10, 16), rng.integers(12, 24)
            x0 = rng.integers(6, 16) + 32 * side
            y0 = rng.integers(6, 26)
            film[y0 : y0 + tall, x0 : x0 + wide] += 90 + 50 * side
            boxes[film_number, side] = x0, y0, x0 + wide, y0 + tall
        films.append(np.clip(film, 0, 255).astype(np.uint8))
    return films, boxes


def box_table(films: list[Any], boxes: np.ndarray) -> pd.DataFrame:
    rows = [
        [film, name, *box]
        for film, pair in zip(films, boxes, strict=True)
        for name, box in zip(("right_block", "left_block"), pair, strict=True)
    ]
    return pd.DataFrame(rows, columns=BOX_COLUMNS)


def point_table(films: list[Any], boxes: np.ndarray) -> pd.DataFrame:
    """Return the upper left corners of the blocks as points."""
    rows = [
        [film, name, *box[:2]]
        for film, pair in zip(films, boxes, strict=True)
        for name, box in zip(("right_corner", "left_corner"), pair, strict=True)
    ]
    return pd.DataFrame(rows, columns=POINT_COLUMNS)
