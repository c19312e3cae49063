"""Networks in words, for what is printed of an encoder."""

from __future__ import annotations

from asfusion.nn.network import Training

_SMALL = {"compact": "a small network", "compact_3d": "a small 3-D network"}
_IMAGENET = {"efficientnet_lite0": "EfficientNet-Lite0 with weights from ImageNet"}


def name_network(backbone: str, mode: Training, *, given: bool, brought: bool) -> str:
    """Return what reads pixels or voxels; the folder of a network is nobody's business.

    Parameters
    ----------
    backbone : str
        Name of an architecture, or where a network is found.
    mode : {"full", "lora", "last_block", "frozen"}
        Which part of it learns.
    given, brought : bool
        Whether weights were given for it, or it brings its own.
    """
    if brought:
        name = _IMAGENET.get(backbone, "a pretrained network")
    else:
        name = _SMALL.get(backbone, backbone)
    if not (given or brought):
        return f"{name} trained from scratch"
    name = f"{name} with weights of its own" if given else name
    return f"{name}, {'frozen' if mode == 'frozen' else 'trained further'}"
