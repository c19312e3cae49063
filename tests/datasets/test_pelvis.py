from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from asfusion.datasets._phantoms.film import fill, smooth_outline
from asfusion.datasets._phantoms.pelvis import PelvisFilm, render_pelvis
from asfusion.datasets._phantoms.pelvis_bones import PelvisLabel
from asfusion.datasets._phantoms.pelvis_lesions import JointLesions, draw_lesions
from asfusion.exceptions import ConfigurationError

N_PATIENTS = 32
SIDES = ((PelvisLabel.RIGHT_SIJ, -1), (PelvisLabel.LEFT_SIJ, 1))


def film_of(patient: int, grade: int) -> PelvisFilm:
    return render_pelvis(
        grades=(grade, grade),
        sex="fm"[patient % 2],
        bmi=20.0 + patient % 12,
        age=25.0 + patient % 40,
        scanner=patient % 4,
        site=patient % 5,
        rng=np.random.default_rng(1000 * patient + grade),
    )


def joint_features(film: PelvisFilm) -> np.ndarray:
    """Mean of both sides: how dark the gap is, and how bright the ilium beside it."""
    sides = []
    pixels = film.pixels.astype(float) / 4095.0
    for label, outward in SIDES:
        dark, dense = [], []
        rows, columns = np.nonzero(film.labels == label)
        low = rows.min() + 0.35 * np.ptp(rows)
        for row in np.unique(rows[rows > low])[:-2]:
            across = columns[rows == row]
            here, outer = pixels[row], int(across.max() if outward > 0 else across.min())
            step = np.arange(3, 6) * outward
            flank = here[outer + np.arange(10, 15) * outward].mean()
            dark.append(flank - here[across].min())
            dense.append(here[outer + step].mean() - flank)
        sides.append((np.mean(dark), np.mean(dense)))
    return np.mean(sides, axis=0)


@cache
def cohort() -> np.ndarray:
    """Features (grade, patient, feature)."""
    return np.array([[joint_features(film_of(p, g)) for p in range(N_PATIENTS)] for g in range(5)])


def auc(lower: np.ndarray, higher: np.ndarray) -> float:
    pairs = higher[:, None] - lower[None, :]
    return float(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


def test_film_has_pixels_labels_and_spacing() -> None:
    film = render_pelvis(grades=(0, 2), shape=(120, 150), rng=np.random.default_rng(0))
    assert film.pixels.shape == film.labels.shape == (120, 150)
    assert film.pixels.dtype == np.uint16
    assert film.labels.dtype == np.uint8
    assert film.pixels.max() <= 4095
    assert np.ptp(film.pixels) > 2000
    assert 2.0 < film.spacing_mm < 3.0


def test_same_stream_gives_same_film_and_another_stream_another() -> None:
    def draw(seed: int) -> PelvisFilm:
        return render_pelvis(grades=(1, 3), rng=np.random.default_rng(seed))

    first, again, other = draw(5), draw(5), draw(6)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.lesions == again.lesions
    assert (first.pixels != other.pixels).mean() > 0.5


@pytest.mark.parametrize("projection", ["ap", "ferguson"])
@pytest.mark.parametrize("grade", [0, 4])
@pytest.mark.parametrize("sex", ["f", "m"])
def test_every_structure_is_labelled(projection: str, grade: int, sex: str) -> None:
    for seed in range(3):
        film = render_pelvis(
            grades=(grade, grade), sex=sex, projection=projection, rng=np.random.default_rng(seed)
        )
        counts = np.bincount(film.labels.ravel(), minlength=len(PelvisLabel))
        assert counts.size == len(PelvisLabel)
        assert counts.min() > 40, PelvisLabel(int(counts.argmin())).name


def test_right_of_the_patient_is_left_on_the_image() -> None:
    for seed in range(10):
        film = render_pelvis(grades=(0, 0), rng=np.random.default_rng(seed))
        column = {label: np.nonzero(film.labels == label)[1].mean() for label in PelvisLabel}
        order = [
            PelvisLabel.RIGHT_FEMUR,
            PelvisLabel.RIGHT_ILIUM,
            PelvisLabel.RIGHT_SIJ,
            PelvisLabel.SACRUM,
            PelvisLabel.LEFT_SIJ,
            PelvisLabel.LEFT_ILIUM,
            PelvisLabel.LEFT_FEMUR,
        ]
        places = [column[label] for label in order]
        assert places == sorted(places)


def test_bone_is_brighter_than_soft_tissue() -> None:
    film = render_pelvis(grades=(0, 0), rng=np.random.default_rng(1))
    sacrum = film.pixels[film.labels == PelvisLabel.SACRUM].mean()
    assert sacrum > 1.3 * film.pixels[film.labels == PelvisLabel.SOFT_TISSUE].mean()


def test_joint_space_fades_and_sclerosis_rises_with_grade() -> None:
    dark, dense = cohort().mean(axis=1).T
    assert np.all(np.diff(dark) < 0.0)
    assert np.all(np.diff(dense[:4]) > 0.0)


def test_fused_joints_separate_from_healthy_and_doubtful_from_mild_do_not() -> None:
    features = cohort()
    assert auc(features[4, :, 0], features[0, :, 0]) > 0.95
    for k, sign in ((0, -1.0), (1, 1.0)):
        assert 0.5 < auc(sign * features[1, :, k], sign * features[2, :, k]) < 0.85


def test_grade_is_drawn_on_its_own_side() -> None:
    gap = []
    for seed in range(8):
        film = render_pelvis(grades=(0, 4), rng=np.random.default_rng(seed))
        again = render_pelvis(grades=(4, 0), rng=np.random.default_rng(seed))
        moved = film.pixels.astype(float) - again.pixels
        gap.append([moved[film.labels == label].mean() for label, _ in SIDES])
    right, left = np.mean(gap, axis=0)
    assert right < -30.0
    assert left > 30.0


def test_given_lesions_are_drawn_and_returned() -> None:
    healthy = JointLesions(erosion=0.0, sclerosis=0.0, width=1.0, ankylosis=0.0)
    dense = JointLesions(erosion=0.0, sclerosis=1.0, width=1.0, ankylosis=0.0)
    films = [
        render_pelvis(grades=(0, 0), lesions=(healthy, x), rng=np.random.default_rng(3))
        for x in (healthy, dense)
    ]
    assert films[1].lesions == (healthy, dense)
    plain, changed = (joint_features(film)[1] for film in films)
    assert changed > plain + 0.02


def test_change_is_what_the_lesions_did_and_lies_at_the_joints() -> None:
    sound = JointLesions(erosion=0.0, sclerosis=0.0, width=1.0, ankylosis=0.0)
    reach = []
    for grade in range(5):
        film = render_pelvis(grades=(grade, 0), rng=np.random.default_rng(grade))
        joints = np.isin(film.labels, (PelvisLabel.RIGHT_SIJ, PelvisLabel.LEFT_SIJ))
        away = ndimage.distance_transform_edt(~joints) * film.spacing_mm
        seen = np.abs(film.change) >= 0.02
        assert away[seen.any(axis=0)].max() < 25.0
        assert not (seen[0] & (film.labels == PelvisLabel.LEFT_SIJ)).any()
        reach.append(seen[0].mean())
    assert reach[3] > 3 * reach[0] and reach[4] > 3 * reach[0]
    healthy = render_pelvis(grades=(3, 3), lesions=(sound, sound), rng=np.random.default_rng(0))
    assert not healthy.change.any()


def test_lesions_follow_the_words_of_the_criteria() -> None:
    rng = np.random.default_rng(0)
    drawn = [[draw_lesions(grade, rng) for _ in range(200)] for grade in range(5)]
    erosion = [np.mean([x.erosion for x in some]) for some in drawn]
    assert erosion[0] < erosion[1] < erosion[2] < erosion[3]
    assert all(x.ankylosis == 0.0 for some in drawn[:3] for x in some)
    assert all(0.0 < x.ankylosis < 0.5 for x in drawn[3])
    assert all(x.ankylosis > 0.9 for x in drawn[4])
    assert max(abs(x.width - 1.0) for x in drawn[2]) < 0.3
    widths = np.array([x.width for x in drawn[3]])
    assert (widths < 0.9).any() and (widths > 1.1).any()


def test_equal_anatomy_gives_equal_bones_at_another_visit() -> None:
    def visit(bones: int, day: int) -> PelvisFilm:
        return render_pelvis(
            grades=(0, 0),
            anatomy=np.random.default_rng(bones),
            rng=np.random.default_rng(day),
        )

    def width(film: PelvisFilm) -> float:
        columns = np.nonzero(np.isin(film.labels, [4, 5]))[1]
        return float(np.ptp(columns)) * film.spacing_mm

    same = np.std([width(visit(1, day)) for day in range(8)])
    between = np.std([width(visit(bones, 1)) for bones in range(8)])
    assert same < between


def test_sex_body_mass_and_scanner_change_the_film() -> None:
    def draw(**change: object) -> PelvisFilm:
        return render_pelvis(grades=(0, 0), rng=np.random.default_rng(2), **change)  # type: ignore[arg-type]

    slim, heavy = draw(bmi=20.0), draw(bmi=40.0)

    def skin(film: PelvisFilm) -> int:
        return int((film.labels == PelvisLabel.SOFT_TISSUE).sum())

    assert skin(heavy) > skin(slim)
    woman, man = draw(sex="f"), draw(sex="m")
    assert (woman.labels != man.labels).mean() > 0.02
    assert (draw(scanner=1).pixels != draw(scanner=2).pixels).mean() > 0.5


def test_less_dose_gives_more_noise() -> None:
    def roughness(exposure: float) -> float:
        film = render_pelvis(grades=(0, 0), exposure=exposure, rng=np.random.default_rng(4))
        inside = film.pixels[60:160, 60:200].astype(float)
        return float(np.diff(inside, axis=1).std())

    assert roughness(0.1) > 1.3 * roughness(4.0)


def test_ferguson_view_shows_a_longer_joint() -> None:
    def length(projection: str) -> float:
        rows = []
        for seed in range(6):
            film = render_pelvis(
                grades=(0, 0), projection=projection, rng=np.random.default_rng(seed)
            )
            rows.append(np.ptp(np.nonzero(film.labels == PelvisLabel.LEFT_SIJ)[0]))
        return float(np.mean(rows))

    assert length("ferguson") > 1.08 * length("ap")


def test_fill_counts_parts_of_pixels() -> None:
    box = np.array([(1.25, 1.0), (4.5, 1.0), (4.5, 3.0), (1.25, 3.0)])
    cover = fill(box, (5, 6))
    np.testing.assert_allclose(cover[1], [0.0, 0.75, 1.0, 1.0, 0.5, 0.0])
    assert cover.sum() == pytest.approx(6.5)
    assert fill(box + 100.0, (5, 6)).sum() == 0.0


def test_smooth_outline_passes_through_its_points() -> None:
    points = np.array([(0.0, 0.0), (4.0, 1.0), (5.0, 6.0), (1.0, 5.0)])
    np.testing.assert_allclose(smooth_outline(points, steps=4)[::4], points)
    np.testing.assert_allclose(smooth_outline(points, closed=False, steps=4)[::4], points)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grades": (5, 0)}, r"grades: expected modified New York grades from 0 to 4, got 5"),
        ({"grades": (-1, 0)}, r"grades: expected an integer of at least 0"),
        ({"grades": (1.5, 0)}, r"grades: expected an integer"),
        ({"grades": (1,)}, r"grades: expected two integers \(right, left\)"),
        ({"grades": 3}, r"grades: expected two integers"),
        ({"sex": "x"}, r"sex: expected one of 'f', 'm'"),
        ({"projection": "lateral"}, r"projection: expected one of 'ap', 'ferguson'"),
        ({"bmi": 5.0}, r"bmi: expected a number in \[12, 70\]"),
        ({"age": 5.0}, r"age: expected a number in \[16, 110\]"),
        ({"exposure": 0.0}, r"exposure: expected a number"),
        ({"shape": (10, 256)}, r"shape: expected an integer of at least 64"),
        ({"shape": (256,)}, r"shape: expected two integers \(height, width\)"),
        ({"scanner": -1}, r"scanner: expected an integer"),
        ({"site": 0.5}, r"site: expected an integer"),
    ],
)
def test_unusable_parameters_are_refused(change: dict[str, object], message: str) -> None:
    parameters: dict[str, object] = {"grades": (0, 0), "rng": np.random.default_rng(0)}
    with pytest.raises(ConfigurationError, match=message):
        render_pelvis(**(parameters | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"erosion": 1.5}, r"erosion: expected a number in \[0, 1\]"),
        ({"sclerosis": -0.1}, r"sclerosis: expected a number in \[0, 1\]"),
        ({"ankylosis": float("nan")}, r"ankylosis: expected a number in \[0, 1\]"),
        ({"width": 0.0}, r"width: expected a number in \[0.1, 4\]"),
    ],
)
def test_lesions_beyond_their_range_are_refused(change: dict[str, float], message: str) -> None:
    strengths = {"erosion": 0.0, "sclerosis": 0.0, "width": 1.0, "ankylosis": 0.0} | change
    with pytest.raises(ConfigurationError, match=message):
        JointLesions(**strengths)


def test_lesions_of_an_unknown_grade_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"grades: expected modified New York grades"):
        draw_lesions(5, np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(64, 64), (224, 128), (300, 500)])
def test_any_shape_and_extreme_patient_gives_a_film(shape: tuple[int, int]) -> None:
    for bmi, age in ((12.0, 110.0), (70.0, 16.0)):
        film = render_pelvis(
            grades=(3, 4), bmi=bmi, age=age, shape=shape, rng=np.random.default_rng(0)
        )
        assert film.pixels.shape == shape
        assert {PelvisLabel.RIGHT_SIJ, PelvisLabel.LEFT_SIJ} <= set(np.unique(film.labels))
