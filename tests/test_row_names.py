"""What cannot be read is named by the user's row, whatever part of the rows a model was given."""

import copy
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import asfusion as af
from asfusion import _origins
from asfusion._frames import Frame
from asfusion.exceptions import AsfusionWarning, ImageReadError, InputError

N, BAD = 24, 15
FILM = {"backbone": "compact", "size": 32, "d_out": 4, "augment": False}
BRIEF = af.JointFusionClassifier(max_epochs=1, early_stopping=False, verbose=0)
y = np.arange(N) % 2
# The bad row is among those that are learned from, and then among those that are asked about.
LEARNED = [(np.arange(9, N), np.arange(9))]
ASKED = [(np.arange(9), np.arange(9, N))]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Twenty-four rows with a lab, and films from the fourth on; that of row 15 is no picture."""
    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    for row in range(N):
        Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).save(folder / f"{row}.png")
    (folder / f"{BAD}.png").write_bytes(b"no picture")
    paths: list[Any] = [str(folder / f"{row}.png") for row in range(N)]
    return pd.DataFrame({"crp": rng.normal(size=N), "film": [None] * 4 + paths[4:]})


def encoders(**more: Any) -> dict[str, Any]:
    return {"labs": af.TabularEncoder(["crp"]), "film": af.ImageEncoder("film", **FILM, **more)}


def model(family: str, **more: Any) -> Any:
    if family == "early":
        options = {"network": BRIEF, "verbose": 0, "random_state": 0}
        return af.EarlyFusionClassifier(encoders(**more), LogisticRegression(), **options)
    if family == "late":
        return af.LateFusionClassifier(encoders(**more), network=BRIEF, verbose=0, random_state=0)
    return clone(BRIEF).set_params(encoders=encoders(**more), random_state=0)


NAMED = f"'film', row {BAD}: "
families = pytest.mark.parametrize("family", ["early", "joint", "late"])
splits = pytest.mark.parametrize("cv", [LEARNED, ASKED], ids=["learned", "asked"])


@families
def test_fit_and_predict(family: str, films: pd.DataFrame) -> None:
    with pytest.raises(ImageReadError, match=NAMED):
        model(family).fit(films, y, sample_weight=np.r_[np.zeros(3), np.ones(N - 3)])
    fitted = model(family).fit(films.drop(index=BAD), np.delete(y, BAD))
    with pytest.raises(ImageReadError, match=NAMED):
        fitted.predict(films)


@families
@splits
def test_cross_validation(family: str, cv: Any, films: pd.DataFrame) -> None:
    settings = {"cv": cv, "duplicates": "ignore", "verbose": 0}
    with pytest.raises(ImageReadError, match=NAMED):
        af.cross_validate(model(family), films, y, **settings)
    with pytest.warns(AsfusionWarning, match=NAMED):
        af.cross_validate(model(family, on_error="missing"), films, y, **settings)


@splits
def test_comparison(cv: Any, films: pd.DataFrame) -> None:
    settings = {"cv": cv, "families": ["late"], "network": BRIEF, "verbose": 0}
    with pytest.raises(ImageReadError, match=NAMED):
        af.compare(films, y, encoders=encoders(), **settings)


def test_what_stands_around_a_model(films: pd.DataFrame) -> None:
    around = af.RecalibratedClassifier(model("joint"), random_state=0)
    with pytest.raises(ImageReadError, match=NAMED):
        around.fit(films, y)
    with pytest.raises(ImageReadError, match=NAMED):
        af.cross_validate(around, films, y, cv=LEARNED, duplicates="ignore", verbose=0)


CELLS = {
    "dates": (af.TabularEncoder(["cell"]), ["2024-01-02", "2024-01-03", "2024-02-31"]),
    "alleles": (af.GenotypeEncoder(["cell"]), [0.0, 1.0, 7.0]),
    "note": (af.TextEncoder("cell", backbone="tfidf"), ["pain", "none", 7]),
    "visits": (af.VisitEncoder("cell"), [[{"day": -1, "crp": 2.0}], [{"day": -1, "crp": 3.0}], 7]),
    "infinity": (af.GenotypeEncoder(["cell"]), [0.0, 1.0, np.inf]),
    "series": (af.SliceEncoder("cell", size=32), [None, None, "nothing"]),
    "film": (af.ImageEncoder("cell", size=32), [None, None, "nothing.png"]),
}


@pytest.mark.parametrize(("encoder", "cells"), CELLS.values(), ids=CELLS)
def test_cells_of_a_part(encoder: Any, cells: list[Any]) -> None:
    frame = Frame.read(pd.DataFrame({"cell": pd.Series([None] * 5 + cells, dtype=object)}))
    for rows in (np.array([7, 6, 5]), np.array([5, 7, 6])):
        for part in (frame.take(rows), frame.take(rows).as_part()):
            with pytest.raises(InputError, match=r"(row|position) 7"):
                encoder.fit(part)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
def test_a_part_knows_its_rows_as_long_as_it_lives(table: Any) -> None:
    frame = Frame.read(table({"a": [1.0, 2.0, 3.0, 4.0], "b": list("wxyz")}))
    assert frame.origin.tolist() == [0, 1, 2, 3]
    part = frame.take(np.array([3, 1, 2])).take(np.array([True, False, True]))
    assert part.origin.tolist() == [3, 2]
    same = [part.select(["b"]), part.replace("b", ["s", "t"]), part.with_cells("b", [1, 2])]
    same += [part.with_numbers({"c": np.array([1.0, np.nan])})]
    same += [part.blank({"a": np.array([True, False])}), copy.deepcopy(part)]
    assert all(other.origin.tolist() == [3, 2] for other in same)
    assert Frame.read(part.to_native()).origin.tolist() == [0, 1], "who has it may call it his own"
    native = part.as_part()
    assert Frame.read(native).origin.tolist() == [3, 2]
    assert Frame.read(native[["b"]]).origin.tolist() == [0, 1]
    known = len(_origins._taken)
    del part, same, native
    assert len(_origins._taken) < known
