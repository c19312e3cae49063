from __future__ import annotations

import time

import numpy as np
import pytest

from asfusion.datasets._phantoms.spine import SpineFilm, render_spine
from asfusion.datasets._phantoms.spine_bones import N_BODIES, N_CORNERS, N_DISCS, SpineLabel
from asfusion.exceptions import ConfigurationError

REGIONS = ("cervical", "lumbar")
NORMAL = np.zeros(24, dtype=int)


def film_of(region: str, corners: np.ndarray, seed: int) -> SpineFilm:
    return render_spine(
        corners=corners,
        region=region,
        anatomy=np.random.default_rng(seed),
        rng=np.random.default_rng(100 + seed),
    )


def along_the_discs(film: SpineFilm) -> np.ndarray:
    """Brightest pixel around the middle between the two corners of each disc, 0 to 1."""
    middles = film.corner_xy.reshape(N_DISCS, 2, 2).mean(axis=1)
    out = []
    for x, y in middles:
        row, column = int(y), int(x)
        out.append(film.pixels[row - 1 : row + 2, column - 5 : column + 3].mean(0).max() / 4095.0)
    return np.array(out)


@pytest.mark.parametrize("region", REGIONS)
def test_film_has_pixels_labels_corners_and_spacing(region: str) -> None:
    film = film_of(region, NORMAL, 0)
    assert film.pixels.shape == film.labels.shape == (256, 192)
    assert film.pixels.dtype == np.uint16
    assert film.labels.dtype == np.uint8
    assert film.corner_xy.shape == (N_CORNERS, 2)
    assert film.corner_xy.dtype == np.float64
    assert film.pixels.max() <= 4095
    assert np.ptp(film.pixels) > 2000
    assert 0.5 < film.spacing_mm < 1.5


@pytest.mark.parametrize("region", REGIONS)
def test_same_stream_gives_same_film_and_another_stream_another(region: str) -> None:
    scores = np.tile([0, 1, 2, 3], 6)
    first, again, other = (film_of(region, scores, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.corner_xy, again.corner_xy)
    assert (first.pixels != other.pixels).mean() > 0.5


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("score", [0, 3])
def test_bodies_discs_and_arches_are_labelled_from_top_to_bottom(region: str, score: int) -> None:
    for seed in range(4):
        film = film_of(region, np.full(24, score), seed)
        bodies = [np.nonzero(film.labels == SpineLabel.BODY + k) for k in range(N_BODIES)]
        discs = [np.nonzero(film.labels == SpineLabel.DISC + k) for k in range(N_DISCS)]
        assert min(len(rows) for rows, _ in bodies) > 80
        assert min(len(rows) for rows, _ in discs) > 15
        heights = [0.0] * (N_BODIES + N_DISCS)
        heights[::2] = [rows.mean() for rows, _ in bodies]
        heights[1::2] = [rows.mean() for rows, _ in discs]
        assert heights == sorted(heights)
        arches = np.nonzero(film.labels == SpineLabel.POSTERIOR)[1]
        assert arches.mean() > bodies[3][1].mean()


@pytest.mark.parametrize("region", REGIONS)
def test_corners_lie_in_the_film_at_the_front_of_their_vertebra(region: str) -> None:
    for seed in range(20):
        film = film_of(region, NORMAL, seed)
        assert film.corner_xy.min() > 2.0
        assert np.all(film.corner_xy < [190.0, 254.0])
        assert np.all(np.diff(film.corner_xy[:, 1]) > 0.0)
        for k, (x, y) in enumerate(film.corner_xy):
            rows, columns = np.nonzero(film.labels == SpineLabel.BODY + (k + 1) // 2)
            assert np.hypot(rows + 0.5 - y, columns + 0.5 - x).min() < 3.0
            assert x < columns.mean()


@pytest.mark.parametrize("region", REGIONS)
def test_a_bridge_fills_the_gap_and_a_syndesmophyte_does_not(region: str) -> None:
    brightness = [
        np.mean([along_the_discs(film_of(region, np.full(24, score), seed)) for seed in range(6)])
        for score in range(4)
    ]
    assert brightness[3] > max(brightness[:3]) + 0.05


@pytest.mark.parametrize("region", REGIONS)
def test_one_bridge_is_drawn_at_its_own_disc(region: str) -> None:
    offset = 0 if region == "cervical" else 12
    for disc in range(N_DISCS):
        scores = NORMAL.copy()
        scores[offset + 2 * disc] = 3
        film = film_of(region, scores, disc)
        rows, columns = np.nonzero(film.labels == SpineLabel.SYNDESMOPHYTE)
        pair = film.corner_xy[2 * disc : 2 * disc + 2]
        reach = np.hypot(*(pair[1] - pair[0]))
        away = np.hypot(columns - pair.mean(0)[0], rows - pair.mean(0)[1])
        assert len(rows) > 5
        assert away.max() < 0.5 * reach + 12.0


def test_the_other_region_does_not_show() -> None:
    scores = NORMAL.copy()
    scores[12:] = 3
    assert not (film_of("cervical", scores, 0).labels == SpineLabel.SYNDESMOPHYTE).any()
    assert (film_of("lumbar", scores, 0).labels == SpineLabel.SYNDESMOPHYTE).any()


@pytest.mark.parametrize("region", REGIONS)
def test_new_bone_grows_with_the_score(region: str) -> None:
    area = []
    for score in range(4):
        films = [film_of(region, np.full(24, score), seed) for seed in range(4)]
        area.append(sum(int((f.labels == SpineLabel.SYNDESMOPHYTE).sum()) for f in films))
    assert area[0] == area[1] == 0
    assert 0 < area[2] < area[3]


@pytest.mark.parametrize("region", REGIONS)
def test_a_corner_of_score_one_differs_from_a_normal_one(region: str) -> None:
    change, still = [], []
    for seed in range(6):
        scores = NORMAL.copy()
        scores[[6, 18]] = 1
        cover = [film_of(region, x, seed) for x in (NORMAL, scores)]
        pictures = [film.pixels.astype(float) / 4095.0 for film in cover]
        for k, kept in ((6, change), (9, still)):
            crops = []
            for picture, film in zip(pictures, cover, strict=True):
                column, row = film.corner_xy[k].astype(int)
                crops.append(picture[row - 6 : row + 7, column - 4 : column + 9])
            kept.append(np.abs(crops[1] - crops[0]).mean())
    assert np.mean(change) > 1.15 * np.mean(still)


def test_a_stiff_spine_is_straighter() -> None:
    def bend(score: int, seed: int) -> float:
        points = film_of("lumbar", np.full(24, score), seed).corner_xy
        chord = points[-1] - points[0]
        aside = (points - points[0]) @ np.array([chord[1], -chord[0]]) / np.hypot(*chord)
        return float(np.ptp(aside))

    assert np.mean([bend(3, s) for s in range(6)]) < 0.8 * np.mean([bend(0, s) for s in range(6)])


def test_sex_body_mass_and_scanner_change_the_film() -> None:
    def draw(**change: object) -> SpineFilm:
        return render_spine(
            corners=NORMAL,
            region="lumbar",
            rng=np.random.default_rng(2),
            **change,  # type: ignore[arg-type]
        )

    def length(film: SpineFilm) -> float:
        return float(np.hypot(*(film.corner_xy[-1] - film.corner_xy[0]))) * film.spacing_mm

    assert length(draw(sex="m")) > length(draw(sex="f"))
    assert (draw(bmi=20.0).pixels != draw(bmi=38.0).pixels).mean() > 0.5
    assert (draw(scanner=1).pixels != draw(scanner=2).pixels).mean() > 0.5
    assert draw(shape=(160, 128)).pixels.shape == (160, 128)


def test_less_dose_gives_more_noise() -> None:
    def roughness(exposure: float) -> float:
        film = render_spine(
            corners=NORMAL, region="lumbar", exposure=exposure, rng=np.random.default_rng(4)
        )
        return float(np.diff(film.pixels[40:200, 10:100].astype(float), axis=1).std())

    assert roughness(0.1) > 1.3 * roughness(4.0)


@pytest.mark.parametrize("region", REGIONS)
def test_a_film_takes_little_time(region: str) -> None:
    spent = []
    for seed in range(4):
        start = time.process_time()
        film_of(region, np.full(24, 3), seed)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.25  # four times the budget, for slow machines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corners": np.zeros(12, dtype=int)}, r"corners: expected 24 integers .* \(12,\)"),
        ({"corners": np.zeros(24)}, r"corners: expected 24 integers .* float64"),
        ({"corners": np.full(24, 4)}, r"corners: expected mSASSS scores from 0 to 3"),
        ({"corners": np.full(24, -1)}, r"corners: expected mSASSS scores from 0 to 3"),
        ({"region": "thoracic"}, r"region: expected one of 'cervical', 'lumbar'"),
        ({"sex": "x"}, r"sex: expected one of 'f', 'm'"),
        ({"bmi": 5.0}, r"bmi: expected a number in \[12, 70\]"),
        ({"age": 5.0}, r"age: expected a number in \[16, 110\]"),
        ({"exposure": 0.0}, r"exposure: expected a number"),
        ({"shape": (10, 192)}, r"shape: expected an integer of at least 64"),
        ({"shape": 192}, r"shape: expected two integers"),
        ({"scanner": -1}, r"scanner: expected an integer"),
    ],
)
def test_unusable_parameters_are_refused(change: dict[str, object], message: str) -> None:
    parameters: dict[str, object] = {
        "corners": NORMAL,
        "region": "lumbar",
        "rng": np.random.default_rng(0),
    }
    with pytest.raises(ConfigurationError, match=message):
        render_spine(**(parameters | change))  # type: ignore[arg-type]
