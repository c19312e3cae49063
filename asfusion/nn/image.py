"""Image backbones: pixels of one modality to tokens.

Dimensions: B images, C channels, H rows, W columns, T positions, D width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from asfusion._checks import quoted, suggestion
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.nn import _monai
from asfusion.nn import _transformers_image as hf
from asfusion.nn._hub import named
from asfusion.nn._image_source import read_source
from asfusion.nn._norms import use_group_norm
from asfusion.nn._weights import load_weights, normalisation_of, read_weights
from asfusion.nn.efficientnet_lite import EfficientNetLite0, check_weights_installed
from asfusion.nn.network import Backbone, Inputs
from asfusion.nn.registry import backbone_names, find_backbone, register_backbone

SCRATCH_BACKBONES: Final = ("compact", *hf.NAMED, "densenet121")
"""Names of networks that start untrained."""

IMAGE_BACKBONES: Final = (*SCRATCH_BACKBONES, "efficientnet_lite0")
"""Every name that is not a folder or a model of the hub."""

_SIZE, _COMPACT_SIZE = 224, 128
_SMALLEST = 32  # below this, networks have no position left at their end
# Grey values of a radiograph in [0, 1], about: what starts untrained needs no more.
_MEAN, _STD = [0.5], [0.25]


class ImageBackbone(Backbone):
    """Normalise pixels, pass them through an image network, and give tokens.

    Parameters
    ----------
    body : nn.Module
        Network from images (B, C, H, W) to a feature map (B, D, h, w) or to positions
        (B, T, D), with ``d_out`` and ``last_block()``.
    channels : int
        Channels that the network reads.
    mean, std : sequence of float
        Grey value in [0, 1] that becomes 0, and how much of it becomes 1, per channel.
    pool : bool
        Whether an image becomes one token, the mean of its positions.
    augment : nn.Module, optional
        Applied to images in [0, 1] while the backbone, or its last block, learns.
    channels_last : bool
        Whether images are laid out channel by channel within each pixel.

    Shape
    -----
    - Input: ``pixels`` (B, C, H, W), uint8 from 0 to 255 or floating from 0 to 1. One
      channel is repeated to those that the network reads; three become their mean if it
      reads one.
    - Output: `Tokens` (B, 1, D) with `pool`, else (B, T, D), one per position, row by row.

    Examples
    --------
    >>> import torch
    >>> backbone = ImageBackbone(CompactCNN(), channels=1, mean=[0.5], std=[0.25])
    >>> backbone({"pixels": torch.zeros(2, 1, 64, 64, dtype=torch.uint8)}).values.shape
    torch.Size([2, 1, 128])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        *,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        pool: bool = True,
        augment: nn.Module | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.d_out = int(body.d_out)  # type: ignore[arg-type]
        self.channels = channels
        self.pool = pool
        self.augment = augment
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        # Settings, not weights: a saved model brings them in its configuration.
        for name, values in (("mean", mean), ("std", std)):
            per_channel = torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, per_channel, persistent=False)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, T, d_out)."""
        images = self._normalise(self._augmented(self._to_unit(inputs["pixels"])))
        positions: Tensor = self.body(images.contiguous(memory_format=self._layout(images)))
        if positions.dim() == 4:  # (B, D, h, w)
            positions = positions.flatten(2).transpose(1, 2)
        if self.pool:
            return Tokens.single(positions.mean(dim=1))
        mask = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
        return Tokens(positions, mask)

    def _layout(self, images: Tensor) -> torch.memory_format:
        """Return how images lie in memory: as tensor cores read them, where a GPU has those."""
        convolves = self.map_layer() is not None
        return torch.channels_last if images.is_cuda and convolves else self._format

    def shrink(self, inputs: Inputs, share: float) -> Inputs:
        """Return images with sides `share` as long, if the network reads any size."""
        pixels = inputs["pixels"]
        side = max(_SMALLEST, round(pixels.shape[-1] * share))
        if side >= pixels.shape[-1] or not getattr(self.body, "reads_any_size", True):
            return inputs
        return {**inputs, "pixels": shrink_images(self._to_unit(pixels), side)}

    def view(self, inputs: Inputs, number: int) -> Inputs:
        """Return images as augmentation could have moved them, all in the same way."""
        if number == 0 or self.augment is None:
            return inputs
        moved = self.augment.view(self._to_unit(inputs["pixels"]), number)  # type: ignore[operator]
        return {**inputs, "pixels": moved}

    def _to_unit(self, pixels: Tensor) -> Tensor:
        """Return pixels in [0, 1], in the precision of the network."""
        dtype = self.mean.dtype
        return pixels.to(dtype) if pixels.is_floating_point() else pixels.to(dtype) / 255.0

    def _augmented(self, images: Tensor) -> Tensor:
        if self.augment is None or not (self.training or self.last_block().training):
            return images
        # In a partly frozen backbone all but the last block stays in evaluation mode.
        return self.augment.train()(images)  # type: ignore[no-any-return]

    def _normalise(self, images: Tensor) -> Tensor:
        given = images.shape[1]
        if given != self.channels:
            images = images.mean(dim=1, keepdim=True) if given > 1 else images
            images = images.expand(-1, self.channels, -1, -1)
        return (images - self.mean) / self.std

    def last_block(self) -> nn.Module:
        """Return the last stage of the network."""
        return self.body.last_block()  # type: ignore[operator,no-any-return]

    def map_layer(self) -> nn.Module | None:
        """Return what gives the last feature map (B, D, h, w); None if that is patches."""
        return self.body if getattr(self.body, "reads_any_size", True) else None


def shrink_images(images: Tensor, side: int) -> Tensor:
    """Return images (B, C, H, W) as squares of `side` pixels, each the mean of what it covers."""
    small = nn.functional.interpolate(
        images, size=(side, side), mode="bilinear", antialias=True, align_corners=False
    )
    return small.clamp(0.0, 1.0)


class CompactCNN(nn.Module):
    """A small residual network for a few hundred images of 64 to 224 pixels.

    Three residual stages of 32 to 128 channels, 0.3 million weights. Batch normalisation
    keeps how bright and how contrasted an image is against others; normalising each image
    by itself would remove it, and on a few hundred films the network then learns nothing.

    Parameters
    ----------
    channels : int
        Channels C of the images.
    widths : sequence of int
        Channels of the stem and of each stage; multiples of 8. Each halves the side.

    Shape
    -----
    - Input: (B, C, H, W), normalised.
    - Output: (B, widths[-1], ceil(H / 16), ceil(W / 16)) for the four default widths.

    References
    ----------
    .. [1] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
       https://doi.org/10.1109/CVPR.2016.90
    .. [2] Ioffe and Szegedy, "Batch Normalization", ICML 2015.
       https://proceedings.mlr.press/v37/ioffe15.html

    Examples
    --------
    >>> import torch
    >>> CompactCNN(channels=1)(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 128, 4, 4])
    """

    def __init__(self, channels: int = 1, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.d_out = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        pairs = itertools.pairwise(widths)
        self.stages = nn.Sequential(*(_Residual(d_in, d_out) for d_in, d_out in pairs))

    def forward(self, images: Tensor) -> Tensor:
        """Return the feature map (B, d_out, h, w)."""
        return self.stages(self.stem(images))  # type: ignore[no-any-return]

    def last_block(self) -> nn.Module:
        """Return the last residual stage."""
        return self.stages[-1]


class _Residual(nn.Module):
    """Two convolutions beside a shortcut; the first halves the side."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(d_in, d_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(d_out),
            nn.ReLU(),
            nn.Conv2d(d_out, d_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(d_out),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(d_in, d_out, 1, bias=False),
            nn.BatchNorm2d(d_out),
        )
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.relu(self.branch(images) + self.shortcut(images))  # type: ignore[no-any-return]


# -- from names ------------------------------------------------------------------------


register_backbone("image", "compact", CompactCNN)


def is_pretrained(name: str) -> bool:
    """Return whether a backbone of that name brings weights."""
    return name not in SCRATCH_BACKBONES and name not in backbone_names("image")


def weights_sources(name: str, weights: str | None) -> list[str]:
    """Return the files, folders or names that a backbone's weights of others come from."""
    sources = [] if weights is None else [weights]
    if name == "efficientnet_lite0":
        return [*sources, str(check_weights_installed())]
    return [*sources, name] if is_pretrained(name) else sources


def describe_image_backbone(
    name: str,
    *,
    size: int | None = None,
    channels: int = 1,
    norm: str = "batch",
    weights: str | None = None,
    download: bool = False,
) -> dict[str, Any]:
    """Return all that is needed to build a backbone again without its source.

    Parameters
    ----------
    name : str
        One of `IMAGE_BACKBONES`, a folder saved by `transformers`, or a name on the hub.
    size : int, optional
        Side of the images, in pixels; by default what suits the network (128 for
        ``"compact"``, what a pretrained network was trained on, 224 otherwise).
    channels : int
        Channels of the images, 1 or 3.
    norm : {"batch", "frozen", "group"}
        Whether group norms stand where batch norms were.
    weights : str, optional
        A safetensors file (or folder, or name on the hub) that will bring weights to an
        architecture that has none of its own: what they expect of pixels is read beside it.
    download : bool
        Whether a model that is not on this machine may be fetched from the hub.

    Returns
    -------
    dict
        Plain values: ``kind``, ``size``, ``channels`` (that the network reads), ``mean``,
        ``std`` and, for networks of `transformers`, their ``model`` configuration.

    Raises
    ------
    ConfigurationError
        If there is no such backbone, it cannot read three channels, or brings weights itself
        where a file should.
    MissingDependencyError
        If the package with its weights is not installed.

    Examples
    --------
    >>> describe_image_backbone("compact")["size"]
    128
    """
    if weights is not None and is_pretrained(name):
        msg = (
            f"weights: expected None with {named(name)}, which brings its own, got a file. "
            f"Name the architecture that the file is for: {quoted(SCRATCH_BACKBONES, limit=12)}."
        )
        raise ConfigurationError(msg)
    mean, std = (_MEAN, _STD)
    if weights is not None:
        mean, std = _for_channels(*normalisation_of(weights, download=download), channels)
    plan: dict[str, Any] = {
        "kind": name, "channels": channels, "mean": mean, "std": std, "norm": norm
    }  # fmt: skip
    if name in backbone_names("image"):
        return {**plan, "size": size or _COMPACT_SIZE}
    if name == "efficientnet_lite0":
        check_weights_installed()
        grey = {"mean": [127.0 / 255.0], "std": [128.0 / 255.0]}
        return {**plan, "channels": 3, "size": size or _SIZE, **grey}
    if name == "densenet121":
        return {**plan, "size": size or _SIZE, "model": _monai.network_config(name)}
    if name in hf.NAMED:
        model = hf.named_config(name, size=size or _SIZE, channels=channels)
        return {**plan, "size": size or _SIZE, "model": model}
    # A misspelt name is more likely than a folder or a model without a slash.
    hint = suggestion(name, {*IMAGE_BACKBONES, *backbone_names("image")})
    found = read_source(name, download=download, hint=hint)
    own, reads = found.model.get("image_size"), int(found.model["num_channels"])
    if channels > 1 and reads == 1:
        msg = f"{named(name)}: expected channels=1 for a network that reads grey, got {channels}."
        raise ConfigurationError(msg)
    mean, std = _for_channels(found.mean, found.std, reads)
    return {
        "kind": "pretrained",
        "norm": norm,
        "channels": reads,
        "size": size or (own if isinstance(own, int) else _SIZE),
        "mean": mean,
        "std": std,
        "model": found.model,
        "layout": found.layout,
        "first": found.first,
    }


def _for_channels(mean: list[float], std: list[float], n: int) -> tuple[list[float], list[float]]:
    """Return what fits a network of `n` channels: one value for all, or one for each."""
    if len(mean) in (1, n):
        return mean, std
    return [sum(mean) / len(mean)], [sum(std) / len(std)]


def build_image_backbone(
    plan: Mapping[str, Any],
    *,
    pool: bool = True,
    augment: nn.Module | None = None,
    source: str | None = None,
    weights: str | None = None,
    download: bool = False,
) -> ImageBackbone:
    """Return a new backbone from what `describe_image_backbone` returned.

    Parameters
    ----------
    plan : mapping
        The description.
    pool : bool
        Whether an image becomes one token.
    augment : nn.Module, optional
        Applied while the backbone learns.
    source : str, optional
        The name that was described, to take over its pretrained weights; by default only
        the architecture is built.
    weights : str, optional
        A safetensors file (or folder, or name on the hub) with weights for the architecture.
    download : bool
        Whether weights that are not on this machine may be fetched from the hub.

    Returns
    -------
    ImageBackbone
        In float32; what is not pretrained starts from the current torch seed.

    Raises
    ------
    ConfigurationError
        If pretrained weights cannot be read.

    Examples
    --------
    >>> build_image_backbone(describe_image_backbone("compact")).d_out
    128
    """
    kind, size = plan["kind"], int(plan["size"])
    body: nn.Module
    if kind in backbone_names("image"):
        body = find_backbone("image", kind)(int(plan["channels"]))
    elif kind == "efficientnet_lite0":
        body = EfficientNetLite0()
        if source is not None:
            body.load_pretrained()
    elif kind == "densenet121":
        body = _monai.build_body(plan["model"], dims=2, channels=int(plan["channels"]))
    else:
        model = plan["model"]
        summary = hf.summary_of(model, first=bool(plan.get("first")), pool=pool)
        if kind != "pretrained" or source is None:
            body = hf.build_body(model, size, summary)
        else:
            layout = plan["layout"]
            body = hf.load_body(
                source, model, size, layout=layout, summary=summary, download=download
            )
    if weights is not None:
        load_weights(body, read_weights(weights, download=download))
    # Bundles of earlier versions do not say: their norms are those of the network.
    if plan.get("norm") == "group":
        use_group_norm(body)
    return ImageBackbone(
        body,
        channels=int(plan["channels"]),
        mean=plan["mean"],
        std=plan["std"],
        pool=pool,
        augment=augment,
        # Its filters over single channels train 1.5 times faster this way on a CPU; dense
        # networks gain nothing, and some lose much on batches of one or two images.
        channels_last=kind == "efficientnet_lite0",
    )
