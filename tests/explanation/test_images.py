import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import nn

from asfusion.exceptions import AsfusionWarning, ConfigurationError, InputError, ShapeError
from asfusion.explanation.images import ImageAttribution, to_original
from asfusion.explanation.pixels import attribute_image
from asfusion.imaging.read import read_image
from asfusion.nn.image import CompactCNN

METHODS = ("integrated_gradients", "grad_cam", "occlusion")


class Score(nn.Module):
    """A network with a linear score on the mean of its feature map."""

    def __init__(self, body, d_out, seed=0):
        super().__init__()
        self.body = body
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("weights", torch.randn(d_out, generator=generator))

    def forward(self, images):
        return self.body(images).flatten(2).mean(dim=2) @ self.weights.to(images.dtype)


def small_network(seed=0):
    torch.manual_seed(seed)
    return Score(CompactCNN(widths=(8, 8, 8, 16)), 16).eval()


class Bright(nn.Module):
    """A network that adds up what is brighter than 0.6, in 2-D or 3-D."""

    def __init__(self, n_axes=2):
        super().__init__()
        convolution = nn.Conv2d if n_axes == 2 else nn.Conv3d
        self.pool = (nn.AvgPool2d if n_axes == 2 else nn.AvgPool3d)(4)
        self.layer = nn.Sequential(convolution(1, 2, 1), nn.ReLU())
        with torch.no_grad():
            self.layer[0].weight[:] = 1.0
            self.layer[0].bias[:] = -0.6

    def forward(self, images):
        return self.layer(self.pool(images)).flatten(1).sum(dim=1)


def noise(*shape, seed=0, top=0.5):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * top


def planted(n_axes=2, extent=32):
    image = noise(1, *[extent] * n_axes)
    place = (slice(None), *[slice(8, 16)] * n_axes)
    image[place] = 1.0
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[place] = True
    return image, mask[0].numpy()


def attribution(shape=(6, 8), **more):
    values = np.random.default_rng(0).normal(size=shape)
    return ImageAttribution(values, np.full(shape, 0.5), "integrated_gradients", **more)


# -- methods ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 9, 7), (1, 3, 5, 4)])
def test_integrated_gradients_of_a_linear_model_are_its_terms(shape):
    image, weights = noise(*shape, top=1.0).double(), noise(*shape, seed=1).double() - 0.25
    result = attribute_image(
        lambda images: (images * weights).flatten(1).sum(dim=1), image, baseline="black"
    )
    np.testing.assert_allclose(result.values, (image * weights).sum(dim=0), atol=1e-8)
    assert result.gap == pytest.approx(0.0, abs=1e-7)
    np.testing.assert_allclose(result.image, image.mean(dim=0))


@pytest.mark.parametrize("baseline", ["blur", "black", "mean"])
def test_integrated_gradients_of_a_network_add_up(baseline):
    network, image = small_network().double(), noise(1, 48, 48, top=1.0).double()
    result = attribute_image(
        lambda images: 20.0 * network(images), image, baseline=baseline, n_steps=512, batch_size=64
    )
    assert result.gap == pytest.approx(0.0, abs=1e-4)
    assert abs(result.total) > 1e-2


def test_the_gap_is_what_is_missing_of_the_expected_difference():
    image = noise(1, 4, 4)
    result = attribute_image(
        lambda images: images.flatten(1).sum(dim=1),
        image,
        baseline="black",
        expected_difference=5.0,
    )
    assert result.gap == pytest.approx(5.0 - float(image.sum()), abs=1e-5)


def test_steps_and_batches_do_not_change_integrated_gradients():
    network, image = small_network(), noise(1, 32, 32)
    one = attribute_image(network, image, batch_size=3)
    other = attribute_image(network, image, batch_size=32)
    again = attribute_image(network, image, batch_size=32)
    np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    np.testing.assert_array_equal(other.values, again.values)


def test_smoothgrad_without_noise_is_integrated_gradients():
    network, image = small_network(), noise(1, 32, 32)
    plain = attribute_image(network, image)
    still = attribute_image(network, image, method="smoothgrad", noise=0.0)
    np.testing.assert_array_equal(still.values, plain.values)
    assert plain.gap is not None
    assert still.gap is None  # it promises no sum


def test_the_noise_of_smoothgrad_is_the_same_in_every_batch_and_run():
    network, image = small_network(), noise(1, 32, 32)
    one = attribute_image(network, image, method="smoothgrad", noise=0.1, batch_size=3)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    other = attribute_image(network, image, method="smoothgrad", noise=0.1, batch_size=32)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    plain = attribute_image(network, image)
    assert np.abs(one.values - plain.values).max() > 1e-3 * np.abs(plain.values).max()


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_planted_square_is_found(method, n_axes):
    image, mask = planted(n_axes)
    network = Bright(n_axes)
    result = attribute_image(
        network,
        image,
        method=method,
        baseline="black",
        layer=network.layer,
        window=8,
        stride=4 if n_axes == 2 else 8,
        n_steps=8,
    )
    assert result.values.shape == mask.shape
    # A map upsampled from blocks of four pixels leaks over the edge of the square.
    assert result.top_share(mask, 0.5) > 0.8
    assert result.values[~mask].mean() < 0.1 * result.values[mask].mean()


def test_occlusion_of_a_linear_model_is_exact_where_windows_tile_the_image():
    image = noise(3, 8, 8).double()
    result = attribute_image(
        lambda images: images.flatten(1).sum(dim=1),
        image,
        method="occlusion",
        baseline="black",
        window=4,
        stride=4,
        batch_size=3,
    )
    assert result.total == pytest.approx(float(image.sum()))
    assert result.gap is None
    block = image[:, :4, 4:].sum() / 16
    np.testing.assert_allclose(result.values[:4, 4:], float(block))


def test_occlusion_windows_shrink_to_a_flat_volume():
    result = attribute_image(
        lambda images: images.flatten(1).sum(dim=1),
        torch.ones(1, 2, 8, 8),
        method="occlusion",
        baseline="black",
        window=4,
        stride=4,
    )
    np.testing.assert_allclose(result.values, np.ones((2, 8, 8)), atol=1e-6)


def test_occlusion_needs_no_gradient():
    def forward(images):
        return torch.from_numpy(images.numpy().sum(axis=(1, 2, 3)))

    result = attribute_image(forward, torch.ones(1, 8, 8), method="occlusion", window=4, stride=4)
    assert result.total == 0.0  # a blurred constant is the constant


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_grad_cam_is_signed_and_adds_up_to_the_change_of_the_output(sign):
    image, mask = planted()
    network = Bright()
    result = attribute_image(
        lambda images: sign * network(images),
        image,
        method="grad_cam",
        baseline="black",
        layer=network.layer,
    )
    with torch.no_grad():
        change = float(sign * (network(image[None]) - network(torch.zeros_like(image)[None])))
    assert result.total == pytest.approx(change, rel=1e-6)
    assert result.gap is None
    assert np.sign(result.values[mask]).min() == np.sign(result.values[mask]).max() == sign


def test_grad_cam_keeps_its_signs_where_the_output_moved_the_other_way():
    image, mask = planted()
    network = Bright()
    with pytest.warns(AsfusionWarning, match="points against the change"):
        result = attribute_image(
            network, image, method="grad_cam", layer=network.layer, expected_difference=-1.0
        )
    assert result.total == pytest.approx(-1.0)
    assert result.values[mask].mean() > result.values[~mask].mean()
    assert result.values.max() > 0 > result.values.min()


def test_grad_cam_reads_a_layer_that_is_changed_in_place_afterwards():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True))
    image = noise(1, 16, 16, top=1.0)
    result = attribute_image(
        lambda images: network(images).flatten(1).mean(dim=1) + images.flatten(1).sum(dim=1),
        image,
        method="grad_cam",
        baseline="black",
        layer=network[1],
    )
    assert np.isfinite(result.values).all()
    with torch.no_grad():
        change = image.sum() + network(image[None]).mean() - network(0 * image[None]).mean()
    assert result.total == pytest.approx(float(change), rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_network_gives_zeros(method):
    layer = nn.Conv2d(1, 2, 3)
    result = attribute_image(
        lambda images: 3.0 + 0.0 * layer(images).flatten(1).sum(dim=1),
        noise(1, 16, 16),
        method=method,
        layer=layer,
        window=8,
    )
    np.testing.assert_array_equal(result.values, np.zeros((16, 16)))
    assert math.isnan(result.top_share(np.ones((16, 16), dtype=bool)))


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_found_inside_a_block_that_turns_them_off(method, guard):
    network, image = small_network(), noise(1, 32, 32)
    options = {"method": method, "layer": network.body.last_block(), "baseline": "black"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsfusionWarning)
        outside = attribute_image(network, image, **options)
        with guard():
            inside = attribute_image(network, image, **options)
    np.testing.assert_allclose(inside.values, outside.values, atol=1e-6)


def test_weights_and_image_stay_as_they_were():
    network, image = small_network(), noise(1, 32, 32)
    before = image.clone()
    attribute_image(network, image)
    assert torch.equal(image, before)
    assert not image.requires_grad
    assert all(weight.grad is None for weight in network.parameters())


# -- baselines -------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("baseline", ["blur", "mean"])
def test_the_black_margin_takes_no_part(baseline, method):
    image = torch.zeros(1, 16, 16)
    image[:, :, 4:12] = noise(1, 16, 8) + 0.1
    image[:, 4:8, 6:9] = 1.0
    layer = nn.AvgPool2d(4)
    seen = []

    def forward(images):
        seen.append(images.detach().clone())
        return layer(images).pow(2).flatten(1).sum(dim=1)

    result = attribute_image(
        forward, image, baseline=baseline, method=method, layer=layer, window=6, stride=3
    )
    assert seen[1][0, 0, :, 4:12].min() > 0
    np.testing.assert_array_equal(result.values[:, :4], 0.0)
    np.testing.assert_array_equal(result.values[:, 12:], 0.0)
    assert np.abs(result.values[:, 4:12]).max() > 0


def test_mean_and_blur_keep_the_mean_of_each_channel():
    image = noise(3, 12, 10)
    seen = []

    def forward(images):
        seen.append(images.detach().clone())
        return images.flatten(1).sum(dim=1)

    attribute_image(forward, image, baseline="mean")
    torch.testing.assert_close(seen[1][0].mean(dim=(1, 2)), image.mean(dim=(1, 2)))
    assert seen[1][0].std(dim=(1, 2)).max() < 1e-6
    attribute_image(forward, torch.full((1, 9, 4), 0.3), baseline="blur")
    torch.testing.assert_close(seen[-1][0], torch.full((1, 9, 4), 0.3))


def test_a_black_image_has_nothing_to_attribute():
    result = attribute_image(small_network(), torch.zeros(1, 32, 32))
    assert result.total == 0.0


def test_a_baseline_may_be_another_image():
    image, other = noise(1, 8, 8), noise(1, 8, 8, seed=3)
    result = attribute_image(
        lambda images: images.flatten(1).sum(dim=1), image, baseline=other.double()
    )
    np.testing.assert_allclose(result.values, (image - other)[0], atol=1e-6)


# -- errors of methods -----------------------------------------------------------------


def first(images):
    return images.flatten(1).sum(dim=1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "gradcam"}, r"method: expected one of .*Did you mean 'grad_cam'"),
        ({"method": "grad_cam"}, r"layer: method='grad_cam' expected the module"),
        ({"baseline": "white"}, r"baseline: expected one of 'blur'"),
        ({"n_steps": 0}, r"n_steps: expected an integer of at least 1"),
        ({"method": "smoothgrad", "noise": -0.1}, r"noise: expected a number .*got -0.1"),
        ({"batch_size": 1.5}, r"batch_size: expected an integer"),
        ({"method": "occlusion", "window": 4, "stride": 5}, r"stride: expected at most window=4"),
        ({"expected_difference": math.nan}, r"expected_difference: expected a number"),
    ],
)
def test_unusable_parameters_are_named(options, match):
    with pytest.raises(ConfigurationError, match=match):
        attribute_image(first, torch.ones(1, 8, 8), **options)


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        (torch.ones(8, 8), ShapeError, r"image: expected one tensor .*got \(8, 8\)"),
        (np.ones((1, 8, 8)), ShapeError, r"image: expected one tensor .*got ndarray"),
        (torch.ones(1, 8, 8, dtype=torch.uint8), InputError, r"got torch.uint8. Divide by 255"),
        (torch.full((1, 8, 8), 7.5), InputError, r"image: expected pixels from 0 to 1"),
        (torch.full((1, 8, 8), math.nan), InputError, r"image: expected pixels from 0 to 1"),
    ],
)
def test_unusable_images_are_refused(image, error, match):
    with pytest.raises(error, match=match) as caught:
        attribute_image(first, image)
    assert "7.5" not in str(caught.value)


@pytest.mark.parametrize(
    ("baseline", "error", "match"),
    [
        (torch.ones(1, 4, 4), ShapeError, r"baseline: expected the shape of the image"),
        (torch.full((1, 8, 8), math.inf), InputError, r"baseline: expected finite pixels"),
    ],
)
def test_unusable_baselines_are_refused(baseline, error, match):
    with pytest.raises(error, match=match):
        attribute_image(first, torch.ones(1, 8, 8), baseline=baseline)


@pytest.mark.parametrize(
    ("forward", "error", "match"),
    [
        (lambda images: images.flatten(1), ShapeError, r"forward: .*\(1,\).*got \(1, 64\)"),
        (lambda images: [1.0], ShapeError, r"forward: .*got list"),
        (lambda images: first(images) / 0, InputError, r"forward: expected finite outputs"),
        (lambda images: first(images.detach()), ConfigurationError, r"detaches its input"),
        (
            lambda images: first(images.detach()) * nn.Parameter(torch.ones(1)),
            ConfigurationError,
            r"forward: .*for integrated gradients",
        ),
    ],
)
def test_unusable_functions_are_refused(forward, error, match):
    with pytest.raises(error, match=match):
        attribute_image(forward, torch.ones(1, 8, 8))


def test_an_error_of_the_function_stays_its_own():
    def forward(images):
        if images.requires_grad:
            raise KeyError("mine")
        return first(images)

    with pytest.raises(KeyError, match="mine"):
        attribute_image(forward, torch.ones(1, 8, 8))


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(context, images):
        return images.flatten(1).sum(dim=1)

    @staticmethod
    def backward(context, gradient):
        raise RuntimeError("not written")


def test_a_failure_between_captum_and_the_function_is_explained():
    with pytest.raises(ConfigurationError, match="a forward that captum can explain") as caught:
        attribute_image(NoWayBack.apply, torch.ones(1, 8, 8))
    assert "not written" in str(caught.value.__cause__)


def test_warnings_of_the_function_stay_its_own():
    def forward(images):
        warnings.warn("old weights", DeprecationWarning, stacklevel=1)
        return first(images)

    with pytest.warns(DeprecationWarning, match="old weights"):
        attribute_image(forward, torch.ones(1, 8, 8))


def test_warnings_of_captum_come_in_the_words_of_the_library(monkeypatch):
    from captum.attr import IntegratedGradients

    original = IntegratedGradients.attribute

    def warns(self, *arguments, **options):
        place = IntegratedGradients.attribute.__globals__["captum_file"]
        warnings.warn_explicit("too few steps", UserWarning, place, 1)
        return original(self, *arguments, **options)

    monkeypatch.setitem(warns.__globals__, "captum_file", original.__code__.co_filename)
    monkeypatch.setattr(IntegratedGradients, "attribute", warns)
    with pytest.warns(AsfusionWarning, match="captum reports: too few steps"):
        attribute_image(first, torch.ones(1, 8, 8))


@pytest.mark.parametrize(
    ("layer", "forward", "error", "match"),
    [
        (nn.Conv2d(1, 1, 1), None, ConfigurationError, r"it runs 0 times"),
        ("conv", "twice", ConfigurationError, r"it runs 2 times"),
        (
            "flat",
            "flat",
            ShapeError,
            r"layer: expected a feature map \(1, D, h, w\).*got \(1, 64\)",
        ),
        ("conv", "detached", ConfigurationError, r"forward: .*method='grad_cam'"),
    ],
)
def test_unusable_layers_are_refused(layer, forward, error, match):
    parts = {"conv": nn.Conv2d(1, 1, 1), "flat": nn.Flatten()}
    functions = {
        None: first,
        "twice": lambda images: first(parts["conv"](parts["conv"](images))),
        "flat": lambda images: parts["flat"](images).sum(dim=1),
        "detached": lambda images: first(parts["conv"](images)).detach(),
    }
    with pytest.raises(error, match=match):
        attribute_image(
            functions[forward],
            torch.ones(1, 8, 8),
            method="grad_cam",
            layer=parts.get(layer, layer) if isinstance(layer, str) else layer,
        )


# -- geometry --------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 40),
    rows=st.integers(1, 90),
    columns=st.integers(1, 90),
    aspect=st.floats(0.2, 5.0),
    seed=st.integers(0, 1000),
)
def test_mapping_back_keeps_the_sum(size, rows, columns, aspect, seed):
    values = np.random.default_rng(seed).normal(size=(size, size))
    mapped = to_original(values, size=size, original_shape=(rows, columns), aspect=aspect)
    assert mapped.shape == (rows, columns)
    assert mapped.sum() == pytest.approx(values.sum(), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(4, 40), rows=st.integers(4, 90), columns=st.integers(4, 90))
def test_what_is_the_same_everywhere_stays_so(size, rows, columns):
    mapped = to_original(np.ones((size, size)), size=size, original_shape=(rows, columns))
    np.testing.assert_allclose(mapped, size * size / (rows * columns))


def test_mapping_back_puts_a_mark_where_the_reader_took_it_from(tmp_path):
    from PIL import Image

    pixels = np.zeros((60, 24), dtype=np.uint8)
    pixels[30:40, 4:12] = 255
    Image.fromarray(pixels).save(tmp_path / "film.png")
    seen = read_image(tmp_path / "film.png", size=32)[0] / 255.0
    mapped = to_original(seen, size=32, original_shape=(60, 24))
    rows, columns = np.indices(mapped.shape)
    assert np.average(rows, weights=mapped) == pytest.approx(34.5, abs=0.5)
    assert np.average(columns, weights=mapped) == pytest.approx(7.5, abs=0.5)
    assert mapped[pixels > 0].sum() > 0.8 * mapped.sum()


def test_volumes_are_mapped_slice_by_slice():
    volume = np.random.default_rng(0).normal(size=(3, 8, 8))
    mapped = to_original(volume, size=8, original_shape=(5, 9))
    for one, plane in zip(mapped, volume, strict=True):
        np.testing.assert_allclose(one, to_original(plane, size=8, original_shape=(5, 9)))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"size": 7}, ShapeError, r"values: expected maps of 7 x 7 pixels, got shape \(8, 8\)"),
        ({"size": 0}, ConfigurationError, r"size: expected an integer of at least 1"),
        ({"original_shape": (4, 0)}, ConfigurationError, r"original_shape: expected an integer"),
        ({"original_shape": (4, 4, 1)}, ConfigurationError, r"expected rows and columns, got 3"),
        ({"aspect": 0.0}, ConfigurationError, r"aspect: expected a number"),
    ],
)
def test_unusable_geometry_is_refused(options, error, match):
    with pytest.raises(error, match=match):
        to_original(np.ones((8, 8)), **{"size": 8, "original_shape": (4, 4), **options})


def test_an_attribution_goes_back_to_its_file_with_its_picture():
    square = np.zeros((8, 8))
    square[:, 2:6] = 0.5  # a film of 16 x 8 pixels
    result = ImageAttribution(square, square, "occlusion", unit="points")
    back = result.at_original((16, 8), spacing_mm=(0.2, 0.2))
    assert back.total == pytest.approx(result.total)
    assert (back.unit, back.method, back.spacing_mm) == ("points", "occlusion", (0.2, 0.2))
    np.testing.assert_allclose(back.image, 0.5)
    given_image = np.random.default_rng(0).random((16, 8))
    np.testing.assert_array_equal(result.at_original((16, 8), image=given_image).image, given_image)
    with pytest.raises(ShapeError, match="expected an attribution on a square"):
        attribution((6, 8)).at_original((16, 8))


# -- the result ------------------------------------------------------------------------


def test_top_share_follows_the_strongest_pixels():
    values = np.array([[5.0, 3.0], [2.0, -50.0]])
    result = ImageAttribution(values, np.zeros((2, 2)), "occlusion")
    mask = np.array([[False, True], [False, True]])
    assert result.top_share(mask, 0.5) == 0.0
    assert result.top_share(mask, 0.8) == pytest.approx(3 / 8)
    assert result.top_share(mask, 1.0) == pytest.approx(3 / 10)
    assert result.top_share(np.ones((2, 2), dtype=bool)) == 1.0


def test_top_share_takes_equal_pixels_together():
    flat = ImageAttribution(np.ones((4, 5)), np.zeros((4, 5)), "occlusion")
    mask = np.zeros((4, 5), dtype=bool)
    mask[0] = True
    assert flat.top_share(mask, 0.1) == pytest.approx(0.25)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(1e-6, 1.0))
def test_mask_and_its_complement_share_all_there_is(seed, share):
    generator = np.random.default_rng(seed)
    result = ImageAttribution(generator.normal(size=(5, 6)), np.zeros((5, 6)), "occlusion")
    mask = generator.random((5, 6)) < 0.5
    parts = result.top_share(mask, share), result.top_share(~mask, share)
    assert all(0.0 <= part <= 1.0 for part in parts)
    assert sum(parts) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("mask", "share", "error", "match"),
    [
        (np.ones((2, 2), dtype=bool), 0.1, ShapeError, r"mask: expected shape \(6, 8\)"),
        (np.ones((6, 8)), 0.1, InputError, r"mask: expected boolean values"),
        (np.ones((6, 8), dtype=bool), 0.0, ConfigurationError, r"share: expected a share above 0"),
        (np.ones((6, 8), dtype=bool), 1.1, ConfigurationError, r"share: expected a number"),
    ],
)
def test_unusable_masks_are_refused(mask, share, error, match):
    with pytest.raises(error, match=match):
        attribution().top_share(mask, share)


@pytest.mark.parametrize(
    ("values", "image", "spacing", "error", "match"),
    [
        (np.ones(4), np.ones(4), None, ShapeError, r"values: expected shape \(H, W\)"),
        (np.ones((4, 4)), np.ones((4, 5)), None, ShapeError, r"image: expected the shape of"),
        (np.full((2, 2), np.nan), np.ones((2, 2)), None, InputError, r"values: expected finite"),
        (np.ones((2, 2)), np.ones((2, 2)), (1.0,), ConfigurationError, r"expected 2 numbers in mm"),
        (np.ones((2, 2)), np.ones((2, 2)), (1, 0), ConfigurationError, r"spacing_mm: expected a"),
    ],
)
def test_unusable_results_are_refused(values, image, spacing, error, match):
    with pytest.raises(error, match=match):
        ImageAttribution(values, image, "occlusion", spacing_mm=spacing)


def test_repr_is_one_line():
    assert repr(attribution(gap=0.01)).startswith("ImageAttribution(6 x 8, method='integrated_")
    assert "gap=0.01" in repr(attribution(gap=0.01))
    assert "gap" not in repr(attribution())


# -- pictures --------------------------------------------------------------------------


def test_plot_draws_on_the_axes_that_it_got():
    figure = Figure()
    ax = figure.subplots()
    result = attribution((40, 40), unit="$points$")
    assert result.plot(ax) is ax
    picture, colours = ax.images
    assert (picture.norm.vmin, picture.norm.vmax) == (0.0, 1.0)
    assert colours.norm.vmin == -colours.norm.vmax
    assert colours.norm.vmax <= np.abs(result.values).max()
    assert figure.axes[1].get_ylabel() == r"per pixel, smoothed (\$points\$)"
    figure.canvas.draw()


def test_plot_takes_a_limit_and_opens_a_figure_of_its_own():
    from matplotlib import pyplot

    ax = attribution((40, 40)).plot(limit=2.5)
    try:
        assert ax.images[1].norm.vmax == 2.5
        assert len(ax.collections) == 2  # the line and what sets it off
    finally:
        pyplot.close(ax.figure)


@pytest.mark.parametrize(
    ("extent_mm", "bar"), [(40.0, "10 mm"), (100.0, "20 mm"), (1000.0, "200 mm"), (2.0, "0.5 mm")]
)
def test_the_scale_bar_has_a_round_length(extent_mm, bar):
    spacing = (extent_mm / 40, extent_mm / 40)
    ax = attribution((40, 40), spacing_mm=spacing).plot(Figure().subplots())
    assert [text.get_text() for text in ax.texts] == [bar]
    (line,) = [line for line in ax.lines if line.get_gid() == "scale-bar"]
    drawn = float(np.ptp(np.asarray(line.get_xdata()))) * spacing[1]
    assert drawn == pytest.approx(float(bar.split()[0]))


def test_without_spacing_there_is_no_scale_bar():
    ax = attribution((40, 40)).plot(Figure().subplots())
    assert not ax.texts
    assert not ax.lines


def test_pixels_that_are_not_square_are_drawn_as_they_are():
    ax = attribution((40, 40), spacing_mm=(2.0, 1.0)).plot(Figure().subplots())
    assert ax.get_aspect() == 2.0


def test_zeros_and_single_pixels_can_be_drawn():
    for values in (np.zeros((5, 5)), np.eye(1), np.eye(30) * (np.arange(30) == 3)):
        figure = Figure()
        ax = figure.subplots()
        ImageAttribution(values, np.zeros_like(values), "occlusion").plot(ax)
        figure.canvas.draw()
        assert ax.images[1].norm.vmax > 0


def test_a_volume_shows_its_strongest_slice():
    values = np.zeros((5, 8, 8))
    values[3, 2, 2] = -4.0
    result = ImageAttribution(values, np.zeros((5, 8, 8)), "occlusion")
    ax = result.plot(Figure().subplots())
    assert ax.get_title() == "slice 4 of 5"
    np.testing.assert_allclose(ax.images[1].get_array(), values[3], atol=1e-3)


@pytest.mark.parametrize(
    ("n_slices", "n", "titles"),
    [
        (20, 3, ["slice 1 of 20", "slice 11 of 20", "slice 20 of 20"]),
        (2, 9, ["slice 1 of 2", "slice 2 of 2"]),
        (5, 1, ["slice 3 of 5"]),
    ],
)
def test_a_montage_spreads_its_slices(n_slices, n, titles):
    figure = attribution((n_slices, 8, 8)).montage(n)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels] == titles
    assert len({ax.images[1].norm.vmax for ax in panels}) == 1


def test_unusable_pictures_are_refused():
    with pytest.raises(ShapeError, match="montage: expected the attribution of a volume"):
        attribution().montage()
    with pytest.raises(ConfigurationError, match="n: expected an integer"):
        attribution((3, 8, 8)).montage(0)
    with pytest.raises(ConfigurationError, match="ax: expected a matplotlib Axes or None, got str"):
        attribution().plot("here")
    with pytest.raises(ConfigurationError, match="limit: expected a number"):
        attribution().plot(limit=0.0)


def test_a_notebook_shows_picture_and_numbers():
    result = attribution((40, 40), gap=0.125, unit="<points>")
    page = result._repr_html_()
    assert page == result._repr_html_()
    assert "data:image/svg+xml;base64," in page
    assert f"{result.total:+.4g} &lt;points&gt;" in page
    assert "completeness gap): +0.12" in page
    assert "not a medical device" in page
    assert "completeness gap" not in attribution((40, 40))._repr_html_()


def test_what_no_pixel_holds_is_a_finite_number():
    with pytest.raises(ConfigurationError, match="elsewhere: expected a number"):
        ImageAttribution(np.zeros((2, 2)), np.zeros((2, 2)), "occlusion", elsewhere=float("nan"))
    part = ImageAttribution(np.ones((2, 2)), np.zeros((2, 2)), "occlusion", elsewhere=-0.5)
    assert "total=4, elsewhere=-0.5" in repr(part)
    assert part.at_original((4, 4)).elsewhere == -0.5
