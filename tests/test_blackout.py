"""What a model scores without the regions it looks at, and how it keeps its finder."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import asfusion as af
from asfusion.crossvalidation._blackout import black_out
from asfusion.exceptions import ConfigurationError
from tests.looking import NAMES, WIDTH, BrightFinder, draw_film

QUICK = {"cv": 2, "n_bootstrap": 50, "verbose": 0}


@pytest.fixture(scope="module")
def rows():
    """Films in memory: erosions in the joints tell the class, or a mark in the corner does."""
    y = np.arange(16) % 2
    films = [draw_film(row, eroded=bool(y[row])) for row in range(16)]
    marked = [film.copy() for film in films]
    for film, label in zip(marked, y, strict=True):
        film[:12, 34:46] = 140 * label
    return (
        pd.DataFrame({
            "joint": pd.Series(films, dtype=object), "marked": pd.Series(marked, dtype=object),
        }),
        y,
    )  # fmt: skip


def model_of(column: str, **params):
    encoder = af.RegionEncoder(
        column, region=BrightFinder(), size=32, backbone="efficientnet_lite0", **params
    )
    return af.EarlyFusionClassifier({"films": encoder}, random_state=0)


def test_what_a_model_owes_to_its_regions_is_said(rows):
    X, y = rows
    result = af.cross_validate(model_of("joint"), X[["joint"]], y, blackout=True, **QUICK)
    assert result.blackout.name == "auc"
    assert result.report.scores["auc"].estimate > result.blackout.score.estimate
    lost = result.report.scores["auc"].estimate - result.blackout.score.estimate
    assert result.blackout.difference.estimate == pytest.approx(lost)
    assert "Regions black: AUC" in result.verdict
    again = af.cross_validate(black_out(model_of("joint")), X[["joint"]], y, **QUICK)
    assert again.report.scores["auc"] == result.blackout.score


def test_a_shortcut_outside_of_the_regions_stays(rows):
    X, y = rows
    black = af.cross_validate(black_out(model_of("marked")), X[["marked"]], y, **QUICK)
    assert black.report.scores["auc"].estimate > 0.9


def test_a_model_that_looks_nowhere_has_nothing_to_black_out(rows):
    X, y = rows
    model = af.EarlyFusionClassifier({"films": af.ImageEncoder("joint", size=32)})
    with pytest.raises(ConfigurationError, match="blackout: expected a model that looks at a reg"):
        af.cross_validate(model, X, y, blackout=True, **QUICK)


def test_a_model_is_saved_with_its_finder_and_without_annotations(rows, tmp_path):
    X, y = rows[0][["joint"]].head(12), rows[1][:12]
    boxes = []
    for film in X["joint"]:
        for name, (start, stop) in zip(NAMES, ((0, WIDTH // 2), (WIDTH // 2, WIDTH)), strict=True):
            row, column = np.nonzero(film[:, start:stop] > 150)
            box = (column.min(), row.min(), column.max() + 1, row.max() + 1)
            boxes.append([film, name, box[0] + start, box[1], box[2] + start, box[3]])
    table = pd.DataFrame(boxes, columns=["film", "region", "x0", "y0", "x1", "y1"])
    finder = af.anatomy.RegionFinder(table, size=32, epochs=2, views=1, verbose=0)
    model = model_of("joint").set_params(encoders__films__region=finder)
    model.set_params(encoders__films__on_lost="whole")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs find little
        expected = model.fit(X, y).predict_proba(X)
        loaded = af.load(model.save(tmp_path / "model.asf"))
        np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    encoder = loaded.encoders_["films"]
    assert encoder.region.annotations is None and len(encoder.finder_.trained_on_) == 12
    assert encoder.finder_.digest_ == model.encoders_["films"].finder_.digest_
    path = encoder.finder_.save(tmp_path / "finder.asf")
    other = af.RegionEncoder("joint", region=path, size=32).fit(X)
    assert other.finder_.digest_ == encoder.finder_.digest_ and other.regions_ == NAMES
