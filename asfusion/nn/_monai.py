"""Networks of MONAI, in two and three dimensions; imported late, as that takes seconds.

Dimensions: B images, C channels, H rows, W columns, Z Y X voxels, D width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, nn
from torch.nn import functional

from asfusion._optional import import_optional

RESNETS: Final[dict[str, dict[str, Any]]] = {
    "resnet18": {"block": "basic", "layers": [2, 2, 2, 2]},
    "resnet50": {"block": "bottleneck", "layers": [3, 4, 6, 3]},
    "resnet101": {"block": "bottleneck", "layers": [3, 4, 23, 3]},
}
_WIDTHS = [64, 128, 256, 512]
_DENSENET121 = {"init_features": 64, "growth_rate": 32, "block_config": [6, 12, 24, 16]}


def network_config(name: str) -> dict[str, Any]:
    """Return what `build_body` needs for a network called ``resnet18`` or ``densenet121``."""
    if name == "densenet121":
        return {"family": "densenet", **_DENSENET121}
    return {"family": "resnet", "widths": _WIDTHS, **RESNETS[name]}


def build_body(config: Mapping[str, Any], *, dims: int, channels: int) -> MonaiBody:
    """Return an untrained network.

    Parameters
    ----------
    config : mapping
        What `network_config` returned, or the same with other depths and widths.
    dims : {2, 3}
        Images or volumes.
    channels : int
        Channels that it reads.

    Returns
    -------
    MonaiBody
        From the current torch seed.

    Raises
    ------
    MissingDependencyError
        If MONAI is not installed.
    """
    nets = import_optional(
        "monai.networks.nets", needed_for=f"A {config['family']} in {dims}-D", extra="monai"
    )
    # Slices are thick: along Z, the first steps would skip more than they see.
    steps = (1, 2, 2) if dims == 3 else 2
    if config["family"] == "densenet":
        net = nets.DenseNet(
            spatial_dims=dims,
            in_channels=channels,
            out_channels=1,
            **{k: v for k, v in config.items() if k != "family"},
        )
        net.features.conv0.stride = steps if dims == 3 else (2, 2)
        net.features.pool0.stride = steps
        return MonaiBody(_dense_stages(net), final_relu=True)
    net = nets.ResNet(
        config["block"],
        config["layers"],
        config["widths"],
        spatial_dims=dims,
        n_input_channels=channels,
        conv1_t_stride=steps,
        feed_forward=False,
        bias_downsample=False,
    )
    first = {"conv1": net.conv1, "bn1": net.bn1, "relu": net.act, "pool": net.maxpool}
    stages = {f"layer{i}": getattr(net, f"layer{i}") for i in range(1, 5)}
    return MonaiBody({"stem": _named(first), **stages}, final_relu=False)


def _named(modules: Mapping[str, nn.Module]) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, module in modules.items():
        sequence.add_module(name, module)
    return sequence


def _dense_stages(net: Any) -> dict[str, nn.Module]:
    """Return the stem and each block with what follows it, names as they were."""
    children = list(net.features.named_children())
    starts = [i for i, (name, _) in enumerate(children) if name.startswith("denseblock")]
    bounds = [0, *starts, len(children)]
    groups = [dict(children[a:b]) for a, b in itertools.pairwise(bounds)]
    return {"stem" if i == 0 else f"stage{i}": _named(group) for i, group in enumerate(groups)}


class MonaiBody(nn.Module):
    """Stages of a network, one after the other, that give a feature map.

    Parameters
    ----------
    stages : mapping of str to Module
        The stem first.
    final_relu : bool
        Whether the feature map passes a ReLU at the end, as that of DenseNet does.

    Shape
    -----
    - Input: (B, C, H, W) or (B, C, Z, Y, X), normalised.
    - Output: (B, D, ...), one vector per position.
    """

    def __init__(self, stages: Mapping[str, nn.Module], *, final_relu: bool) -> None:
        super().__init__()
        self.stages = _named(stages)
        self.final_relu = final_relu
        for module in self.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False  # attribution hooks read what comes before
        self.d_out = _last_width(self.stages)

    def forward(self, images: Tensor) -> Tensor:
        """Return the feature map (B, D, ...)."""
        maps: Tensor = self.stages(images)
        return functional.relu(maps) if self.final_relu else maps

    def last_block(self) -> nn.Module:
        """Return the last stage."""
        return self.stages[-1]


def _last_width(stages: nn.Module) -> int:
    """Return the channels that the last norm beside no shortcut normalises."""
    widths = [
        int(module.num_features)
        for name, module in stages.named_modules()
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) and "downsample" not in name
    ]
    return widths[-1]
