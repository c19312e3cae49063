"""Attribution maps of one image by captum, with its failures in the words of the library.

Dimensions: B images, C channels, H rows, W columns, Z Y X voxels, D feature maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from asfusion._checks import check_choice
from asfusion._foreign import Asked, in_our_words
from asfusion._warn import warn_user
from asfusion.exceptions import ConfigurationError, InputError, ShapeError

BASELINES = ("blur", "black", "mean")

# Width of the blur as a share of the side: bones and joints go, overall brightness stays.
_BLUR = 0.1
# Grad-CAM maps whose signs cancel to less than this share cannot be scaled by a factor.
_CANCELLED = 0.1


class Forward(Asked):
    """The function to be explained, from images (B, C, ...) to outputs (B,), which it checks."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the output (B,) of images (B, C, ...)."""
        outputs = super().__call__(images)
        if not isinstance(outputs, Tensor) or outputs.shape != (len(images),):
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            msg = (
                f"forward: expected a tensor of shape ({len(images)},), one number per image, "
                f"got {got}. Pick one output, such as outputs[:, 0]."
            )
            raise ShapeError(msg)
        if not bool(torch.isfinite(outputs).all()):
            msg = "forward: expected finite outputs, got NaN or infinity for this image."
            raise InputError(msg)
        return outputs

    def alone(self, image: Tensor) -> float:
        """Return the output of a single image (C, ...)."""
        with torch.no_grad():
            return float(self(image[None])[0])


# -- baselines -------------------------------------------------------------------------


def make_baseline(image: Tensor, baseline: str | Tensor) -> Tensor:
    """Return the image (C, ...) that stands for "nothing to see".

    Rows and columns that are black from the edge on are what fills the square around a
    picture. They stay black, so that no attribution falls outside of the picture.
    """
    if isinstance(baseline, Tensor):
        if baseline.shape != image.shape:
            msg = (
                f"baseline: expected the shape of the image, {tuple(image.shape)}, "
                f"got {tuple(baseline.shape)}."
            )
            raise ShapeError(msg)
        given = baseline.to(image).detach()
        if not bool(torch.isfinite(given).all()):
            msg = "baseline: expected finite pixels, got NaN or infinity."
            raise InputError(msg)
        return given
    check_choice(baseline, "baseline", BASELINES)
    black = torch.zeros_like(image)
    inner = _box(image.amax(dim=0) > 0)
    if baseline == "black" or inner is None:
        return black
    picture = image[inner]
    black[inner] = blurred(picture) if baseline == "blur" else _mean_per_channel(picture)
    return black


def _box(lit: Tensor) -> tuple[slice, ...] | None:
    """Return the smallest box, over all channels, around what is true; None if nothing is."""
    if not bool(lit.any()):
        return None
    places: list[slice] = [slice(None)]
    for axis in range(lit.dim()):
        others = [other for other in range(lit.dim()) if other != axis]
        where = torch.nonzero(lit.sum(dim=others) > 0).flatten().tolist()
        places.append(slice(where[0], where[-1] + 1))
    return tuple(places)


def _mean_per_channel(picture: Tensor) -> Tensor:
    return picture.mean(dim=tuple(range(1, picture.dim())), keepdim=True)


def blurred(picture: Tensor, share: float = _BLUR) -> Tensor:
    """Return a picture (C, ...) blurred by a Gaussian `share` of its longest side wide."""
    width = share * max(picture.shape[1:])
    for axis in range(1, picture.dim()):
        place = torch.arange(picture.shape[axis], dtype=picture.dtype, device=picture.device)
        weights = torch.exp(-0.5 * ((place[:, None] - place) / width) ** 2)
        # Rows that sum to one keep a constant picture constant up to its edges.
        weights = weights / weights.sum(dim=1, keepdim=True)
        picture = torch.tensordot(weights, picture, dims=([1], [axis])).movedim(0, axis)
    return picture


# -- methods ---------------------------------------------------------------------------


def integrated_gradients(
    forward: Forward,
    image: Tensor,
    baseline: Tensor,
    *,
    n_steps: int,
    noise: float,
    batch_size: int,
) -> Tensor:
    """Return attributions (H, W) or (Z, Y, X) whose sum is about the change of the output.

    With noise, each step between baseline and image is seen through noise of its own, which
    averages out what a gradient owes to single pixels, and with it some of that sum.

    NOTE[DIFF]: Smilkov et al. average the gradient over noisy copies of the image itself, with
    noise of 10 to 20 % of the range of grey values; here it is averaged along the way from the
    baseline, by default with 2 %, and multiplied by the difference from it.
    """
    from captum.attr import IntegratedGradients

    seen = _through_noise(forward, image, baseline, noise) if noise else forward
    with captum_in_our_words(forward, "smoothgrad" if noise else "integrated_gradients"):
        _check_differentiable(forward, image)
        values: Tensor = IntegratedGradients(seen).attribute(
            image[None].clone().requires_grad_(True),
            baselines=baseline[None],
            n_steps=n_steps,
            internal_batch_size=batch_size,
        )
    return values.detach()[0].sum(dim=0)


def _through_noise(
    forward: Forward, image: Tensor, baseline: Tensor, noise: float
) -> Callable[[Tensor], Tensor]:
    """Return a function that sees images through noise, where image and baseline differ."""
    place = (image != baseline).any(dim=0)
    generator = torch.Generator().manual_seed(0)
    # A baseline of the caller's own may lie outside of 0 to 1: the way from it stays open.
    low, high = min(0.0, float(baseline.min())), max(1.0, float(baseline.max()))

    def seen(images: Tensor) -> Tensor:
        # Drawn one by one, so that the size of a batch changes nothing; on the CPU, so that
        # a graphics card sees the same.
        drawn = [torch.randn(image.shape, generator=generator) for _ in images]
        return forward((images + noise * place * torch.stack(drawn).to(images)).clamp(low, high))

    return seen


def occlusion(
    forward: Forward, image: Tensor, baseline: Tensor, *, window: int, stride: int, batch_size: int
) -> Tensor:
    """Return, per pixel, the mean over windows of what the output loses, per pixel hidden.

    Windows lie where image and baseline differ: elsewhere they would hide nothing.
    """
    from captum.attr import Occlusion

    whole = torch.zeros_like(image[0])
    box = _box((image != baseline).any(dim=0))
    if box is None:
        return whole

    def on_whole(parts: Tensor) -> Tensor:
        images = image.repeat(len(parts), *[1] * image.dim())
        images[:, *box] = parts
        return forward(images)

    part = image[box]
    extents = [min(window, extent) for extent in part.shape[1:]]
    steps = [min(stride, extent) for extent in extents]
    channels = image.shape[0]
    with captum_in_our_words(forward, "occlusion"), torch.no_grad():
        values: Tensor = Occlusion(on_whole).attribute(
            part[None],
            sliding_window_shapes=(channels, *extents),
            strides=(channels, *steps),
            baselines=baseline[box][None],
            perturbations_per_eval=batch_size,
        )
    # Captum gives every pixel, in every channel, all that its windows change.
    pixels = 1
    for extent in extents:
        pixels *= extent
    whole[box[1:]] = values.detach()[0, 0] / pixels
    return whole


def grad_cam(
    forward: Forward, image: Tensor, baseline: Tensor, layer: nn.Module, difference: float
) -> Tensor:
    """Return the signed class activation map, upsampled, with `difference` as its sum.

    A map is too coarse to end where the picture does. It is cut to where image and baseline
    differ, as nothing else can have changed the output.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    with captum_in_our_words(forward, "grad_cam"):
        _check_layer(forward, image, layer)
        coarse: Tensor = LayerGradCam(forward, layer).attribute(
            image[None].clone().requires_grad_(True), relu_attributions=False
        )
        # A network that reads slices one by one has a map (Z, 1, h, w), others (1, 1, ..., h, w).
        flat = coarse.dim() == 4
        fine: Tensor = LayerAttribution.interpolate(
            coarse.detach(),
            tuple(image.shape[-2:] if flat else image.shape[1:]),
            interpolate_mode="bilinear" if flat else "trilinear",
        )
    values = fine.double().reshape(image.shape[1:])
    whole = torch.zeros_like(values)
    box = _box((image != baseline).any(dim=0))
    if box is not None:
        whole[box[1:]] = _scaled(values[box[1:]], difference)
    return whole


def _scaled(values: Tensor, difference: float) -> Tensor:
    """Return values that sum to `difference`, or zeros where there is nothing to scale."""
    mass, total = float(values.abs().sum()), float(values.sum())
    if mass <= torch.finfo(torch.float64).tiny:
        return torch.zeros_like(values)
    if difference * total >= 0 and abs(total) >= _CANCELLED * mass:
        return values * (difference / total)
    warn_user(
        "grad_cam: the evidence in the layer cancels, or points against the change of the "
        "output from the baseline. The map keeps its order and the rest of the change is "
        "spread evenly over the image. Prefer another layer or integrated_gradients."
    )
    values = values * (abs(difference) / mass)
    return values + (difference - values.sum()) / values.numel()


# -- checks ----------------------------------------------------------------------------


def _check_differentiable(forward: Forward, image: Tensor) -> None:
    """Raise if no gradient can come back to the image."""
    leaf = image[None].clone().requires_grad_(True)
    output = forward(leaf)
    gradient = None
    if output.requires_grad:
        (gradient,) = torch.autograd.grad(output.sum(), leaf, allow_unused=True)
    if gradient is None:
        msg = (
            "forward: expected a function that gradients pass through for integrated gradients, "
            "got one that detaches its input. Remove no_grad, detach and conversions to numpy, "
            "or use method='occlusion'."
        )
        raise ConfigurationError(msg)


def _check_layer(forward: Forward, image: Tensor, layer: nn.Module) -> None:
    """Raise unless `layer` gives one feature map for one image or slice, with a gradient."""
    maps: list[object] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    try:
        output = forward(image[None].clone().requires_grad_(True))
    finally:
        handle.remove()
    if len(maps) != 1:
        msg = (
            "layer: expected a module that forward runs once per batch, "
            f"got one that it runs {len(maps)} times."
        )
        raise ConfigurationError(msg)
    features = maps[0]
    shape = tuple(features.shape) if isinstance(features, Tensor) else ()
    n_slices = image.shape[1] if image.dim() == 4 else 1
    is_whole = len(shape) == image.dim() + 1 and shape[0] == 1
    is_by_slice = len(shape) == 4 and shape[0] == n_slices
    if not (is_whole or is_by_slice):
        got = shape or type(features).__name__
        names = "(1, D, h, w)" if image.dim() == 3 else "(1, D, z, y, x) or (Z, D, h, w)"
        msg = (
            f"layer: expected a feature map {names} for a single image, got {got}. "
            "Name a convolution or a block of convolutions."
        )
        raise ShapeError(msg)
    if not output.requires_grad:
        msg = (
            "forward: expected a function that gradients pass through for method='grad_cam', "
            "got one that detaches its output. Remove no_grad, detach and conversions to "
            "numpy, or use method='occlusion'."
        )
        raise ConfigurationError(msg)


@contextmanager
def captum_in_our_words(asked: Asked, method: str, instead: str = "occlusion") -> Iterator[None]:
    """Run captum as `in_our_words` does, with gradients on."""
    rewording = in_our_words(
        "captum",
        asked,
        expected=f"method={method!r}: expected a forward that captum can explain",
        fix=f"Check that every operation in forward has a gradient, or use method={instead!r}.",
        reports=f"method={method!r}: captum reports",
        spared=(torch.OutOfMemoryError,),
    )
    with rewording, torch.inference_mode(False), torch.enable_grad():
        yield
