"""Photographs of films: made, found and flattened, each place where it belongs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from asfusion.encoders.image import ImageEncoder
from asfusion.exceptions import (
    ColumnError,
    ConfigurationError,
    ImageReadError,
    InputError,
    ShapeError,
)
from asfusion.imaging.photographs import camera, scene
from asfusion.imaging.photographs._draws import Draws
from asfusion.imaging.photographs._snap import snapped
from asfusion.imaging.photographs.augment import PhotographAugment
from asfusion.imaging.photographs.geometry import (
    apply_homography,
    corners_of,
    homography_of,
    seen_from,
    warp,
)
from asfusion.imaging.photographs.photograph import degrade
from asfusion.imaging.photographs.rectify import CORNERS, framed, is_quadrilateral, rectify
from asfusion.imaging.photographs.rows import augment_rows, corner_annotations, rectify_rows

Y, X = np.mgrid[:80, :64]
FILM = (110 + 50 * np.sin(X / 9.0) + 50 * np.cos(Y / 13.0)).astype(np.uint8)


class Knows:
    """A finder that is told where corners are, in the pictures that it is shown."""

    def __init__(self, corners: Sequence[Any], names: Sequence[str] = CORNERS[::-1]) -> None:
        self.corners, self.names = list(corners), tuple(names)

    def find(self, films: Sequence[Any]) -> SimpleNamespace:
        given = iter(self.corners)
        points = [np.full((4, 2), np.nan) if f is None else next(given)[::-1] for f in films]
        return SimpleNamespace(names=self.names, points=np.array(points))


def where(photo: NDArray[np.uint8], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return corners of a photograph as a finder sees them."""
    return framed(photo[None]).into(corners)


# -- geometry ------------------------------------------------------------------------------


@given(st.lists(st.floats(-0.15, 0.15), min_size=8, max_size=8))
@settings(max_examples=50)
def test_a_homography_brings_four_points_to_four(pulls: list[float]) -> None:
    corners = corners_of(80, 64)
    target = corners + 64 * np.reshape(pulls, (4, 2))
    matrix = homography_of(corners, target)
    assert np.allclose(apply_homography(matrix, corners), target, atol=1e-6)
    back = np.stack(seen_from(matrix, 4, 5), axis=-1)
    places = np.stack(np.meshgrid(np.arange(5) + 0.5, np.arange(4) + 0.5), axis=-1)
    assert np.allclose(apply_homography(matrix, back), places, atol=1e-6)


def test_a_warp_keeps_the_centres_of_pixels() -> None:
    assert (warp(FILM[None], np.eye(3), 80, 64)[0] == FILM).all()
    larger = warp(FILM[None], np.diag([2.0, 2.0, 1.0]), 160, 128)[0]
    middle = larger[2:-2, 2:-2].reshape(78, 2, 62, 2).mean(axis=(1, 3))
    assert np.abs(middle - FILM[1:-1, 1:-1]).max() < 2.0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected a matrix of shape \(3, 3\)"):
        apply_homography(np.eye(2), [[0.0, 0.0]])


# -- photographs ---------------------------------------------------------------------------


@pytest.mark.parametrize("severity", [1, 3, 5])
@given(seed=st.integers(0, 10_000), at=st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)))
@settings(max_examples=12, deadline=None)
def test_a_mark_is_where_the_homography_says(
    severity: int, seed: int, at: tuple[float, float]
) -> None:
    x, y = round(at[0] * 64), round(at[1] * 80)
    dark, marked = np.full((80, 64), 90, np.uint8), np.full((80, 64), 90, np.uint8)
    marked[y - 3 : y + 3, x - 3 : x + 3] = 255
    before, homography = degrade(dark, severity, seed)
    after, same = degrade(marked, severity, seed)
    assert (homography == same).all()
    change = np.maximum(after.astype(float) - before, 0.0)
    change[change < 0.5 * change.max()] = 0.0
    if change.max() < 25:  # under a finger or a label, or in glare
        return
    rows, columns = np.nonzero(change)
    place = np.array([columns.mean(), rows.mean()]) + 0.5
    assert np.linalg.norm(place - apply_homography(homography, [x, y])) < 0.05 * max(after.shape)


def test_a_seed_is_one_photograph_and_another_is_another() -> None:
    once, again, other = (degrade(FILM, 4, seed) for seed in (3, 3, 4))
    assert (once[0] == again[0]).all()
    assert (once[1] == again[1]).all()
    assert once[0].shape != other[0].shape or (once[0] != other[0]).any()


def test_worse_severities_are_further_from_the_film() -> None:
    def error(severity: int) -> float:
        errors = []
        for seed in range(8):
            photo, homography = degrade(FILM, severity, seed)
            flat = warp(photo[None], np.linalg.inv(homography), 80, 64)[0]
            errors.append(1.0 - np.corrcoef(flat.ravel(), FILM.ravel())[0, 1])
        return float(np.mean(errors))

    errors = [error(severity) for severity in range(1, 6)]
    assert errors == sorted(errors)
    assert errors[0] < 0.1 < errors[4]


EFFECTS = (
    scene.stripes,
    scene.shadow,
    scene.glare,
    scene.fingers,
    camera.vignette,
    camera.blur,
    camera.noise,
)


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
def test_effects_grow_from_nothing_and_are_not_all_alike(effect: Any) -> None:
    light = camera.to_light(np.stack([np.tile(FILM, (4, 4))] * 3))
    assert np.allclose(effect(light, Draws(3, 0.0)), light, atol=1e-5)
    seen = [effect(light, Draws(seed, 1.0)) for seed in range(6)]
    assert all(np.isfinite(one).all() and one.dtype == np.float32 for one in seen)
    assert len({one.tobytes() for one in seen}) > 3


@pytest.mark.parametrize("shape", [(80, 64), (1, 64, 80), (3, 50, 50)])
def test_photographs_have_the_channels_of_films(shape: tuple[int, ...]) -> None:
    photo, _ = degrade(np.full(shape, 100, np.uint8), 2, 0)
    assert photo.dtype == np.uint8
    assert photo.shape[:-2] == shape[:-2]
    tall = shape[-2] >= shape[-1]
    assert (photo.shape[-2] > photo.shape[-1]) == tall
    assert max(photo.shape[-2:]) == 2 * max(shape[-2:])
    assert max(degrade(np.full(shape, 9, np.uint8), 2, 0, side=48)[0].shape[-2:]) == 48


def test_large_films_are_photographed_in_a_size_that_is_sent() -> None:
    photo, homography = degrade(np.zeros((900, 300), np.uint8), 1, 0)
    assert max(photo.shape) == 1280
    assert apply_homography(homography, corners_of(900, 300)).max() < 1400


@pytest.mark.parametrize(
    "bad", [FILM.astype(float), FILM[None, None], np.zeros((2, 50, 50), np.uint8), FILM[:4]]
)
def test_what_is_no_film_is_refused(bad: NDArray[Any]) -> None:
    with pytest.raises(ShapeError, match="expected uint8 pixels of shape"):
        degrade(bad, 1, 0)


def test_unusable_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="severity: expected an integer from 1 to 5"):
        degrade(FILM, 6, 0)
    with pytest.raises(ConfigurationError, match="severity"):
        degrade(FILM, 0, 0)
    with pytest.raises(ConfigurationError, match="seed"):
        degrade(FILM, 1, -1)
    with pytest.raises(ConfigurationError, match="side"):
        degrade(FILM, 1, 0, side=2)


# -- back to the film ----------------------------------------------------------------------


def test_a_film_seen_aslant_is_a_rectangle_again() -> None:
    corners = np.array([[20.0, 12.0], [150.0, 24.0], [140.0, 180.0], [12.0, 170.0]])
    large = warp(FILM[None], np.diag([2.0, 2.0, 1.0]), 160, 128)
    photo = warp(large, homography_of(corners_of(160, 128), corners), 200, 170)[0]
    for finder in (corners, Knows([where(photo, corners)])):
        flat = rectify(photo, finder)[0]
        assert abs(flat.shape[0] / flat.shape[1] - 80 / 64) < 0.15
        again = np.asarray(Image.fromarray(flat).resize((64, 80), Image.Resampling.BOX))
        assert np.abs(again.astype(float) - FILM)[2:-2, 2:-2].mean() < 3.0


@given(st.lists(st.floats(-0.025, 0.025), min_size=8, max_size=8))
@settings(max_examples=25, deadline=None)
def test_corners_that_are_nearly_right_are_moved_to_the_edges(pulls: list[float]) -> None:
    corners = np.array([[50.0, 42.0], [235.0, 54.0], [230.0, 270.0], [42.0, 260.0]])
    film = np.full((1, 216, 185), 90, np.uint8)
    film[0, 60:100, 30:90] = 190
    photo = 200 - warp(200 - film, homography_of(corners_of(216, 185), corners), 300, 280)[0]
    nearly = corners + 200 * np.reshape(pulls, (4, 2))
    assert np.abs(snapped(photo, nearly) - corners).max() < 2.5


def test_where_nothing_is_seen_corners_stay() -> None:
    corners = corners_of(100, 100) + 40
    assert np.allclose(snapped(np.full((180, 180), 7, np.uint8), corners), corners)


def test_colours_and_files_are_rectified_as_they_are_shown() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a telephone that was held upright
    file = io.BytesIO()
    Image.fromarray(np.rot90(FILM)).save(file, "JPEG", quality=100, exif=turned)
    flat = rectify(file.getvalue(), corners_of(80, 64), channels=3)
    assert flat.shape == (3, 80, 64)
    assert np.abs(flat[0].astype(float) - FILM).mean() < 3.0


def test_without_a_film_a_photograph_stays() -> None:
    crossed = corners_of(80, 64)[[0, 2, 1, 3]]
    assert not is_quadrilateral(crossed)
    assert (rectify(FILM, Knows([crossed]))[0] == FILM).all()
    assert (rectify(FILM, Knows([np.full((4, 2), np.nan)]))[0] == FILM).all()


def test_a_film_that_fills_its_picture_stays() -> None:
    corners = corners_of(80, 64)
    assert (rectify(FILM, Knows([where(FILM, corners + 1.0)]))[0] == FILM).all()
    assert rectify(FILM, Knows([where(FILM, 0.7 * corners + 9.0)])).shape != (1, 80, 64)


def test_corners_far_away_make_no_larger_film_than_there_is_memory_for() -> None:
    assert max(rectify(FILM, 1e7 * corners_of(80, 64)).shape) == 160


def test_corners_of_no_film_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"four corners of shape \(4, 2\)"):
        rectify(FILM, np.zeros((3, 2)))
    with pytest.raises(InputError, match="go round no area"):
        rectify(FILM, corners_of(80, 64)[::-1])
    with pytest.raises(InputError, match="expected one that finds the points top_left"):
        rectify(FILM, Knows([corners_of(80, 64)], names=["a", "b", "c", "d"]))


# -- rows ----------------------------------------------------------------------------------


def test_photographs_stand_below_their_films() -> None:
    frame = pd.DataFrame({"film": [FILM, None, FILM], "crp": [1.0, 2.0, 3.0]}, index=[7, 8, 9])
    y = pd.Series(["a", "b", "c"], index=frame.index)
    rows, targets, patients = augment_rows(
        frame, y, "film", copies=2, severities=[2], groups=["p", "q", "p"], random_state=1
    )
    assert rows["crp"].tolist() == [1, 2, 3, 1, 1, 3, 3]
    assert targets.tolist() == list("abcaacc")
    assert patients.tolist() == list("pqppppp")
    assert (rows["film"][0] == FILM).all()
    contents = rows["film"].tolist()[3:]
    assert len(set(contents)) == 4
    assert all(isinstance(cell, bytes) for cell in contents)
    again = augment_rows(frame, y, "film", copies=2, severities=[2], random_state=1)[0]
    assert again["film"].tolist()[3:] == contents
    assert frame["film"][8] is None  # what was given is as it was


def test_photographs_among_training_rows_are_read_by_an_encoder() -> None:
    films = pl.Series("film", [FILM, FILM[::-1]], dtype=pl.Object)
    frame = pl.DataFrame({"crp": [1.0, 2.0]}).with_columns(films)
    rows, y, _ = augment_rows(frame, np.array([0, 1]), "film", copies=1, random_state=0)
    assert isinstance(rows, pl.DataFrame)
    assert y.tolist() == [0, 1, 0, 1]
    pixels = ImageEncoder("film", size=32).fit(rows).prepare(rows).tensors["pixels"]
    assert len({bytes(p.numpy()) for p in pixels}) == 4


def test_photographs_are_rectified_for_learning_as_for_asking() -> None:
    class Middle:
        def find(self, films: Sequence[Any]) -> SimpleNamespace:
            points = [
                np.full((4, 2), np.nan)
                if film is None
                else corners_of(*np.array(film.shape) / 2) + np.array(film.shape[::-1]) / 4
                for film in films
            ]
            return SimpleNamespace(names=CORNERS, points=np.array(points))

    frame = pd.DataFrame({"film": [FILM, None, "nowhere.png"]})
    flat = rectify_rows(frame, "film", Middle())
    with Image.open(io.BytesIO(flat["film"][0])) as film:
        assert film.size[0] < 60  # about half of the film and of its margin
    assert flat["film"].tolist()[1:] == [None, "nowhere.png"]
    rows = augment_rows(frame[:1], [0], "film", copies=1, finder=Middle(), random_state=0)[0]
    with Image.open(io.BytesIO(rows["film"][1])) as film:
        assert max(film.size) < 160


def test_a_corner_beside_the_photograph_stands_at_its_edge() -> None:
    photos, table = corner_annotations([FILM], copies=30, severities=[5], random_state=2)
    size = {photo: Image.open(io.BytesIO(photo)).size for photo in photos}
    edges = np.array([size[photo] for photo in table["film"]])
    places = table[["x", "y"]].to_numpy()
    assert ((places >= 0) & (places <= edges)).all()
    assert ((places == 0) | (places == edges)).any()  # of a film that lies partly outside


def test_corners_are_annotated_where_films_are() -> None:
    photos, table = corner_annotations([FILM, None, FILM[::-1], FILM], copies=2, random_state=0)
    assert len(photos) == 9  # the first film is there twice: it is annotated once
    assert set(table["film"]) == set(photos)
    assert len(table) == 4 * 8
    clean = table[table["film"] == photos[0]].set_index("point")[["x", "y"]]
    assert clean.loc[list(CORNERS)].to_numpy().tolist() == (corners_of(80, 64) + 12).tolist()
    with Image.open(io.BytesIO(photos[0])) as shown:
        assert shown.size == (64 + 24, 80 + 24)


def test_unusable_rows_are_refused() -> None:
    frame = pd.DataFrame({"film": ["nowhere.png"], "crp": [1.0]})
    with pytest.raises(ImageReadError, match="Column 'film', row 0"):
        augment_rows(frame, [0], "film")
    with pytest.raises(ColumnError, match=r"row 0: expected the path.*got float"):
        augment_rows(frame, [0], "crp")
    with pytest.raises(InputError, match="y: expected 1 targets"):
        augment_rows(frame, [0, 1], "film")
    with pytest.raises(ConfigurationError, match="severities: expected at least one"):
        augment_rows(frame, [0], "film", severities=[])
    with pytest.raises(ConfigurationError, match="severity"):
        augment_rows(frame, [0], "film", severities=[9])
    with pytest.raises(InputError, match="films: expected at least one film"):
        corner_annotations([None])


# -- networks ------------------------------------------------------------------------------


def test_networks_see_photographs_while_they_learn() -> None:
    images = torch.from_numpy(FILM)[None, None].expand(64, 3, -1, -1) / 255.0
    torch.manual_seed(0)
    augment = PhotographAugment(share=1.0)
    seen = augment(images)
    assert seen.shape == images.shape
    assert 0.0 <= float(seen.min()) <= float(seen.max()) <= 1.0
    torch.manual_seed(0)
    assert torch.equal(augment(images), seen)
    # Some have other colours, all are still the film, none is its mirror image.
    assert float((seen[:, 0] - seen[:, 2]).abs().amax()) > 0.05
    likeness = [np.corrcoef(p.ravel(), FILM.ravel())[0, 1] for p in seen.mean(dim=1).numpy()]
    mirrored = [np.corrcoef(p[:, ::-1].ravel(), FILM.ravel())[0, 1] for p in seen[:, 0].numpy()]
    assert np.mean(likeness) > np.mean(mirrored) + 0.2
    assert torch.equal(augment.eval()(images), images)


def test_an_encoder_that_learns_takes_photographs() -> None:
    frame = pd.DataFrame({"film": [FILM]})
    encoder = ImageEncoder("film", size=32, augment="photograph").fit(frame)
    assert isinstance(encoder.build().backbone.augment, PhotographAugment)
    with pytest.raises(ConfigurationError, match="augment: expected"):
        ImageEncoder("film", augment="telephone").fit(frame)  # type: ignore[arg-type]
    frozen = ImageEncoder("film", backbone="resnet18", weights="w", augment="photograph")
    with pytest.raises(ConfigurationError, match="augment_rows"):
        frozen.fit(frame)
    with pytest.raises(ConfigurationError, match="share"):
        PhotographAugment(share=2.0)
