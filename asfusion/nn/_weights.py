"""Weights of others for our networks: matched by name, summed to grey, inflated to 3-D."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from asfusion.exceptions import ConfigurationError
from asfusion.nn._hub import find_pretrained
from asfusion.nn._image_source import read_normalisation, read_preprocessor

T = TypeVar("T")

_FILE: Final = "model.safetensors"
# Wrappers of other packages around the same network.
_WRAPPERS = re.compile(
    r"^(?:(?:module|model|backbone|network|body|features|resnet|densenet|vit|convnextv2|efficientnet"
    r"|mobilenet_v2|stages(?:\.(?:stem|stage\d+))?)\.)+"
)
# How transformers names the parts of a ResNet that others call conv1, layer1.0.bn2 and so on.
_STEM = re.compile(r"^embedder\.embedder\.(convolution|normalization)\.")
_SHORTCUT = re.compile(
    r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.(convolution|normalization)\."
)
_BLOCK = re.compile(
    r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.(convolution|normalization)\."
)
_DENSE = re.compile(r"(denselayer\d+)\.layers\.")
_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.")


def canonical_name(name: str) -> str:
    """Return the name of a weight as it is called in most collections of weights."""
    name = _WRAPPERS.sub("", name)
    if found := _STEM.match(name):
        return ("conv1." if found[1] == "convolution" else "bn1.") + name[found.end() :]
    if found := _SHORTCUT.match(name):
        part = "0" if found[3] == "convolution" else "1"
        return f"layer{int(found[1]) + 1}.{found[2]}.downsample.{part}.{name[found.end() :]}"
    if found := _BLOCK.match(name):
        part = "conv" if found[4] == "convolution" else "bn"
        place = f"layer{int(found[1]) + 1}.{found[2]}.{part}{int(found[3]) + 1}"
        return f"{place}.{name[found.end() :]}"
    return _OLD_DENSE.sub(r"\1\2.", _DENSE.sub(r"\1.", name))


def read_weights(source: str, *, download: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Parameters
    ----------
    source : str
        A file, a folder with ``model.safetensors``, or a name on the Hugging Face hub.
    download : bool
        Whether a model that is not on this machine may be fetched from the hub.

    Returns
    -------
    dict of str to Tensor
        As they are named in the file.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it cannot be read.
    """
    from safetensors.torch import load_file

    return _readable(source, download, load_file)


def normalisation_of(source: str, *, download: bool = False) -> tuple[list[float], list[float]]:
    """Return mean and spread of grey values in [0, 1] that weights in a file were learned with.

    A ``preprocessor_config.json`` beside the file decides. Weights of TorchXRayVision [1]_ are
    known by their 18 findings: they read one channel, from -1024 to 1024.

    Returns
    -------
    tuple of two lists of float
        ImageNet's where nothing says more.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it cannot be read.

    References
    ----------
    .. [1] Cohen et al., "TorchXRayVision: a library of chest X-ray datasets and models", MIDL
       2022. https://doi.org/10.48550/arXiv.2111.00595
    """
    beside = Path(source).parent if Path(source).is_file() else source
    if not read_preprocessor(str(beside), download=download):
        shapes = _readable(source, download, _shapes)
        if _are_of_xrayvision(shapes):
            return [0.5], [1.0 / 2048.0]
    return read_normalisation(str(beside), download=download)


def _are_of_xrayvision(shapes: Mapping[str, list[int]]) -> bool:
    """Return whether weights by name and shape are a grey DenseNet or ResNet of 18 findings."""
    by_name = {canonical_name(name): shape for name, shape in shapes.items()}
    first = by_name.get("conv0.weight") or by_name.get("conv1.weight") or []
    last = by_name.get("classifier.weight") or by_name.get("fc.weight") or []
    return first[1:2] == [1] and ("op_threshs" in by_name or last[:1] == [18])


def _shapes(path: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118


def _readable(source: str, download: bool, read: Callable[[Path], dict[str, T]]) -> dict[str, T]:
    """Return what `read` finds in the file of safetensors."""
    path = Path(source)
    if path.is_dir():
        path = path / _FILE
    if not path.is_file() and path.suffix != ".safetensors" and not Path(source).is_dir():
        path = Path(_fetched(source, download=download))
    try:
        return read(path)
    except Exception as error:  # whatever is wrong with it, the answer is one error
        msg = (
            f"weights: expected a readable safetensors file, or a folder with {_FILE}, got one "
            f"that is missing or damaged ({type(error).__name__})."
        )
        raise ConfigurationError(msg) from None


def _fetched(source: str, *, download: bool) -> str:
    from transformers.utils import cached_file

    def load(*, local_files_only: bool) -> Any:
        return cached_file(source, _FILE, local_files_only=local_files_only)

    return str(find_pretrained(load, source, download=download, needs=_FILE))


def load_weights(network: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Fill a network with weights that were learned for it, or for its 2-D sister.

    The first convolution of a network for colours is summed for one that reads grey, and
    filters of 2-D networks are repeated along Z and divided by their number [1]_: a volume
    of equal slices then gives what its slice gave.

    Parameters
    ----------
    network : nn.Module
        The network to fill, in place.
    found : mapping of str to Tensor
        Weights by name; names of transformers, MONAI and common collections are understood,
        and what is left over (a classifier) is not read.

    Raises
    ------
    ConfigurationError
        If a weight is missing or has another shape.

    References
    ----------
    .. [1] Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017.
       https://doi.org/10.1109/CVPR.2017.502
    """
    by_name = {canonical_name(name): tensor for name, tensor in found.items()}
    own = network.state_dict()
    filled: dict[str, Tensor] = {}
    for name, target in own.items():
        given = by_name.get(canonical_name(name))
        fitted = None if given is None else _fitted(given, target)
        if fitted is not None:
            filled[name] = fitted
    lacking = [n for n in own if n not in filled and not n.endswith("num_batches_tracked")]
    if lacking:
        msg = (
            f"weights: expected a tensor for each of the {len(own)} of this network, got a file "
            f"in which {len(lacking)} are missing or of another shape. Name the backbone that the "
            "weights were learned with."
        )
        raise ConfigurationError(msg)
    network.load_state_dict(own | filled)


def _fitted(given: Tensor, target: Tensor) -> Tensor | None:
    """Return a tensor in the shape of `target`, or None if that cannot be."""
    given = given.to(target.dtype)
    if given.dim() == 4 and target.dim() == 5:
        depth = target.shape[2]
        given = given.unsqueeze(2).expand(-1, -1, depth, -1, -1) / depth
    if given.dim() >= 4 and given.dim() == target.dim() and target.shape[1] == 1:
        given = given.sum(dim=1, keepdim=True) if given.shape[1] == 3 else given
    return torch.clone(given) if given.shape == target.shape else None
