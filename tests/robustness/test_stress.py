"""Models asked about worse and worse films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

import asfusion as af
from asfusion.exceptions import ColumnError, ConfigurationError, ImageReadError, InputError
from asfusion.imaging.original import read_original
from asfusion.robustness import _damages
from asfusion.robustness.result import StressTest

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
# Of one class, the left half is brighter.
FILMS = [
    np.clip(RNG.normal(80, 10, (32, 32)) + y * np.r_[[40] * 16, [0] * 16], 0, 255).astype(np.uint8)
    for y in Y
]
FRAME = pd.DataFrame({"film": FILMS, "crp": RNG.normal(size=40)})


class Halves(ClassifierMixin, BaseEstimator):
    """Compares the halves of films, as a model of somebody else might."""

    classes_ = np.array([0, 1])

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []

    def fit(self, X: Any, y: Any) -> Halves:
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        cells = list(X["film"])
        self.seen.append(cells)
        brighter = [_left(cell) if cell is not None else 0.0 for cell in cells]
        p = 1.0 / (1.0 + np.exp(-(np.array(brighter) - 20.0) / 10.0))
        return np.stack([1.0 - p, p], axis=1)

    def predict(self, X: Any) -> NDArray[np.int64]:
        return (self.predict_proba(X)[:, 1] > 0.5).astype(np.int64)


def _left(cell: Any) -> float:
    pixels = read_original(cell).pixels[0].astype(float)
    return float(pixels[:, :16].mean() - pixels[:, 16:].mean())


def stress(**options: Any) -> StressTest:
    asked = {"column": "film", "n_bootstrap": 60, "verbose": 0, "by": "noise", **options}
    return af.stress(asked.pop("model", Halves()), asked.pop("X", FRAME), Y, **asked)


@pytest.fixture(scope="module")
def test() -> StressTest:
    return stress(by="photograph", severities=[5, 1], groups=np.arange(40) // 2)


def test_scores_are_those_of_evaluate_and_changes_are_paired(test: StressTest) -> None:
    clean = af.evaluate(Halves(), FRAME, Y, groups=np.arange(40) // 2, n_bootstrap=60)
    assert [level.severity for level in test.levels] == [0, 1, 5]
    assert test.levels[0].scores["auc"] == clean.scores["auc"]
    assert not test.levels[0].changes
    worst = test.levels[-1]
    difference = worst.scores["auc"].estimate - clean.scores["auc"].estimate
    assert worst.changes["auc"].estimate == pytest.approx(difference)
    assert worst.changes["auc"].low <= difference <= worst.changes["auc"].high
    assert difference < -0.02
    assert test.n_groups == 20


def test_it_is_seen_as_text_as_a_table_and_as_a_page(test: StressTest, tmp_path: Path) -> None:
    frame = test.to_frame()
    assert frame.loc[(0, "auc"), "estimate"] == test.levels[0].scores["auc"].estimate
    assert np.isnan(frame.loc[(0, "auc"), "change"])
    assert frame.loc[(5, "auc"), "change_high"] == test.levels[-1].changes["auc"].high
    text = repr(test)
    assert "photograph" in text
    assert "as they are" in text
    assert "severity 5" in test.verdict
    assert "<svg" in test._repr_html_() or "data:image" in test._repr_html_()
    assert test.to_html(tmp_path / "page.html").exists()
    axes = test.plot()
    assert len(axes) == 2
    test.plot(["calibration_slope"], axes=axes[:1])
    pyplot.close("all")
    with pytest.raises(ConfigurationError, match="scores: expected some of"):
        test.plot(["luck"])
    with pytest.raises(ConfigurationError, match="axes: expected 1"):
        test.plot(["auc"], axes=axes)


@pytest.mark.parametrize("by", ["exposure", "rotation", "noise", "resolution", "photograph"])
def test_worse_is_further_away_and_the_same_each_time(by: str) -> None:
    damage = _damages.damage_of(by)[1]
    wave = 110 + 90 * np.sin(np.hypot(*np.mgrid[:48, :48]) / 3.0)
    film = np.stack([wave.astype(np.uint8)] * 3)
    size = film.shape if by != "photograph" else damage(film, 1, 3).shape
    for seed in range(3):
        assert (damage(film, 2, seed) == damage(film, 2, seed)).all()
        assert damage(film, 5, seed).shape == size
    if by != "photograph":
        gap = [
            np.mean(
                [np.abs(damage(film, s, seed) - film.astype(float)).mean() for seed in range(6)]
            )
            for s in range(1, 6)
        ]
        assert gap == sorted(gap)
        assert 0 < gap[0] < gap[-1]


def test_a_damage_of_ones_own_is_asked_about() -> None:
    def mirrored(film: NDArray[np.uint8], severity: int, seed: int) -> NDArray[np.uint8]:
        return film[:, :, ::-1] if severity > 2 else film

    test = stress(by=mirrored, severities=(1, 3))
    assert test.by == "mirrored"
    assert test.levels[1].changes["auc"].estimate == pytest.approx(0.0)
    assert test.levels[2].scores["auc"].estimate < 0.1
    assert "clearly worse from severity 3" in test.verdict
    with pytest.raises(ConfigurationError, match="by=mirrored: expected uint8 pixels"):
        stress(by=_named("mirrored", lambda film, severity, seed: film[0]), severities=1)


def _named(name: str, function: Any) -> Any:
    function.__name__ = name
    return function


def test_rows_without_films_are_left_out_and_others_keep_their_cells(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(FILMS[0]).save(tmp_path / "film.png")
    frame = FRAME.assign(film=[str(tmp_path / "film.png"), None, *FILMS[2:]])
    frame.index = pd.Index(range(100, 140))
    model = Halves()
    test = stress(model=model, X=frame, severities=[1])
    assert test.n_rows == 39
    assert model.seen[-1][1] is None
    assert all(isinstance(cell, bytes) for cell in model.seen[-1][:1] + model.seen[-1][2:])
    frame.loc[100, "film"] = str(tmp_path / "other.png")
    with pytest.raises(ImageReadError, match="row 0"):
        stress(model=_Prior(), X=frame, severities=[1])


class _Prior(Halves):
    """Says the same of all."""

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        return np.full((len(X), 2), 0.5)


def test_polars_and_pandas_agree() -> None:
    films = pl.Series("film", FILMS, dtype=pl.Object)
    one, two = stress(severities=[4]), stress(severities=[4], X=pl.DataFrame([films]))
    assert one.to_frame().equals(two.to_frame())


def test_the_column_is_that_of_the_image_encoder() -> None:
    encoder = af.ImageEncoder("film", size=32)
    model = af.JointFusionClassifier({"film": encoder}, max_epochs=1, verbose=0, random_state=0)
    model.fit(FRAME, Y)
    assert stress(model=model, column=None, severities=[1]).column == "film"
    with pytest.raises(ConfigurationError, match="column: expected the name of the column"):
        stress(column=None)


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="by: expected"):
        stress(by="telegraph")
    with pytest.raises(ConfigurationError, match="severities: expected integers from 1 to 5"):
        stress(severities=[6])
    with pytest.raises(ConfigurationError, match="severities: expected integers from 1 to 5"):
        stress(severities=[])
    with pytest.raises(ColumnError, match="nowhere"):
        stress(column="nowhere")
    with pytest.raises(InputError, match="expected at least one film"):
        stress(model=_Prior(), X=FRAME.assign(film=[None] * 40))
