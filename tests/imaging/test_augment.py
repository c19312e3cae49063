"""RadiographAugment: small changes, whole batches, nothing left to chance but the draw."""

from __future__ import annotations

import pytest
import torch

from asfusion.exceptions import ConfigurationError
from asfusion.imaging import RadiographAugment

STILL = {"rotation": 0, "translation": 0, "scale": 0, "brightness": 0, "contrast": 0, "noise": 0}


def picture(n: int = 4, side: int = 65) -> torch.Tensor:
    """Return images with one bright blob, above and left of the middle."""
    grid = torch.arange(side) / side
    blob = torch.exp(-((grid[:, None] - 0.3) ** 2 + (grid[None] - 0.4) ** 2) / 0.005)
    return blob.expand(n, 1, side, side).clone()


def center(images: torch.Tensor) -> torch.Tensor:
    """Return row and column (B, 2) of the centre of mass, as shares of the side."""
    n, side = len(images), images.shape[-1]
    grid = (torch.arange(side) + 0.5) / side
    mass = images[:, 0] / images[:, 0].sum(dim=(1, 2)).reshape(n, 1, 1)
    return torch.stack([(mass.sum(2) * grid).sum(1), (mass.sum(1) * grid).sum(1)], dim=1)


def test_shape_range_and_dtype_are_kept() -> None:
    for dtype in (torch.float32, torch.float64):
        images = torch.rand(3, 3, 48, 64, dtype=dtype)
        augmented = RadiographAugment()(images)
        assert augmented.shape == images.shape
        assert augmented.dtype == dtype
        assert 0.0 <= float(augmented.min()) <= float(augmented.max()) <= 1.0


def test_evaluation_mode_changes_nothing() -> None:
    images = picture()
    assert RadiographAugment().eval()(images) is images


def test_no_strength_changes_nothing() -> None:
    images = picture()
    assert torch.allclose(RadiographAugment(**STILL)(images), images, atol=1e-6)


def test_images_of_a_batch_differ_and_a_seed_repeats() -> None:
    torch.manual_seed(3)
    first = RadiographAugment()(picture())
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(3)
    assert torch.equal(RadiographAugment()(picture()), first)


def test_left_and_right_stay_by_default() -> None:
    torch.manual_seed(0)
    images = picture(200)
    assert float(center(RadiographAugment()(images))[:, 1].max()) < 0.52
    mirrored = center(RadiographAugment(**STILL, flip=0.5)(images))[:, 1] > 0.5
    assert 60 < int(mirrored.sum()) < 140
    assert center(RadiographAugment(**STILL, flip=1.0)(images))[:, 1].min() > 0.55


def test_translation_is_a_share_of_the_side() -> None:
    torch.manual_seed(0)
    moved = center(RadiographAugment(**{**STILL, "translation": 0.1})(picture(300)))
    shift = (moved - center(picture(1))).abs()
    assert 0.09 < float(shift.max()) < 0.105


def test_rotation_is_in_degrees() -> None:
    torch.manual_seed(0)
    turned = center(RadiographAugment(**{**STILL, "rotation": 30})(picture(400))) - 0.5
    start = center(picture(1))[0] - 0.5
    angle = torch.rad2deg(torch.atan2(turned[:, 0], turned[:, 1]) - torch.atan2(*start))
    assert 27 < float(angle.abs().max()) < 31
    assert torch.allclose(turned.norm(dim=1), start.norm().expand(400), atol=0.01)


def test_rotation_keeps_distances_in_oblong_images() -> None:
    torch.manual_seed(0)
    images = torch.zeros(50, 1, 40, 120)
    images[:, :, 18:22, 100:104] = 1.0
    turned = RadiographAugment(**{**STILL, "rotation": 15})(images)
    rows = (torch.arange(40) - 19.5).reshape(1, 40, 1)
    columns = (torch.arange(120) - 59.5).reshape(1, 1, 120)
    mass = turned[:, 0] / turned[:, 0].sum(dim=(1, 2), keepdim=True)
    distance = ((mass * rows).sum((1, 2)) ** 2 + (mass * columns).sum((1, 2)) ** 2).sqrt()
    assert torch.allclose(distance, torch.full((50,), 42.0), atol=0.6)


def test_brightness_contrast_and_noise() -> None:
    torch.manual_seed(0)
    grey = torch.full((200, 1, 8, 8), 0.5)
    lifted = RadiographAugment(**{**STILL, "brightness": 0.2})(grey) - 0.5
    assert 0.18 < float(lifted.abs().max()) <= 0.2 + 1e-6
    assert torch.allclose(RadiographAugment(**{**STILL, "contrast": 0.5})(grey), grey, atol=1e-6)
    noisy = RadiographAugment(**{**STILL, "noise": 0.05})(grey)
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.1)


def test_gradients_pass() -> None:
    images = picture().requires_grad_()
    RadiographAugment()(images).sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize("name", ["rotation", "translation", "scale", "noise", "flip"])
def test_strength_out_of_range(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: expected a number in"):
        RadiographAugment(**{name: -0.1})
    with pytest.raises(ConfigurationError, match=f"{name}: expected a number in"):
        RadiographAugment(**{name: 400.0})
