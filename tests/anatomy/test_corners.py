"""Corners of the spine: cut, graded, added up, and told as an encoder tells."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.base import clone

import asfusion as af
from asfusion._frames import Frame
from asfusion.anatomy import Found, LandmarkFinder
from asfusion.bundle.objects import Bundled
from asfusion.clinical import CERVICAL_CORNERS, LUMBAR_CORNERS
from asfusion.corners import CornerEncoder, CornerScorer
from asfusion.corners._crops import SPARE, cut_corners, spacing_of
from asfusion.corners._network import CornerBackbone
from asfusion.corners._sums import expected_sums, interval_of, sums_of
from asfusion.encoders._cache import EMBEDDINGS
from asfusion.estimators._base import columns_of
from asfusion.estimators._conformal import score_quantile, sorted_scores
from asfusion.estimators._rows import cells_present
from asfusion.exceptions import (
    AsfusionWarning,
    BundleError,
    ColumnError,
    ConfigurationError,
    ImageReadError,
    InputError,
    UnfittedError,
)
from asfusion.imaging.original import Original, read_original
from tests.spines import VIEWS, spine

CORNERS = CERVICAL_CORNERS + LUMBAR_CORNERS
N = 14


class Pointed(LandmarkFinder):
    """Finds what it was told, on whatever film: what is tested here is what comes after it."""

    _bundle_state = Bundled._bundle_state
    _restore_bundle_state = Bundled._restore_bundle_state
    told: ClassVar[dict[str, np.ndarray]] = {}
    fitted: ClassVar[list[Any]] = []

    def fit(self, films: Any, groups: Any = None) -> Pointed:
        self.names_ = tuple(dict.fromkeys(self.annotations["point"]))
        Pointed.fitted.append((list(films), groups))
        self.weights_ = []
        return self

    def find(self, films: Any) -> Found:
        found = Found.empty(self.names_, tuple(films), boxes=False)
        for row, film in enumerate(films):
            if isinstance(film, str) and film in self.told:
                found.points[row] = self.told[film]
                found.confidence[row], found.status[row] = 0.9, "found"
                if film.endswith("-3.png"):
                    found.status[row, 2], found.points[row, 2] = "lost", np.nan
                    found.status[row, 3] = "unsure"
        return found


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Let the network read smaller squares: a quarter of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asfusion.corners.scorer._SIZE", 24)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("spines")


@pytest.fixture(scope="module")
def cohort(folder: Any) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """X, grades and points of fourteen patients; the last one has no lumbar film."""
    rng = np.random.default_rng(0)
    grades = rng.choice(4, (N, 24), p=[0.4, 0.2, 0.2, 0.2])
    X, rows = {column: [] for column in VIEWS}, []
    for row in range(N):
        for number, (column, names) in enumerate(VIEWS.items()):
            film, points = spine(grades[row, 12 * number :][:12], int(rng.integers(0, 8)))
            path = str(folder / f"{column}-{row}.png")
            Image.fromarray(film).save(path)
            X[column].append(path)
            Pointed.told[path] = points
            rows += [(path, name, *point) for name, point in zip(names, points, strict=True)]
    X["lumbar_xray"][-1] = None
    points = pd.DataFrame(rows, columns=["film", "point", "x", "y"])
    yield pd.DataFrame(X), pd.DataFrame(grades, columns=list(CORNERS)), points
    Pointed.told.clear()


def a_scorer(points: Any, **params: Any) -> CornerScorer:
    settings: dict[str, Any] = {"epochs": 6, "verbose": 0, "random_state": 0, "coverage": 0.5}
    return CornerScorer(points, finder=Pointed(), **settings | params)


@pytest.fixture(scope="module")
def scorer(cohort: Any) -> CornerScorer:
    X, grades, points = cohort
    return a_scorer(points).fit(X, grades.add_prefix("corner_"), groups=np.arange(N) // 2)


# -- squares around corners --------------------------------------------------------------


def crops_of(film: np.ndarray, points: np.ndarray, **options: Any) -> np.ndarray:
    original = Original(film[None], (1.0, 1.0))
    patches = cut_corners(original, points, "lumbar", side_mm=24.0, size=24)
    backbone = CornerBackbone(24.0, 24).eval()
    pixels, placement = torch.from_numpy(patches.pixels), torch.from_numpy(patches.placement)
    return backbone._crops(pixels, placement)[:, 0].numpy()


@pytest.mark.parametrize("tilt", [0.0, 0.5, -0.7])
def test_every_corner_has_its_body_above_and_its_disc_below(tilt: float) -> None:
    grid = np.mgrid[0:160, 0:160] + 0.5 - 80.0
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    down, right = np.tensordot(turn, grid, 1)
    film = np.where((np.abs((down + 70) % 40 - 20) < 12) & (right > 0), 200, 20).astype(np.uint8)
    # Bodies are centred at -50, -10, 30: their corners lie twelve above and below.
    along = np.array([-38.0, -22.0, 2.0, 18.0])
    points = np.full((12, 2), np.nan)
    points[4:8] = 80 + np.stack([-np.sin(tilt) * along, np.cos(tilt) * along], axis=1)
    crops = crops_of(film, points)
    for k in range(4, 8):
        body, disc, front = crops[k, 3:9, 15:21], crops[k, 13:16, 15:21], crops[k, 3:9, 3:9]
        assert body.mean() > 1.0 > 0.0 > max(disc.mean(), front.mean())
    assert np.abs(crops[4] - crops[5]).mean() < 0.1


def test_the_middle_of_a_square_is_the_corner_to_a_part_of_a_pixel() -> None:
    film = np.zeros((90, 90), np.uint8)
    down, right = np.mgrid[0:90, 0:90] + 0.5
    places = np.array([[40.3, 31.8], [40.6, 45.1], [41.2, 58.4]])
    for x, y in places:
        film[np.hypot(right - x, down - y) < 3] = 255
    points = np.full((12, 2), np.nan)
    points[:3] = places
    for crop in crops_of(film, points)[:3]:
        near = np.clip(crop[6:18, 6:18], 0, None)
        rows, columns = np.mgrid[6:18, 6:18] + 0.5
        middle = (near * rows).sum() / near.sum(), (near * columns).sum() / near.sum()
        np.testing.assert_allclose(middle, 12.0, atol=0.35)


def test_without_spacing_vertebrae_are_of_usual_height() -> None:
    points = np.stack([np.full(12, 5.0), np.arange(12) // 2 * 40 + np.arange(12) % 2 * 11.5], 1)
    film = Original(np.zeros((1, 300, 60), np.uint8), aspect=2.0)
    width, height = spacing_of(film, points, "lumbar")
    assert (width, height) == pytest.approx((0.5, 1.0))
    nowhere = np.full((12, 2), np.nan)
    assert spacing_of(film, nowhere, "lumbar") == (1.0, 2.0)


def test_places_beside_the_film_are_unknown() -> None:
    film = Original(np.zeros((1, 50, 40), np.uint8), (1.0, 1.0))
    points = np.full((12, 2), 20.0)
    points[0], points[1], points[2] = (-1, 5), (5, 50), np.nan
    patches = cut_corners(film, points, "cervical", side_mm=24.0, size=16)
    assert patches.known.tolist() == [False] * 3 + [True] * 9
    assert patches.pixels.shape == (12, 1, round(16 * SPARE), round(16 * SPARE))


# -- sums --------------------------------------------------------------------------------


def test_mean_and_spread_of_a_sum_are_those_of_its_corners() -> None:
    rng = np.random.default_rng(0)
    told = rng.dirichlet(np.ones(4), (1, 24))
    drawn = np.stack([rng.choice(4, 40_000, p=p) for p in told[0]]).sum(axis=0)
    mean, spread = expected_sums(told, "refuse")
    assert mean[0] == pytest.approx(drawn.mean(), abs=0.1)
    assert spread[0] == pytest.approx(np.hypot(drawn.std(), 0.5), rel=0.02)


def test_unreadable_corners_widen_the_sum_or_refuse_it() -> None:
    told = np.tile([0.1, 0.2, 0.3, 0.4], (2, 24, 1))
    told[:, :6] = [0.9, 0.1, 0.0, 0.0]
    told[1, [0, 7]] = np.nan
    mean, spread = expected_sums(told, "segment_mean")
    assert mean[0] == pytest.approx(mean[1], abs=0.5)
    assert spread[1] > spread[0]
    assert np.isnan(expected_sums(told, "refuse")[0]).tolist() == [False, True]
    told[1, :5] = np.nan
    assert np.isnan(expected_sums(told, "segment_mean")[0][1])


def test_intervals_of_sums_cover_as_often_as_asked() -> None:
    rng = np.random.default_rng(1)
    sharp = rng.dirichlet(np.ones(4) * 0.3, (1200, 24))
    truth = np.asarray([[rng.choice(4, p=p) for p in row] for row in sharp]).sum(axis=1)
    told = sharp**0.5 / (sharp**0.5).sum(axis=2, keepdims=True)  # timid, and wrong by it
    mean, spread = expected_sums(told, "refuse")
    table = sorted_scores(np.abs(truth - mean)[:600] / spread[:600], np.arange(600))
    called = sums_of(told.argmax(axis=2).astype(float), "refuse").total
    low, high = interval_of(mean, spread, called, score_quantile(table, 0.9))
    covered = ((truth >= low) & (truth <= high))[600:].mean()
    assert 0.87 <= covered <= 0.95
    assert ((low <= called) & (called <= high)).all()


# -- the scorer --------------------------------------------------------------------------


def test_grades_are_learned(scorer: CornerScorer, cohort: Any) -> None:
    X, grades, _ = cohort
    found = scorer.predict(X)
    readable = np.isfinite(found)
    assert np.corrcoef(found[readable], grades.to_numpy()[readable])[0, 1] > 0.8


def test_unreadable_corners_are_told(scorer: CornerScorer, cohort: Any) -> None:
    X, _, _ = cohort
    scores = scorer.score_films(X)
    told = scores.probabilities
    np.testing.assert_allclose(told[np.isfinite(told).all(axis=2)].sum(axis=1), 1.0)
    assert scores.status[3, 2] == "lost"
    assert np.isnan(scores.grades[3, 2])
    assert scores.status[3, 3] == "unsure"
    assert np.isfinite(scores.grades[3, 3])
    assert set(scores.status[-1, 12:]) == {"absent"}
    assert np.isnan(scores.total[-1])
    assert np.isfinite(scores.cervical[-1])
    assert scores.n_unreadable[[0, 3, -1]].tolist() == [0, 2, 12]
    sums = scores.sums()
    inside = sums.iloc[:-1]
    assert ((inside["lower"] <= inside["msasss"]) & (inside["msasss"] <= inside["upper"])).all()


def test_too_few_corners_give_no_sum(scorer: CornerScorer, cohort: Any) -> None:
    strict = clone(scorer).set_params(missing="refuse")
    vars(strict).update({k: v for k, v in vars(scorer).items() if k.endswith("_")})
    totals = strict.score_films(cohort[0]).total
    assert np.isnan(totals).tolist() == [row in (3, N - 1) for row in range(N)]


def test_rows_do_not_see_each_other(scorer: CornerScorer, cohort: Any) -> None:
    X, _, _ = cohort
    every = scorer.predict_proba(X)
    np.testing.assert_allclose(scorer.predict_proba(X.iloc[[5]])[0], every[5], atol=1e-5)
    np.testing.assert_array_equal(scorer.predict_proba(pl.from_pandas(X)), every)


def test_films_of_patients_set_aside_teach_nothing(scorer: CornerScorer, cohort: Any) -> None:
    X, _, _ = cohort
    assert scorer.calibration_ is not None
    learned = {film for films, _ in Pointed.fitted[-2:] for film in films}
    patients = [set(np.flatnonzero(X["cervical_xray"].isin(learned)) // 2)]
    aside = set(range(N // 2)) - patients[0]
    assert len(aside) >= 1
    assert scorer.score_films(X).is_calibrated


def test_places_that_were_given_are_not_looked_for(scorer: CornerScorer, cohort: Any) -> None:
    X, _, points = cohort
    some = points[points["point"] != "L3U"]
    scores = scorer.score_films(X, points=some)
    lost = CORNERS.index("L3U")
    assert set(scores.status[:-1, lost]) == {"absent"}
    assert scores.status[3, 2] == "found"
    np.testing.assert_allclose(scores.confidence[0, 0], 1.0)


def test_films_that_cannot_be_read_are_lost(scorer: CornerScorer, folder: Any, cohort: Any) -> None:
    X = cohort[0].head(2).copy()
    bad = folder / "bad.png"
    bad.write_bytes(b"no picture")
    Pointed.told[str(bad)] = np.full((12, 2), 20.0)
    X.loc[0, "lumbar_xray"] = str(bad)
    scores = scorer.score_films(X)
    assert set(scores.status[0, 12:]) == {"lost"}
    assert np.isnan(scores.grades[0, 12:]).all()
    assert np.isfinite(scores.grades[1]).all()


def test_grades_beside_annotations_teach_the_same(scorer: CornerScorer, cohort: Any) -> None:
    X, grades, points = cohort
    of_film = {film: row for column in X for row, film in enumerate(X[column])}
    graded = points.assign(
        grade=[
            grades.at[of_film.get(film, N - 1), name]
            for film, name in zip(points["film"], points["point"], strict=True)
        ]
    )
    again = a_scorer(graded).fit(X, groups=np.arange(N) // 2)
    np.testing.assert_array_equal(again.predict(X.head(2)), scorer.predict(X.head(2)))


def test_a_saved_scorer_says_the_same_and_names_no_film(
    scorer: CornerScorer, cohort: Any, tmp_path: Any
) -> None:
    X, _, _ = cohort
    path = scorer.save(tmp_path / "scorer.asf")
    again = af.load(path, trusted=[Pointed])
    np.testing.assert_array_equal(again.predict_proba(X.head(3)), scorer.predict_proba(X.head(3)))
    pd.testing.assert_frame_equal(
        again.score_films(X.head(3)).sums(), scorer.score_films(X.head(3)).sums()
    )
    assert again.trained_on_ == scorer.trained_on_
    for file in path.iterdir():
        assert b"cervical_xray-0" not in file.read_bytes()


@pytest.mark.parametrize(
    "changed", [{"finders_": {}}, {"finders_": {"cervical": 1, "lumbar": 2}}, {"calibration_": 7}]
)
def test_a_scorer_that_cannot_be_is_not_loaded(scorer: CornerScorer, changed: Any) -> None:
    state = scorer._bundle_state()
    state["fitted"] |= changed
    with pytest.raises(BundleError, match="load: a scorer of corners is described as none is"):
        CornerScorer()._restore_bundle_state(state)


def test_scores_show_themselves(scorer: CornerScorer, cohort: Any) -> None:
    scores = scorer.score_films(cohort[0])
    assert repr(scores).startswith("mSASSS of 14 row(s), 24 corners each; 14 corner(s) cannot be")
    assert " - to -" not in repr(scores)
    assert "Intervals of 50%, calibrated." in scores._repr_html_()
    frame = scores.to_frame()
    assert len(frame) == N * 24
    assert frame.loc[3 * 24 + 2, ["corner", "status"]].tolist() == ["C3L", "lost"]
    figure = scores.plot(3)
    assert [axis.get_title().split()[0] for axis in figure.axes] == ["cervical", "lumbar"]
    assert figure.axes[0].get_title().endswith("(1 of 12 corners cannot be read)")
    assert sum(text.get_text().endswith("?") for text in figure.axes[0].texts) == 1
    alone = scores.plot(N - 1)
    assert len(alone.axes) == 1
    assert alone.get_suptitle() == "no mSASSS"
    with pytest.raises(ConfigurationError, match=r"row: expected one of the 14 row\(s\), got 14"):
        scores.plot(14)
    nothing = scorer.score_films(pd.DataFrame({column: [None] for column in VIEWS}))
    with pytest.raises(ConfigurationError, match="row: expected a row with a film, got 0"):
        nothing.plot()


def test_one_view_has_no_total(cohort: Any) -> None:
    X, grades, points = cohort
    one = a_scorer(points, lumbar=None, epochs=1).fit(X.head(6), grades.head(6))
    scores = one.score_films(X.head(2))
    assert np.isnan(scores.total).all()
    assert np.isfinite(scores.cervical).all()
    assert not scores.is_calibrated


def test_corners_beside_their_films_teach_nothing(cohort: Any) -> None:
    X, grades, points = cohort
    with pytest.raises(InputError, match="expected at least 2 graded corners that lie on a film"):
        a_scorer(points.assign(x=1000.0)).fit(X.head(6), grades.head(6))


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"cervical": None, "lumbar": None}, ConfigurationError, "cervical, lumbar: expected the"),
        ({"finder": "sharp"}, ConfigurationError, "finder: expected a LandmarkFinder or None"),
        ({"side_mm": 1.0}, ConfigurationError, "side_mm"),
        ({"lumbar": "spine"}, ColumnError, "spine"),
    ],
)
def test_odd_parameters_are_refused(
    cohort: Any, params: Any, error: type[Exception], words: str
) -> None:
    X, grades, points = cohort
    with pytest.raises(error, match=words):
        a_scorer(points).set_params(**params).fit(X, grades)


def test_odd_targets_are_refused(cohort: Any) -> None:
    X, grades, points = cohort
    scorer = a_scorer(points)
    with pytest.raises(InputError, match=r"targets, corner 'C2L': expected grades 0, 1, 2 or 3"):
        scorer.fit(X, grades.assign(C2L=4))
    with pytest.raises(ColumnError, match="targets: expected a column for each corner, such as"):
        scorer.fit(X, grades.add_suffix("!"))
    with pytest.raises(InputError, match="targets: expected 14 rows, as X has, got 3"):
        scorer.fit(X, grades.head(3))
    with pytest.raises(InputError, match="targets: expected at least one graded corner, got none"):
        scorer.fit(X, grades * np.nan)
    with pytest.raises(InputError, match="targets: expected a table of grades, got None"):
        scorer.fit(X)
    with pytest.raises(InputError, match=r"expected 0, 1, 2, 3 or none in 'grade', got other"):
        a_scorer(points.assign(grade=7)).fit(X)
    with pytest.raises(InputError, match="expected points of the lumbar spine, such as"):
        a_scorer(points[points["point"].str.startswith("C")]).fit(X, grades)
    with pytest.raises(UnfittedError, match="CornerScorer"):
        scorer.predict(X)


def test_too_few_patients_leave_the_interval_uncalibrated(cohort: Any) -> None:
    X, grades, points = cohort
    with pytest.warns(
        AsfusionWarning, match="fewer than 9 patients with all corners graded and read could"
    ):
        scorer = a_scorer(points, coverage=0.9, epochs=1).fit(X.head(8), grades.head(8))
    assert not scorer.score_films(X.head(1)).is_calibrated


# -- the encoder -------------------------------------------------------------------------


def test_an_encoder_gives_24_features_and_tells_absence(
    scorer: CornerScorer, cohort: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, grades, _ = cohort
    monkeypatch.setattr("asfusion.corners.encoder.load", lambda path: scorer)
    X = pd.concat([X, pd.DataFrame({column: [None] for column in VIEWS})], ignore_index=True)
    with pytest.warns(AsfusionWarning, match=r"learned from films of 14 of 15 training row\(s\)"):
        encoder = CornerEncoder("saved.asf").fit(X)
    names = list(encoder.get_feature_names_out())
    assert [name for name in names if not name.endswith("_missing")] == [
        f"grade_{corner}" for corner in CORNERS
    ]
    prepared = encoder.prepare(X)
    assert prepared.present.tolist() == [True] * 14 + [False]
    features = encoder.transform(X)
    assert np.isnan(features[-1]).all()
    column = features[:12, names.index("grade_L3U")]
    assert np.corrcoef(column, grades["L3U"][:12])[0, 1] > 0.7
    assert encoder.describe() == "'cervical_xray', 'lumbar_xray'"


def test_equal_films_are_scored_once(
    scorer: CornerScorer, cohort: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = cohort[0].head(4)
    asked: list[int] = []
    honest = CornerScorer.predict_proba

    def ask(self: CornerScorer, X: Any) -> Any:
        asked.append(len(X))
        return honest(self, X)

    monkeypatch.setattr("asfusion.corners.encoder.load", lambda path: scorer)
    monkeypatch.setattr(CornerScorer, "predict_proba", ask)
    monkeypatch.setattr(Pointed, "digest_", "one")
    monkeypatch.setattr(EMBEDDINGS, "_entries", OrderedDict())
    with pytest.warns(AsfusionWarning):
        first = CornerEncoder("saved.asf").fit(X)
        again = CornerEncoder("saved.asf").fit(X.iloc[::-1])
    np.testing.assert_array_equal(first.transform(X), again.transform(X))
    lacking = X.assign(cervical_xray=None)
    again.transform(pd.concat([X, lacking], ignore_index=True))
    assert asked == [4, 4]
    monkeypatch.setattr(Pointed, "digest_", "another")
    first.transform(X)
    monkeypatch.setattr(Pointed, "digest_", None)
    first.transform(X)
    first.transform(X)
    assert asked == [4, 4, 4, 4, 4]


def test_a_scorer_in_an_encoder_learns_inside_of_the_fold(cohort: Any, tmp_path: Any) -> None:
    X, grades, points = cohort
    graded = points.assign(grade=0)
    encoder = CornerEncoder(a_scorer(graded, epochs=1))
    y = np.asarray(grades["C2L"] > 1, dtype=int)
    Pointed.fitted.clear()
    model = af.EarlyFusionClassifier({"spine": encoder}, verbose=0, random_state=0)
    model.fit(X.head(10), y[:10])
    assert {len(films) for films, _ in Pointed.fitted} == {10}
    told = model.predict_proba(X.tail(4))
    again = af.load(model.save(tmp_path / "model.asf"), trusted=[Pointed])
    np.testing.assert_allclose(again.predict_proba(X.tail(4)), told)


def test_an_encoder_refuses_what_scores_nothing(scorer: CornerScorer, cohort: Any) -> None:
    X, _, points = cohort
    with pytest.raises(ConfigurationError, match="scorer: expected a CornerScorer, or the path"):
        CornerEncoder(3).fit(X)
    nothing = pd.DataFrame({column: [None] * 3 for column in VIEWS})
    with pytest.raises(InputError, match="targets: expected at least one graded corner"):
        CornerEncoder(a_scorer(points.assign(grade=0))).fit(nothing)


def test_an_encoder_takes_saved_scorers_alone(
    scorer: CornerScorer, cohort: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asfusion.corners.encoder.load", lambda path: af.TabularEncoder("crp"))
    with pytest.raises(ConfigurationError, match="expected a saved CornerScorer, got a saved Tab"):
        CornerEncoder("saved.asf").fit(cohort[0])
    monkeypatch.setattr("asfusion.corners.encoder.load", lambda path: scorer)
    nothing = pd.DataFrame({column: [None] * 3 for column in VIEWS})
    with pytest.raises(InputError, match="expected a readable corner in at least one training row"):
        CornerEncoder("saved.asf").fit(nothing)


def test_what_is_printed_names_no_film() -> None:
    table = pd.DataFrame({"film": ["secret.png"], "point": ["C2L"], "x": [1], "y": [2]})
    scorer = af.corners.CornerScorer(table, finder=af.anatomy.LandmarkFinder(table))
    model = af.EarlyFusionClassifier({"corners": af.corners.CornerEncoder(scorer)})
    assert "annotations=..." in repr(scorer)
    for thing in (scorer, scorer.finder, model, model.encoders["corners"]):
        assert "secret" not in repr(thing) + getattr(thing, "_repr_html_", str)()
    with pytest.raises(af.exceptions.UnfittedError, match="Call fit first"):
        scorer.predict(pd.DataFrame())


def test_a_saved_scorer_tells_its_columns_before_anything_is_fitted(
    scorer: CornerScorer, cohort: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scorer.save(tmp_path / "scorer.asf")
    monkeypatch.setattr("asfusion.corners.encoder.load", lambda path: scorer)
    encoder = CornerEncoder(path)
    assert encoder.describe(["crp", *VIEWS]) == "'cervical_xray', 'lumbar_xray'"
    X = cohort[0].assign(crp=1.0)
    X.loc[:1, list(VIEWS)] = None
    rows = cells_present(Frame.read(X), columns_of(encoder, Frame.read(X)))
    assert rows.tolist() == [False] * 2 + [True] * (N - 2)
    monkeypatch.undo()
    assert CornerEncoder(tmp_path / "none.asf").describe() == "all columns"


def test_an_unreadable_film_is_named_by_its_column_and_row(cohort: Any, folder: Any) -> None:
    class Reading(Pointed):
        def fit(self, films: Any, groups: Any = None) -> Pointed:
            for film in films:
                if film is not None:
                    read_original(film)
            return super().fit(films, groups)

    X, grades, points = cohort
    X = X.copy()
    (folder / "broken.png").write_bytes(b"no picture")
    X.loc[9, "lumbar_xray"] = str(folder / "broken.png")
    scorer = CornerScorer(points, finder=Reading(), epochs=1, verbose=0, random_state=0)
    rows = np.array([12, 9, 3, 5])
    part = Frame.read(X).take(rows).as_part()
    with pytest.raises(ImageReadError, match=r"'lumbar_xray', row 9: expected a PNG"):
        scorer.set_params(calibration_fraction=0.0).fit(part, grades.iloc[rows])
