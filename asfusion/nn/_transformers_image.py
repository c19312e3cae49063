"""Image networks of `transformers`, by configuration or with pretrained weights.

Dimensions: B images, C channels, H rows, W columns, T positions, D width.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from asfusion.exceptions import ConfigurationError
from asfusion.nn import _open_clip
from asfusion.nn._hub import find_pretrained, named, quiet_transformers
from asfusion.nn._image_source import TOWERS, plain_config

# What differs from each model's defaults. torchvision and timm are never needed.
NAMED: Final[dict[str, dict[str, Any]]] = {
    "resnet18": {
        "model_type": "resnet",
        "hidden_sizes": [64, 128, 256, 512],
        "depths": [2, 2, 2, 2],
        "layer_type": "basic",
    },
    "resnet34": {
        "model_type": "resnet",
        "hidden_sizes": [64, 128, 256, 512],
        "depths": [3, 4, 6, 3],
        "layer_type": "basic",
    },
    "resnet50": {"model_type": "resnet"},
    "resnet101": {"model_type": "resnet", "depths": [3, 4, 23, 3]},
    "mobilenet_v2": {"model_type": "mobilenet_v2"},
    "efficientnet_b0": {
        "model_type": "efficientnet",
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "hidden_dim": 1280,
        "dropout_rate": 0.2,
    },
    "convnext_tiny": {
        "model_type": "convnextv2",
        "hidden_sizes": [96, 192, 384, 768],
        "depths": [3, 3, 9, 3],
    },
    "vit_tiny": {
        "model_type": "vit",
        "hidden_size": 192,
        "num_hidden_layers": 12,
        "num_attention_heads": 3,
        "intermediate_size": 768,
    },
}
_MOMENTUM = 0.1


class TransformersBody(nn.Module):
    """An image network of `transformers` that gives a feature map or one vector per position.

    Parameters
    ----------
    model : PreTrainedModel
        A network whose only input is ``pixel_values``.
    size : int
        Side of the images it will see, in pixels.
    summary : {"first", "pooler", None}
        What of the network stands for an image as a whole: its first position, what its own
        pooling gives, or None to give every position.

    Shape
    -----
    - Input: (B, C, size, size), normalised.
    - Output: (B, T, D), one vector per position, class tokens left out; (B, 1, D) with a
      summary.
    """

    def __init__(self, model: Any, size: int, summary: str | None = None) -> None:
        super().__init__()
        self.model = model
        self.summary = summary
        _fit_to_positions(model, keep_pooler=summary == "pooler")
        self._options = _options(model, size)
        self.d_out, self._n_prefix = self._probe(size)

    def _output(self, images: Tensor) -> Any:
        return self.model(pixel_values=images, **self._options)

    def _probe(self, size: int) -> tuple[int, int]:
        """Return the width and how many class tokens come first, as one blank image shows."""
        config, was_training = self.model.config, self.training
        self.eval()
        with torch.no_grad():
            images = torch.zeros(1, config.num_channels, size, size)
            hidden = self._output(images).last_hidden_state
        self.train(was_training)
        self.reads_any_size = hidden.dim() == 4  # positions of the others are numbered
        if self.reads_any_size:
            return hidden.shape[1], 0
        length, patch = hidden.shape[1], getattr(config, "patch_size", None)
        side = size // patch if isinstance(patch, int) and patch > 0 else length
        if side * side > length:  # patches were merged on the way
            side = math.isqrt(length)
        return hidden.shape[2], length - side * side

    def forward(self, images: Tensor) -> Tensor:
        """Return a feature map (B, D, h, w), or vectors (B, T, D)."""
        output = self._output(images)
        if self.summary == "pooler":
            return output.pooler_output.unsqueeze(1)  # type: ignore[no-any-return]
        hidden: Tensor = output.last_hidden_state
        if hidden.dim() == 4:
            return hidden
        return hidden[:, :1] if self.summary == "first" else hidden[:, self._n_prefix :]

    def last_block(self) -> nn.Module:
        """Return the last stage (or layer) of the network's largest stack of them."""
        stacks = [m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len(m)]
        if not stacks:
            return self
        sizes = [sum(p.numel() for p in stack.parameters()) for stack in stacks]
        return stacks[sizes.index(max(sizes))][-1]  # the outermost of equals comes first


def _fit_to_positions(model: Any, *, keep_pooler: bool) -> None:
    """Drop weights that what is read never passes, and let batch statistics settle.

    Networks ported from TensorFlow kept its momentum (0.99), which means the opposite in
    torch: running statistics would be those of the last batch alone.
    """
    pooler = getattr(model, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()):
        model.pooler = None
    if model.config.model_type in ("convnext", "convnextv2"):
        model.layernorm = nn.Identity()  # on the pooled vector, where the adapter has its own
    if model.config.model_type in TOWERS and not keep_pooler:
        _drop_pooling(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum is not None:
            module.momentum = min(module.momentum, _MOMENTUM)


def _drop_pooling(tower: Any) -> None:
    """Take from a tower what turns its positions into the vector of an image."""
    if tower.config.model_type == "clip_vision_model":
        tower.post_layernorm = nn.Identity()
    else:
        tower.use_head, tower.head = False, None


def _options(model: Any, size: int) -> dict[str, bool]:
    """Return what `forward` needs for images of another size than it was trained on."""
    known = getattr(model.config, "image_size", size)
    flag = "interpolate_pos_encoding"
    differs = known != size and known != [size, size]
    return {flag: True} if differs and flag in inspect.signature(model.forward).parameters else {}


def named_config(name: str, *, size: int, channels: int) -> dict[str, Any]:
    """Return the configuration of one of `NAMED`.

    Parameters
    ----------
    name : str
        Key of `NAMED`.
    size : int
        Side of the images, in pixels.
    channels : int
        Channels of the images.

    Returns
    -------
    dict
        Plain JSON values, from which `build_body` makes the same network again.
    """
    from transformers import AutoConfig

    settings = {**NAMED[name], "num_channels": channels}
    if settings["model_type"] in ("vit", "efficientnet"):
        settings["image_size"] = size
    return plain_config(AutoConfig.for_model(**settings))


def build_body(
    config: Mapping[str, Any], size: int, summary: str | None = None
) -> TransformersBody:
    """Return an untrained network from its configuration, in float32."""
    from transformers import AutoConfig, AutoModel

    with quiet_transformers():
        described = AutoConfig.for_model(**config)
        model = AutoModel.from_config(described, trust_remote_code=False, dtype=torch.float32)
    if described.model_type in ("efficientnet", "mobilenet_v2"):
        model.apply(_start_well)
    return TransformersBody(model, size, summary)


def _start_well(module: nn.Module) -> None:
    """Give layers of depthwise networks a start from which they learn.

    `transformers` 5 draws the factors of EfficientNet's normalisation around zero, which
    leaves nothing of an image after sixteen blocks, and convolutions of both networks so
    small that running variances, which start at one, take thousands of steps to follow.
    """
    if isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def load_body(
    source: str,
    config: Mapping[str, Any],
    size: int,
    *,
    layout: str = "transformers",
    summary: str | None = None,
    download: bool,
) -> TransformersBody:
    """Return a pretrained network, its weights read from safetensors only, in float32.

    Raises
    ------
    ConfigurationError
        If there is no model, it has no safetensors, or they lack a part of the network.
    """
    from transformers import MODEL_MAPPING, AutoConfig

    described = AutoConfig.for_model(**config)
    network: Any = MODEL_MAPPING[type(described)]
    how: dict[str, Any] = {
        "config": described, "dtype": torch.float32, "output_loading_info": True
    }  # fmt: skip
    if layout == "open_clip":
        weights = _open_clip.read_tower_weights(source, download=download)
        with quiet_transformers():
            model, report = network.from_pretrained(None, state_dict=weights, **how)
    else:

        def load(*, local_files_only: bool) -> Any:
            return network.from_pretrained(
                source, local_files_only=local_files_only, use_safetensors=True, **how
            )

        model, report = find_pretrained(load, source, download=download, needs="model.safetensors")
    missing = [*report["missing_keys"], *report["mismatched_keys"]]
    missing = [key for key in missing if "pooler" not in str(key)]
    if missing:
        msg = (
            f"{named(source)}: expected weights for the whole network, got a file that lacks "
            f"{len(missing)} of its tensors. They would be random, not pretrained."
        )
        raise ConfigurationError(msg)
    return TransformersBody(model, size, summary)


def summary_of(model: Mapping[str, Any], *, first: bool, pool: bool) -> str | None:
    """Return what stands for an image as a whole; None where that is the mean of positions."""
    if not pool:
        return None
    if first:
        return "first"
    has_head = model.get("vision_use_head", True)
    return "pooler" if model["model_type"] in TOWERS and has_head else None
