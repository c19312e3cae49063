"""What a pretrained image network is and expects, from the JSON files beside its weights."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from asfusion.exceptions import ConfigurationError
from asfusion.nn import _open_clip
from asfusion.nn._hub import find_pretrained, named, read_json

ARCHITECTURES: Final = (
    "clip", "convnext", "convnextv2", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit",
    "efficientnet", "mobilenet_v2", "resnet", "siglip", "swin", "swinv2", "vit", "vit_mae",
)  # fmt: skip
"""Types of models whose weights are read, as their ``config.json`` names them; tested one by one.

Of ``clip`` and ``siglip`` the image tower is taken, whether it comes alone or not.
"""

# The first of a network's positions says what it saw, because it was trained to.
_SUMMARY_FIRST = ("dinov2", "dinov2_with_registers", "dinov3_vit")
TOWERS: Final = ("clip_vision_model", "siglip_vision_model")
# What a masked autoencoder shares with the vision transformer that it trains.
_OF_VIT = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "layer_norm_eps",
    "image_size", "patch_size", "num_channels", "qkv_bias",
)  # fmt: skip
# Entries of a configuration that say where it came from or what labels meant there.
_DROPPED = {
    "_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "id2label", "label2id",
    "transformers_version", "problem_type", "trust_remote_code", "attn_implementation",
    "_attn_implementation", "_attn_implementation_internal",
}  # fmt: skip
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class Source(NamedTuple):
    """A pretrained image network, as far as its files of JSON tell.

    Parameters
    ----------
    model : dict
        Plain JSON values, from which `build_body` makes the same network again.
    layout : {"transformers", "open_clip"}
        How its files are named.
    mean, std : list of float
        Of grey values in [0, 1], as it expects them.
    first : bool
        Whether its first position was trained to say what the whole image shows.
    """

    model: dict[str, Any]
    layout: str
    mean: list[float]
    std: list[float]
    first: bool


def read_source(source: str, *, download: bool, hint: str = "") -> Source:
    """Read what a model in a folder or on the hub is, without its weights.

    Parameters
    ----------
    source : str
        Local folder, or name on the Hugging Face hub.
    download : bool
        Whether to ask the hub for what is not on this machine.
    hint : str
        What to add to the error when nothing has that name.

    Returns
    -------
    Source
        Its configuration, and what it expects of images.

    Raises
    ------
    ConfigurationError
        If there is no model, or not one that reads images alone.
    """
    from transformers import AutoConfig

    def load(*, local_files_only: bool) -> Any:
        return AutoConfig.from_pretrained(
            source, local_files_only=local_files_only, trust_remote_code=False
        )

    try:
        config = find_pretrained(load, source, download=download, needs="config.json", hint=hint)
    except ConfigurationError:
        tower = _open_clip.read_tower(source, download=download)
        if tower is None:
            raise
        mean, std = _usable(_numbers(tower.mean), _numbers(tower.std))
        return Source(tower.model, "open_clip", mean, std, first=tower.model["model_type"] == "vit")
    model = _image_part(config, source)
    mean, std = read_normalisation(source, download=download)
    return Source(model, "transformers", mean, std, first=model["model_type"] in _SUMMARY_FIRST)


def _image_part(config: Any, source: str) -> dict[str, Any]:
    """Return the configuration of what reads images: of a model of pairs its tower."""
    kind = config.model_type
    if kind not in (*ARCHITECTURES, *TOWERS):
        msg = (
            f"{named(source)}: expected a network that reads images alone, got the model type "
            f"{kind!r}. Types that are read: {', '.join(ARCHITECTURES)}."
        )
        raise ConfigurationError(msg)
    if kind in ("clip", "siglip"):
        config = config.vision_config
    plain = plain_config(config)
    if kind == "vit_mae":  # by itself it would hide three quarters of every image
        return {"model_type": "vit", **{k: plain[k] for k in _OF_VIT if k in plain}}
    return plain


def plain_config(config: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON values, without where it came from."""
    plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in plain.items() if key not in _DROPPED}


def read_normalisation(source: str, *, download: bool = False) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of grey values in [0, 1] that the model expects.

    Taken from the preprocessor file beside the weights; ImageNet's where there is none.
    """
    found = read_preprocessor(source, download=download)
    if found.get("do_normalize") is False:
        mean, std = [0.0], [1.0]
    else:
        mean, std = _usable(_numbers(found.get("image_mean")), _numbers(found.get("image_std")))
    factor = found.get("rescale_factor", 1 / 255) if found.get("do_rescale", True) else 1.0
    # Grey values of 0 to 255 times the factor are what the two are about.
    scale = 255.0 * factor if isinstance(factor, int | float) and factor > 0 else 1.0
    return [value / scale for value in mean], [value / scale for value in std]


def read_preprocessor(source: str, *, download: bool = False) -> dict[str, Any]:
    """Return what a model says of the images it expects; empty where it says nothing."""
    found = read_json(source, "preprocessor_config.json", download=download)
    if not isinstance(found, dict) or not found:
        whole = read_json(source, "processor_config.json", download=download)
        found = whole.get("image_processor") if isinstance(whole, dict) else None
    return found if isinstance(found, dict) else {}


def _usable(mean: list[float], std: list[float]) -> tuple[list[float], list[float]]:
    """Return two lists that fit each other, or ImageNet's."""
    if mean and len(mean) == len(std) and min(std) > 0:
        return mean, std
    return list(IMAGENET_MEAN), list(IMAGENET_STD)


def _numbers(values: Any) -> list[float]:
    """Return a list of numbers as floats; empty for anything else."""
    if isinstance(values, list) and all(isinstance(value, int | float) for value in values):
        return [float(value) for value in values]
    return []
