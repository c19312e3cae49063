"""What each pixel of an image adds to the output of any function of images.

Nothing here knows of an estimator: what is to be explained comes in as a function.

Dimensions: B images, C channels, H rows, W columns, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from asfusion._checks import check_choice, check_integer, check_number
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation import _image_methods as methods
from asfusion.explanation.images import ImageAttribution

ImageMethod = Literal["integrated_gradients", "smoothgrad", "grad_cam", "occlusion"]
METHODS = ("integrated_gradients", "smoothgrad", "grad_cam", "occlusion")


def attribute_image(
    forward: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    method: ImageMethod = "integrated_gradients",
    baseline: Literal["blur", "black", "mean"] | Tensor = "blur",
    layer: nn.Module | None = None,
    n_steps: int = 32,
    noise: float = 0.02,
    batch_size: int = 16,
    window: int = 16,
    stride: int = 8,
    expected_difference: float | None = None,
) -> ImageAttribution:
    """Return what each pixel adds to an output, against an image without its content.

    Parameters
    ----------
    forward : callable
        From images (B, C, H, W) or volumes (B, C, Z, Y, X) in [0, 1] to the explained
        output (B,), one number per image. Gradients must pass through it, except for
        ``"occlusion"``. Put the network into evaluation mode before: dropout and batch
        statistics would be explained otherwise.
    image : Tensor of shape (C, H, W) or (C, Z, Y, X), float
        One image, from 0 to 1, in the precision and on the device of the network.
    method : {"integrated_gradients", "smoothgrad", "grad_cam", "occlusion"}
        Integrated gradients [1]_ are fine-grained and add up to the difference between the
        outputs for image and baseline. SmoothGrad [4]_ is the same, each step seen through
        noise of its own: it takes as long, points more sharply at what counts, and no longer
        adds up. Grad-CAM [2]_ is coarse, one value per position of a feature map, and fast.
        Occlusion [3]_ covers the image window by window, needs no gradient, and is slow.
    baseline : {"blur", "black", "mean"} or Tensor
        What the image is compared with: itself blurred by a tenth of its side, black, its
        mean grey, or another image of its shape. Black rows and columns at the edges, which
        fill the square around a picture, stay black and get no attribution.
    layer : Module, optional
        Where Grad-CAM reads the feature map, usually the last block of convolutions.
    n_steps : int
        Steps between baseline and image for integrated gradients; more narrow the gap.
    noise : float
        Standard deviation of the noise of SmoothGrad, in grey values from 0 to 1. It is drawn
        from a fixed seed, inside the picture only.
    batch_size : int
        Images that go through `forward` at a time.
    window, stride : int
        Side of the window that is covered and how far it moves, in pixels; along an axis
        that is shorter, such as the slices of a volume, its whole extent.
    expected_difference : float, optional
        What the values should add up to, in units of the output, if it is known from
        elsewhere; by default ``forward(image) - forward(baseline)``.

    Returns
    -------
    ImageAttribution
        On the pixels of `image`, channels added up.

    Raises
    ------
    ShapeError
        If `image`, `baseline`, the output or the feature map has an unusable shape.
    InputError
        If pixels are not from 0 to 1, or the output is not finite.
    ConfigurationError
        If a parameter is unusable, or no gradient passes through `forward`.

    Warns
    -----
    AsfusionWarning
        If the Grad-CAM map cannot be scaled by a factor (see Notes), or captum warns.

    Notes
    -----
    Values of Grad-CAM have no unit of their own. By convention, the signed map is scaled so
    that it adds up to the expected difference, like the other parts of an explanation;
    its sum proves nothing. Where positive and negative evidence cancel, or their sum points
    the other way, the map keeps its order and what is left of the difference is spread
    evenly. A layer without any gradient gives a map of zeros.

    An occluded window spreads what it changes evenly over its pixels; a pixel under many
    windows has their mean. Such values need not add up to the difference.

    References
    ----------
    .. [1] Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
       https://proceedings.mlr.press/v70/sundararajan17a.html
    .. [2] Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
       Gradient-Based Localization", ICCV 2017. https://doi.org/10.1109/ICCV.2017.74
    .. [3] Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks",
       ECCV 2014. https://doi.org/10.1007/978-3-319-10590-1_53
    .. [4] Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.
       https://doi.org/10.48550/arXiv.1706.03825

    Examples
    --------
    >>> import torch
    >>> def brightness(images):
    ...     return images.flatten(1).sum(dim=1)
    >>> image = torch.zeros(1, 4, 4)
    >>> image[0, 1, 2] = 1.0
    >>> attribution = attribute_image(brightness, image, baseline="black")
    >>> attribution.values[1, 2].round(4), abs(attribution.gap) < 1e-6
    (np.float64(1.0), True)
    """
    check_choice(method, "method", METHODS)
    _check_numbers(n_steps=n_steps, batch_size=batch_size, window=window, stride=stride)
    noise = check_number(noise, "noise", minimum=0.0, maximum=1.0)
    if method == "occlusion" and stride > window:
        msg = (
            f"stride: expected at most window={window}, so that no pixel is left out, got {stride}."
        )
        raise ConfigurationError(msg)
    pixels = _check_image(image)
    checked = methods.Forward(forward)
    empty = methods.make_baseline(pixels, baseline)
    if expected_difference is None:
        difference = checked.alone(pixels) - checked.alone(empty)
    else:
        difference = check_number(expected_difference, "expected_difference")
    if method == "grad_cam":
        if not isinstance(layer, torch.nn.Module):
            msg = (
                "layer: method='grad_cam' expected the module whose feature map it reads, got "
                f"{type(layer).__name__}. Pass the last block of convolutions, such as "
                "network.last_block()."
            )
            raise ConfigurationError(msg)
        values = methods.grad_cam(checked, pixels, empty, layer, difference)
    elif method == "occlusion":
        values = methods.occlusion(
            checked, pixels, empty, window=window, stride=stride, batch_size=batch_size
        )
    else:
        values = methods.integrated_gradients(
            checked,
            pixels,
            empty,
            n_steps=n_steps,
            noise=noise if method == "smoothgrad" else 0.0,
            batch_size=batch_size,
        )
    array = values.double().cpu().numpy()
    return ImageAttribution(
        values=array,
        image=pixels.double().mean(dim=0).cpu().numpy(),
        method=method,
        gap=difference - float(array.sum()) if method == "integrated_gradients" else None,
    )


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        check_integer(number, name, minimum=1)


def _check_image(image: object) -> Tensor:
    """Return one image (C, H, W) or volume (C, Z, Y, X), from 0 to 1."""
    if not isinstance(image, torch.Tensor) or image.dim() not in (3, 4) or not image.numel():
        got = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        msg = f"image: expected one tensor (C, H, W) or (C, Z, Y, X), got {got}."
        raise ShapeError(msg)
    if not image.is_floating_point():
        msg = f"image: expected floating pixels from 0 to 1, got {image.dtype}. Divide by 255."
        raise InputError(msg)
    if not bool(((image >= 0) & (image <= 1)).all()):
        msg = "image: expected pixels from 0 to 1, got some outside of that, or NaN."
        raise InputError(msg)
    with torch.inference_mode(False):  # tensors made there could never have gradients
        return image.detach().clone()
