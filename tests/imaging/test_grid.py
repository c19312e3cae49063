"""A volume of any spacing onto a fixed grid, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asfusion.exceptions import ConfigurationError, ShapeError
from asfusion.imaging import RadiographAugment, StackAugment, mirror_sides
from asfusion.imaging.volumes.grid import Grid, to_eight_bits, window_of

extents = st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
steps = st.tuples(*[st.floats(0.3, 6.0)] * 3)


@given(extents, steps, extents, st.none() | steps, st.integers(0, 5))
def test_means_of_constants_and_sums_of_shares_are_kept(old, step, new, spacing, seed):
    grid = Grid.over(old, step, shape=new, spacing=spacing)
    sampled = grid.sample(np.full(old, 7.0))
    inside = [w.sum(axis=1) > 0 for w in grid.axes]
    np.testing.assert_allclose(sampled[np.ix_(*inside)], 7.0, rtol=1e-5)
    values = np.random.default_rng(seed).normal(size=new)
    spread = grid.spread(values)
    assert spread.shape == old
    np.testing.assert_allclose(spread.sum(), values.sum(), rtol=1e-9, atol=1e-9)


def test_a_point_is_found_where_it_is_in_mm():
    volume = np.zeros((10, 40, 60))
    volume[7, 30, 15] = 1.0
    # 10 slices of 4 mm, 40 x 60 pixels of 2 x 1 mm, onto cubes of 2 mm.
    grid = Grid.over(volume.shape, (4.0, 2.0, 1.0), shape=(20, 40, 40), spacing=(2.0, 2.0, 2.0))
    found = grid.sample(volume)
    z, y, x = np.unravel_index(found.argmax(), found.shape)
    place_old = [(7 - 4.5) * 4, (30 - 19.5) * 2, (15 - 29.5) * 1]
    place_new = [(z - 9.5) * 2, (y - 19.5) * 2, (x - 19.5) * 2]
    assert np.abs(np.subtract(place_old, place_new)).max() <= 1.5
    back = grid.spread(found)
    assert np.unravel_index(back.argmax(), back.shape) == (7, 30, 15)


def test_the_plane_keeps_its_proportions_in_mm():
    grid = Grid.over((4, 50, 100), (5.0, 2.0, 1.0), shape=(4, 32, 32))
    covered = grid.sample(np.ones((4, 50, 100)))[0] > 0.5
    assert covered.all()  # 100 mm by 100 mm
    narrow = Grid.over((4, 50, 100), (5.0, 1.0, 1.0), shape=(4, 32, 32))
    rows = (narrow.sample(np.ones((4, 50, 100)))[0] > 0.5).any(axis=1)
    assert rows.sum() == 16


def test_grey_values_and_windows():
    values = np.array([np.nan, -5.0, 0.0, 50.0, 100.0, 1e9, np.inf])
    assert to_eight_bits(values, (0.0, 100.0)).tolist() == [0, 0, 0, 128, 255, 255, 255]
    empty = np.array([False] * 6 + [True])
    assert to_eight_bits(np.full(7, 100.0), (0.0, 100.0), empty)[-1] == 0
    ramp = np.arange(1000.0)
    low, high = window_of(np.append(ramp, np.nan))
    assert 4 <= low <= 6 and 993 <= high <= 995
    assert window_of(np.array([np.nan])) == (0.0, 1.0)


# -- augmentation of stacks ----------------------------------------------------------------


def blob(n=4):
    """A bright spot in the right upper part of each slice."""
    stacks = torch.zeros(n, 2, 3, 64, 64)
    stacks[..., 14:22, 10:18] = 1.0
    return stacks


def test_slices_of_a_patient_move_alike_and_stay_the_right_way_up():
    torch.manual_seed(0)
    moved = StackAugment(noise=0.0, shading=0.0, brightness=0.0, contrast=0.0)(blob(32))
    for patient in moved:
        assert torch.equal(patient[0, 0], patient[1, 2])
        y, x = (torch.nonzero(patient[0, 0] > 0.5).float().mean(dim=0)).tolist()
        assert y < 32 and x < 32, "neither turned over nor mirrored"
    assert not torch.equal(moved[0], moved[1])


def test_shading_is_a_smooth_ramp_within_its_strength():
    torch.manual_seed(0)
    augment = StackAugment(0, 0, 0, 0, 0, 0, shading=0.2)
    shaded = augment(torch.full((3, 1, 2, 16, 16), 0.5))
    assert float((shaded - 0.5).abs().max()) <= 0.5 * 0.4 + 1e-6
    assert float(shaded.diff(dim=-1).diff(dim=-1).abs().max()) < 1e-6
    assert float((shaded - 0.5).abs().max()) > 0.01


@pytest.mark.parametrize("augment", [RadiographAugment(), StackAugment()])
def test_a_view_is_the_same_for_all_rows_and_at_all_times(augment):
    images = blob() if isinstance(augment, StackAugment) else blob().flatten(1, 2)
    assert torch.equal(augment.view(images, 0), images)
    first, again = augment.view(images, 3), augment.view(images[:1], 3)
    assert torch.allclose(first[:1], again, atol=1e-6)
    assert torch.equal(first[0], first[1])
    assert not torch.allclose(first, images)
    assert not torch.allclose(first, augment.view(images, 4))


def test_strengths_are_checked():
    with pytest.raises(ConfigurationError, match="shading"):
        StackAugment(shading=2.0)


def test_mirroring_exchanges_sides_in_image_and_target_alike():
    targets = torch.tensor([[0, 3, 7], [2, 1, 9]])
    image, swapped = mirror_sides(blob(2), targets, pairs=[(0, 1)])
    assert torch.nonzero(image[0, 0, 0] > 0)[:, 1].min() > 32
    assert swapped.tolist() == [[3, 0, 7], [1, 2, 9]]
    twice = mirror_sides(image, swapped, pairs=[(0, 1)])
    assert torch.equal(twice[0], blob(2)) and torch.equal(twice[1], targets)
    assert mirror_sides(image)[1] is None
    with pytest.raises(ShapeError, match=r"expected columns of the 3 target\(s\), got \(0, 3\)"):
        mirror_sides(image, targets, pairs=[(0, 3)])
