"""Fine films: lengths of the body instead of pixels, true places, readers, metal and mimics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from asfusion.clinical._msasss import CERVICAL_CORNERS, LUMBAR_CORNERS
from asfusion.datasets._phantoms import film as film_parts
from asfusion.datasets._phantoms.film import Detector, blurred, stroke
from asfusion.datasets._phantoms.implants import Implants, metal_in_pelvis
from asfusion.datasets._phantoms.mri import SacroiliacMRI, render_mri
from asfusion.datasets._phantoms.mri_mimics import Mimics
from asfusion.datasets._phantoms.pelvis import render_pelvis
from asfusion.datasets._phantoms.pelvis_bones import Body, Bones, PelvisLabel, View
from asfusion.datasets._phantoms.spine import render_spine
from asfusion.datasets.axspa_cohort import AxSpaCohort, make_axspa_cohort
from asfusion.exceptions import ConfigurationError
from asfusion.imaging.original import read_original
from asfusion.imaging.read import read_image

CODES = {"right_sij": PelvisLabel.RIGHT_SIJ, "left_sij": PelvisLabel.LEFT_SIJ}


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> AxSpaCohort:
    folder = tmp_path_factory.mktemp("fine")
    kinds = ["labs", "xray", "spine"]
    return make_axspa_cohort(
        4, random_state=4, path=folder, modalities=kinds, missing=0.2, film_mm=1.0
    )


# -- true places -------------------------------------------------------------------------


@pytest.mark.parametrize("film_mm", [None, 1.0])
def test_boxes_hold_the_joints_and_no_more(fine: AxSpaCohort, film_mm: float | None) -> None:
    cohort = fine
    if film_mm is None:
        cohort = make_axspa_cohort(3, random_state=1, modalities=["xray"])
    assert cohort.regions is not None and cohort.segmentations is not None
    masks = dict(zip(cohort.X["pelvis_xray"], cohort.segmentations, strict=True))
    assert set(cohort.regions["film"]) == set(cohort.X["pelvis_xray"].dropna())
    assert (cohort.regions.groupby("film").size() == 2).all()
    for film, region, *box in cohort.regions.itertuples(index=False):
        rows, columns = np.nonzero(read_image(masks[film]).squeeze() == CODES[region])
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    sides = cohort.regions.pivot(index="film", columns="region", values="x0")
    assert (sides["right_sij"] < sides["left_sij"]).all()


def test_corners_lie_in_their_films_from_top_to_bottom(fine: AxSpaCohort) -> None:
    points = fine.corner_points
    assert points is not None
    for column, names in (("cervical_xray", CERVICAL_CORNERS), ("lumbar_xray", LUMBAR_CORNERS)):
        films = fine.X[column].dropna()
        assert len(films) >= 3
        for film in films:
            own = points[points["film"] == film]
            assert tuple(own["point"]) == names
            assert all(f"corner_{name}" in fine.targets for name in names)
            height, width = read_image(film).shape[-2:]
            assert own["x"].between(0, width).all() and own["y"].between(0, height).all()
            assert (np.diff(own["y"]) > 0).all()


def test_cohorts_without_films_have_no_places() -> None:
    cohort = make_axspa_cohort(3, modalities=["labs"])
    assert cohort.regions is None and cohort.corner_points is None


@pytest.mark.parametrize("seed", range(3))
def test_places_stay_away_from_the_edge_in_any_view(seed: int) -> None:
    for number in range(40):
        rng = np.random.default_rng((seed, number))
        view = View.draw_fine(1.2, ("ap", "ferguson")[number % 2], number % 4, rng)
        body = Body.draw("fm"[number % 2], 25.0, 40.0, rng)
        joints = np.concatenate(
            Bones(body, view)._outlines(np.array([(63.0, -46, -12), (47, 40, -44)]))
        )
        size = np.array(view.shape[::-1])
        assert (joints > 0.08 * size).all() and (joints < 0.92 * size).all()


# -- resolution --------------------------------------------------------------------------


def test_files_say_the_edge_of_their_pixels_and_fields_differ(fine: AxSpaCohort) -> None:
    originals = [read_original(path) for path in fine.X["pelvis_xray"].dropna()]
    assert all(original.spacing_mm == pytest.approx((1.0, 1.0)) for original in originals)
    assert len({original.pixels.shape for original in originals}) == len(originals)


def test_a_file_depends_on_seed_and_patient_alone(fine: AxSpaCohort, tmp_path: Path) -> None:
    again = make_axspa_cohort(
        4, random_state=4, path=tmp_path, modalities=["xray"], missing=0.2, film_mm=1.0
    )
    for one, other in zip(again.X["pelvis_xray"], fine.X["pelvis_xray"], strict=True):
        if isinstance(one, str):
            assert Path(one).read_bytes() == Path(other).read_bytes()
    assert again.regions is not None and fine.regions is not None
    pd.testing.assert_frame_equal(
        again.regions.drop(columns="film"), fine.regions.drop(columns="film")
    )


def test_a_sound_joint_is_six_dark_pixels_wide_at_half_a_millimetre() -> None:
    film = render_pelvis(grades=(0, 0), film_mm=0.5, rng=np.random.default_rng(0))
    wide, dark = [], []
    for label in CODES.values():
        rows = np.nonzero((film.labels == label).any(axis=1))[0]
        for row in rows[len(rows) // 2 : 3 * len(rows) // 4]:
            columns = np.nonzero(film.labels[row] == label)[0]
            wide.append(len(columns))
            around = film.pixels[row, columns[0] - 12 : columns[-1] + 13].astype(float)
            dark.append(film.pixels[row, columns].mean() - np.median(around))
    assert np.median(wide) >= 6
    assert np.mean(dark) < -100


@pytest.mark.parametrize("number", range(3))
def test_noise_per_area_is_that_of_coarse_films(number: int) -> None:
    def noise(edge: float, coarse_px: float | None) -> float:
        flat = np.full((round(240 / edge), round(300 / edge)), 0.8, np.float32)
        rng = np.random.default_rng(number)
        picture = Detector(number).expose(flat, 1.0, rng, coarse_px)
        step = round(8.7 / edge)
        rows, columns = (n // step * step for n in picture.shape)
        blocks = picture[:rows, :columns].reshape(rows // step, step, columns // step, step)
        return float(blocks.mean(axis=(1, 3)).std())

    usual = noise(1.45, None)
    for edge in (0.4, 0.8, 1.2):
        assert noise(edge, 1.45 / edge) == pytest.approx(usual, rel=0.2)


@pytest.mark.parametrize("width", [1.2, 4.0, 9.0, 30.0])
def test_large_films_get_the_strokes_of_small_ones(
    width: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = np.array([(40.0, 30.0), (90.5, 100.2), (200.0, 120.0), (260.0, 20.0)])
    drawn = []
    for limit in (10**9, 0):
        monkeypatch.setattr(film_parts, "_LARGE", limit)
        canvas = np.zeros((180, 300), np.float32)
        stroke(canvas, line, width, 0.5)
        drawn.append(canvas)
    # A crease where two parts meet is a little rounder.
    assert np.abs(drawn[0] - drawn[1]).max() < 0.03


@pytest.mark.parametrize("sigma", [2.0, 5.5, 14.0, 40.0])
def test_large_films_get_the_blur_of_small_ones(
    sigma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((211, 307), np.float32)
    image[50:150, 90:200] = 1.0
    monkeypatch.setattr(film_parts, "_LARGE", 10**9)
    usual = blurred(image, sigma)
    monkeypatch.setattr(film_parts, "_LARGE", 0)
    assert np.abs(blurred(image, sigma) - usual).max() < 0.03


# -- readers and damage --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_readers_agree_as_central_readers_do(seed: int) -> None:
    targets = make_axspa_cohort(400, random_state=seed, modalities=["labs"]).targets

    def grades(ending: str) -> np.ndarray:
        return np.concatenate([targets[f"mny_{side}{ending}"] for side in ("right", "left")])

    for one, other in (("", "_reader1"), ("", "_reader2"), ("_reader1", "_reader2")):
        assert 0.4 < cohen_kappa_score(grades(one), grades(other)) < 0.6
        linear = cohen_kappa_score(grades(one), grades(other), weights="linear")
        assert 0.6 < linear < 0.8
    assert set(np.unique(grades("_reader1"))) == {0, 1, 2, 3, 4}


def test_a_study_of_damage_changes_damage_alone() -> None:
    usual, study = (
        make_axspa_cohort(1200, random_state=5, modalities=["labs"], damage=damage)
        for damage in ("cohort", "study")
    )
    pd.testing.assert_frame_equal(usual.X, study.X)
    assert (usual.y == study.y).all()
    same = [
        name for name in usual.targets if not name.startswith(("corner_", "msasss", "progression"))
    ]
    pd.testing.assert_frame_equal(usual.targets[same], study.targets[same])
    corners = study.targets.filter(like="corner_").to_numpy()
    assert (corners.sum(axis=1) == study.targets["msasss"]).all()
    assert (study.targets["msasss_2y"] >= study.targets["msasss"]).all()
    share = np.bincount(corners.ravel(), minlength=4) / corners.size
    np.testing.assert_allclose(share, [0.76, 0.08, 0.11, 0.06], atol=0.03)
    assert (usual.targets.filter(like="corner_").to_numpy() == 0).mean() > 0.9
    assert abs(study.targets["msasss"].mean() - 11.6) < 1.5  # OASIS, over all groups


# -- metal and mimics ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "implants",
    [Implants((True, False)), Implants(coil=True), Implants(clips=3), Implants(levels=3)],
    ids=["hip", "coil", "clips", "screws"],
)
def test_metal_is_white_and_leaves_the_joints_alone(implants: Implants) -> None:
    def draw(carried: Implants | None) -> np.ndarray:
        rng = np.random.default_rng(3)
        film = render_pelvis(grades=(0, 2), film_mm=1.0, implants=carried, rng=rng)
        return film.pixels.astype(float)

    rng = np.random.default_rng(3)
    body = Body.draw("f", 25.0, 40.0, rng)
    metal = metal_in_pelvis(implants, Bones(body, View.draw_fine(1.0, "ap", 0, rng)))
    there = metal > 0.8
    assert implants and there.any()
    without, with_metal = draw(None), draw(implants)
    assert with_metal[there].mean() > without[there].mean() + 300
    assert not Implants()


def test_screws_show_from_the_side_behind_the_corners() -> None:
    scores = np.zeros(24, dtype=int)
    films = [
        render_spine(
            corners=scores, region="lumbar", film_mm=1.0, implants=x, rng=np.random.default_rng(1)
        )
        for x in (None, Implants(levels=2))
    ]
    brighter = films[1].pixels.astype(float) - films[0].pixels > 500
    rows, columns = np.nonzero(brighter)
    assert len(rows) > 50
    assert columns.mean() > films[1].corner_xy[-4:, 0].mean()
    np.testing.assert_array_equal(films[0].corner_xy, films[1].corner_xy)


def test_few_carry_metal_and_the_old_more_often() -> None:
    def share(age: float) -> float:
        drawn = [
            Implants.draw(female=True, age=age, rng=np.random.default_rng(seed))
            for seed in range(600)
        ]
        return float(np.mean([any(one.hips) for one in drawn]))

    assert share(30.0) < 0.06
    assert 0.1 < share(75.0) < 0.4


def mri_with(mimics: Mimics | None) -> SacroiliacMRI:
    return render_mri(
        oedema=np.zeros(8),
        fat=np.zeros(8),
        erosion=[0, 0],
        sex="female",
        bmi=24,
        age=40,
        site="A",
        scanner="B",
        mimics=mimics,
        shape=(8, 64, 64),
        rng=np.random.default_rng(2),
    )


def test_mimics_are_bright_without_inflammation() -> None:
    plain = mri_with(None)
    np.testing.assert_array_equal(plain.stir, mri_with(Mimics()).stir)
    for name in ("strain", "worn", "vessels", "flare", "unsuppressed"):
        stack = mri_with(Mimics(**{name: 1.0}))
        gained = stack.stir.astype(float) - plain.stir
        assert (gained > 60).sum() > 20, name
    flare = mri_with(Mimics(flare=1.0))
    assert flare.t1.mean() > plain.t1.mean()  # the coil is too near for both
    assert (mri_with(Mimics(unsuppressed=1.0)).t1 == plain.t1).all()  # only STIR loses fat


def test_mimics_come_by_age_and_sex() -> None:
    drawn = {
        age: [
            Mimics.draw(female=True, age=age, rng=np.random.default_rng(seed))
            for seed in range(400)
        ]
        for age in (22.0, 60.0)
    }
    worn = {age: np.mean([one.worn > 0 for one in some]) for age, some in drawn.items()}
    assert worn[22.0] < 0.06 < 0.15 < worn[60.0]
    assert 0.2 < np.mean([one.strain > 0 for one in drawn[22.0]]) < 0.4


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"film_mm": 3.0}, r"film_mm: expected a number in \[0\.2, 1\.5\]"),
        ({"film_mm": 0.05}, r"film_mm: expected a number"),
        ({"damage": "severe"}, r"damage: expected one of 'cohort', 'study'"),
    ],
)
def test_unusable_parameters(choice: dict, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make_axspa_cohort(5, modalities=["labs"], **choice)


@pytest.mark.parametrize("render", ["pelvis", "spine"])
def test_pixels_too_fine_or_too_coarse_are_refused(render: str) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigurationError, match="film_mm: expected a number"):
        if render == "pelvis":
            render_pelvis(grades=(0, 0), film_mm=0.1, rng=rng)
        else:
            render_spine(corners=np.zeros(24, dtype=int), region="lumbar", film_mm=2.0, rng=rng)
