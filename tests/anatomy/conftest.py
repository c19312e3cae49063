"""Drawn films as files, and finders that were fitted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asfusion.anatomy.landmark_finder import LandmarkFinder
from asfusion.anatomy.region_finder import RegionFinder

from .drawn import box_table, draw, point_table

QUICK: dict[str, Any] = {"size": 64, "verbose": 0, "random_state": 0}


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="package")
def films(folder: Path) -> list[str]:
    paths = []
    for number, pixels in enumerate(draw(24)[0]):
        Image.fromarray(pixels).save(folder / f"{number}.png")
        paths.append(str(folder / f"{number}.png"))
    return paths


@pytest.fixture(scope="package")
def truth() -> np.ndarray:
    return draw(24)[1]


@pytest.fixture(scope="package")
def boxes(films: list[str], truth: np.ndarray) -> pd.DataFrame:
    return box_table(films, truth)


@pytest.fixture(scope="package")
def points(films: list[str], truth: np.ndarray) -> pd.DataFrame:
    return point_table(films, truth)


@pytest.fixture(scope="package")
def finder(films: list[str], boxes: pd.DataFrame) -> RegionFinder:
    return RegionFinder(boxes, epochs=20, **{**QUICK, "size": 32}).fit(films)


@pytest.fixture(scope="package")
def pointer(films: list[str], points: pd.DataFrame) -> LandmarkFinder:
    return LandmarkFinder(points, epochs=20, **{**QUICK, "size": 32}).fit(films)
