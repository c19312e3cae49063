"""render_mri: what a reader of sacroiliac MRI looks for is there, where it was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asfusion.datasets._phantoms.mri import QUADRANTS, SacroiliacMRI, render_mri
from asfusion.datasets._phantoms.mri_canvas import MriLabel
from asfusion.exceptions import ConfigurationError, ShapeError

BONES = (MriLabel.SACRUM, MriLabel.ILIUM_RIGHT, MriLabel.ILIUM_LEFT)
LESIONS = (MriLabel.OEDEMA, MriLabel.FAT_LESION, MriLabel.EROSION)


def render(seed: int = 0, **changes: Any) -> SacroiliacMRI:
    """Return a stack without lesions, or with what `changes` say."""
    settings: dict[str, Any] = {
        "oedema": np.zeros(8),
        "fat": np.zeros(8),
        "erosion": np.zeros(2),
        "sex": "male",
        "bmi": 24.0,
        "age": 32.0,
        "site": "A",
        "scanner": "MR 1",
        "rng": np.random.default_rng(seed),
    }
    return render_mri(**(settings | changes))


def only(quadrant: int, amount: float = 0.8) -> np.ndarray:
    amounts = np.zeros(8)
    amounts[quadrant] = amount
    return amounts


def mean_at(signal: np.ndarray, where: np.ndarray) -> float:
    assert where.sum() >= 8
    return float(signal[where].astype(float).mean())


def test_stack_holds_both_weightings_labels_and_spacing() -> None:
    stack = render()
    assert stack.stir.shape == stack.t1.shape == stack.labels.shape == (12, 96, 96)
    assert stack.stir.dtype == stack.t1.dtype == np.uint16
    assert stack.labels.dtype == np.uint8
    assert max(stack.stir.max(), stack.t1.max()) < 2**12
    assert stack.spacing_mm == (4.0, 1.875, 1.875)


def test_shape_changes_voxels_and_not_the_body() -> None:
    coarse, sharp = render(shape=(8, 64, 80)), render(shape=(16, 128, 128))
    assert coarse.stir.shape == (8, 64, 80)
    for label in BONES:
        litres = [
            (stack.labels == label).sum() * np.prod(stack.spacing_mm) for stack in (coarse, sharp)
        ]
        assert litres[0] == pytest.approx(litres[1], rel=0.15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sex", ["female", "male"])
def test_anatomy_is_in_order(seed: int, sex: str) -> None:
    labels = render(seed, sex=sex).labels
    column = {
        label: np.argwhere(labels == label)[:, 2].mean() for label in MriLabel if label in labels
    }
    # The patient's right is on the image's left.
    assert (
        column[MriLabel.ILIUM_RIGHT]
        < column[MriLabel.JOINT_RIGHT]
        < column[MriLabel.SACRUM]
        < column[MriLabel.JOINT_LEFT]
        < column[MriLabel.ILIUM_LEFT]
    )
    assert not np.isin(labels, LESIONS).any()


def test_equal_streams_give_equal_stacks() -> None:
    first, again, other = render(3), render(3), render(4)
    assert np.array_equal(first.stir, again.stir)
    assert np.array_equal(first.t1, again.t1)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


# -- lesions ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oedema", "fat"])
@pytest.mark.parametrize("quadrant", range(8), ids=QUADRANTS)
def test_lesion_is_in_its_quadrant(quadrant: int, kind: str) -> None:
    healthy = render(1)
    label = MriLabel.OEDEMA if kind == "oedema" else MriLabel.FAT_LESION
    found = render(1, **{kind: only(quadrant)}).labels == label
    assert found.sum() >= 15
    side, half, bone = QUADRANTS[quadrant].split()
    ilium = MriLabel.ILIUM_RIGHT if side == "right" else MriLabel.ILIUM_LEFT
    was = healthy.labels[found]
    assert (was == (ilium if bone == "ilium" else MriLabel.SACRUM)).mean() > 0.85
    joint = MriLabel.JOINT_RIGHT if side == "right" else MriLabel.JOINT_LEFT
    rows = np.argwhere(healthy.labels == joint)[:, 1]
    columns = np.argwhere(healthy.labels == MriLabel.SACRUM)[:, 2]
    _, row, column = np.argwhere(found).mean(axis=0)
    assert (row < (rows.min() + rows.max()) / 2) == (half == "upper")
    assert (column < columns.mean()) == (side == "right")


@pytest.mark.parametrize("seed", range(3))
def test_oedema_is_bright_on_stir_and_dark_on_t1(seed: int) -> None:
    healthy, ill = render(seed), render(seed, oedema=np.full(8, 0.6))
    where = ill.labels == MriLabel.OEDEMA
    assert mean_at(ill.stir, where) > 1.8 * mean_at(healthy.stir, where)
    assert mean_at(ill.t1, where) < 0.85 * mean_at(healthy.t1, where)


@pytest.mark.parametrize("seed", range(3))
def test_fat_is_bright_on_t1_and_dark_on_stir(seed: int) -> None:
    healthy, ill = render(seed), render(seed, fat=np.full(8, 0.6))
    where = ill.labels == MriLabel.FAT_LESION
    assert mean_at(ill.t1, where) > 1.2 * mean_at(healthy.t1, where)
    assert mean_at(ill.stir, where) < 0.9 * mean_at(healthy.stir, where)


def test_lesions_change_nothing_far_from_the_joints() -> None:
    healthy = render(2)
    ill = render(2, oedema=np.ones(8), fat=np.ones(8), erosion=np.ones(2))
    columns = np.argwhere(np.isin(healthy.labels, (MriLabel.JOINT_RIGHT, MriLabel.JOINT_LEFT)))[
        :, 2
    ]
    middle = slice(int(columns.mean()) - 6, int(columns.mean()) + 7)
    assert np.array_equal(healthy.stir[..., middle], ill.stir[..., middle])
    assert not np.array_equal(healthy.stir, ill.stir)


@pytest.mark.parametrize(("kind", "label"), [("oedema", 6), ("fat", 7)])
def test_more_of_a_lesion_fills_more_voxels(kind: str, label: int) -> None:
    sizes = [
        int((render(5, **{kind: np.full(8, amount)}).labels == label).sum())
        for amount in (0.0, 0.2, 0.4, 0.7, 1.0)
    ]
    assert sizes[0] == 0
    assert sizes == sorted(set(sizes))


def test_erosion_eats_into_the_bone_of_its_joint() -> None:
    healthy = render(6)
    sizes = []
    for amount in (0.3, 0.6, 1.0):
        where = render(6, erosion=[amount, 0.0]).labels == MriLabel.EROSION
        sizes.append(int(where.sum()))
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    columns = np.argwhere(healthy.labels == MriLabel.SACRUM)[:, 2]
    assert np.argwhere(where)[:, 2].max() < columns.mean()
    was = healthy.labels[where]
    assert np.isin(was, (MriLabel.SACRUM, MriLabel.ILIUM_RIGHT, MriLabel.JOINT_RIGHT)).all()
    assert (was != MriLabel.JOINT_RIGHT).mean() > 0.2


def test_erosion_roughens_the_dark_line_on_t1() -> None:
    healthy, ill = render(7), render(7, erosion=np.ones(2))
    where = ill.labels == MriLabel.EROSION
    assert mean_at(ill.t1, where) < 0.8 * mean_at(healthy.t1, where)


def test_nonspecific_oedema_is_small_and_only_there_when_asked_for() -> None:
    sizes = [
        int((render(seed, nonspecific=1.0).labels == MriLabel.OEDEMA).sum()) for seed in range(5)
    ]
    assert min(sizes) > 0
    assert max(sizes) < 0.5 * (render(0, oedema=np.ones(8)).labels == MriLabel.OEDEMA).sum() / 8
    assert MriLabel.OEDEMA not in render(0).labels


def test_healthy_stacks_have_bright_vessels_on_stir() -> None:
    stack = render(8)
    marrow = np.isin(stack.labels, BONES)
    limit = 2.5 * mean_at(stack.stir, marrow)
    assert (stack.stir[stack.labels == MriLabel.OTHER] > limit).sum() > 50


# -- patient and scanner ---------------------------------------------------------------


def test_marrow_of_the_old_is_fattier() -> None:
    young, old = render(9, age=20.0), render(9, age=75.0)
    marrow = young.labels == MriLabel.SACRUM
    assert mean_at(old.t1, marrow) > 1.1 * mean_at(young.t1, marrow)
    assert mean_at(old.stir, marrow) < 0.95 * mean_at(young.stir, marrow)


def test_larger_body_gives_more_noise() -> None:
    def noise(stack: SacroiliacMRI) -> float:
        values = stack.stir.astype(float)
        return float(
            np.abs(np.diff(values, axis=2))[stack.labels[..., 1:] == MriLabel.SACRUM].mean()
        )

    assert noise(render(10, bmi=45.0)) > 1.1 * noise(render(10, bmi=22.0))


def test_pelvis_differs_by_sex() -> None:
    female, male = render(11, sex="female"), render(11, sex="male")
    widths = []
    for stack in (female, male):
        columns = np.argwhere(stack.labels == MriLabel.SACRUM)[:, 2]
        widths.append(columns.max() - columns.min())
    assert widths[0] > widths[1]


def test_scanner_changes_contrast_and_not_anatomy() -> None:
    stacks = [render(12, scanner=name) for name in ("MR 1", "MR 2", "MR 3")]
    assert all(np.array_equal(stacks[0].labels, other.labels) for other in stacks[1:])
    contrast = {
        round(mean_at(s.stir, s.labels == 0) / mean_at(s.stir, s.labels == 1), 3) for s in stacks
    }
    assert len(contrast) == 3
    assert not np.array_equal(stacks[0].stir, render(12, site="B").stir)


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oedema": np.zeros(4)}, r"oedema: expected 8 amounts, got an array of shape \(4,\)"),
        ({"fat": np.zeros((2, 4))}, "fat: expected 8 amounts"),
        ({"erosion": 0.5}, "erosion: expected 2 amounts"),
    ],
)
def test_amounts_of_another_shape_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        render(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oedema": np.full(8, 1.1)}, "oedema: expected amounts from 0 to 1"),
        ({"fat": np.full(8, np.nan)}, "fat: expected amounts from 0 to 1"),
        ({"erosion": [-0.1, 0.0]}, "erosion: expected amounts from 0 to 1"),
        ({"nonspecific": 2.0}, "nonspecific: expected a number in"),
        ({"sex": "M"}, "sex: expected one of"),
        ({"bmi": 5.0}, "bmi: expected a number in"),
        ({"age": -1.0}, "age: expected a number in"),
        ({"site": ""}, "site: expected a name"),
        ({"scanner": 3}, "scanner: expected a name, got int"),
        ({"shape": (12, 96)}, "shape: expected slices, rows and columns, got 2 numbers"),
        ({"shape": (1, 96, 96)}, "shape: expected an integer of at least 4"),
        ({"shape": (12, 96, 16)}, "shape: expected an integer of at least 32"),
    ],
)
def test_unusable_parameters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        render(**changes)
