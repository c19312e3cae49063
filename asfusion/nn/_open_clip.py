"""Image towers in the layout of open_clip, renamed to what `transformers` calls their parts.

A folder has ``open_clip_config.json`` and ``open_clip_model.safetensors``. Two kinds of tower
are read: the vision transformers of timm (BiomedCLIP) and open_clip's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from torch import Tensor

from asfusion.exceptions import ConfigurationError
from asfusion.nn._hub import find_file, named, read_json

CONFIG: Final = "open_clip_config.json"
WEIGHTS: Final = "open_clip_model.safetensors"
# Width, layers and heads of timm's vision transformers.
_TIMM: Final = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12),
                "large": (1024, 24, 16)}  # fmt: skip
_TIMM_NAME: Final = re.compile(r"vit_(tiny|small|base|large)_patch(\d+)_(\d+)")
_D_HEAD, _MLP_RATIO = 64, 4.0  # of open_clip's own towers, unless they say otherwise


class _Names(NamedTuple):
    """What parts are called before and after; the three projections are stacked before."""

    before: str
    blocks: str
    packed: str
    after: str
    layers: str
    split: tuple[str, str, str]
    parts: Mapping[str, str]
    whole: Mapping[str, str]


_OF_TIMM: Final = _Names(
    before="visual.trunk.",
    blocks="blocks.",
    packed="attn.qkv.",
    after="",
    layers="encoder.layer.",
    split=("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    parts={
        "norm1": "layernorm_before", "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense", "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    },
    whole={
        "cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm",
    },
)  # fmt: skip
_OF_OPEN_CLIP: Final = _Names(
    before="visual.",
    blocks="transformer.resblocks.",
    packed="attn.in_proj_",
    after="vision_model.",
    layers="encoder.layers.",
    split=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    parts={
        "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    },
    whole={
        "class_embedding": "embeddings.class_embedding",
        "positional_embedding": "embeddings.position_embedding.weight",
        "conv1": "embeddings.patch_embedding", "ln_pre": "pre_layrnorm",
        "ln_post": "post_layernorm",
    },
)  # fmt: skip


class Tower(NamedTuple):
    """An image tower as `transformers` describes it.

    Parameters
    ----------
    model : dict
        Its configuration.
    mean, std : list of float
        What it expects of grey values in [0, 1]; empty where the folder does not say.
    """

    model: dict[str, Any]
    mean: list[float]
    std: list[float]


def read_tower(source: str, *, download: bool) -> Tower | None:
    """Return the image tower of a model in this layout; None if `source` is no such model.

    Raises
    ------
    ConfigurationError
        If the tower is of a kind that is not read.
    """
    try:
        found = read_json(source, CONFIG, download=download)
    except ConfigurationError:  # the hub cannot be asked, which others have told
        return None
    if not isinstance(found, dict):
        return None
    model, seen = found.get("model_cfg") or {}, found.get("preprocess_cfg") or {}
    vision = model.get("vision_cfg") or {}
    size = vision.get("image_size")
    if "timm_model_name" in vision:
        config = _timm_config(str(vision["timm_model_name"]), vision)
    elif isinstance(vision.get("layers"), int) and isinstance(vision.get("width"), int):
        config = _own_config(vision, quick=bool(model.get("quick_gelu")))
    else:
        config = None
    if config is None or not isinstance(size, int):
        msg = (
            f"{named(source)}: expected an image tower of open_clip that is a vision transformer, "
            "its own or timm's vit_tiny, vit_small, vit_base or vit_large, got another."
        )
        raise ConfigurationError(msg)
    mean, std = list(seen.get("mean") or []), list(seen.get("std") or [])
    return Tower({**config, "image_size": size, "num_channels": 3}, mean, std)


def _timm_config(name: str, vision: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the configuration of a vision transformer of timm, by its name."""
    found = _TIMM_NAME.fullmatch(name)
    if not found or vision.get("timm_pool") not in ("", "token", None):
        return None
    width, layers, heads = _TIMM[found[1]]
    return {
        "model_type": "vit",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "patch_size": int(found[2]),
        "layer_norm_eps": 1e-6,  # `transformers` would take 1e-12
    }


def _own_config(vision: Mapping[str, Any], *, quick: bool) -> dict[str, Any]:
    """Return the configuration of a vision transformer of open_clip itself."""
    width = int(vision["width"])
    return {
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "num_hidden_layers": int(vision["layers"]),
        "num_attention_heads": width // int(vision.get("head_width", _D_HEAD)),
        "intermediate_size": int(width * float(vision.get("mlp_ratio", _MLP_RATIO))),
        "patch_size": int(vision.get("patch_size", 16)),
        "hidden_act": "quick_gelu" if quick else "gelu",
    }


def read_tower_weights(source: str, *, download: bool) -> dict[str, Tensor]:
    """Return the weights of the image tower as models on the hub call them.

    Raises
    ------
    ConfigurationError
        If there is no readable safetensors file.
    """
    from safetensors import safe_open

    path = find_file(source, WEIGHTS, download=download)
    try:
        with safe_open(str(path), framework="pt") as file:
            names = [name for name in file.keys() if name.startswith("visual.")]  # noqa: SIM118
            found = {name: file.get_tensor(name) for name in names}
    except Exception as error:  # whatever is wrong with it, the answer is one error
        msg = (
            f"{named(source)}: expected a readable {WEIGHTS} beside {CONFIG}, got none "
            f"({type(error).__name__}). Weights in a .bin file are not read, as that can run code: "
            "the page 'Medical weights' of the documentation says how to convert them."
        )
        raise ConfigurationError(msg) from None
    renamed: dict[str, Tensor] = {}
    for name, tensor in found.items():
        names_of = _OF_TIMM if name.startswith(_OF_TIMM.before) else _OF_OPEN_CLIP
        renamed |= _renamed(name.removeprefix(names_of.before), tensor, names_of)
    return renamed


def _renamed(name: str, tensor: Tensor, names: _Names) -> dict[str, Tensor]:
    """Return a tensor by the name (or three names) that it has on the hub; none if unused."""
    if not name.startswith(names.blocks):
        new = _looked_up(name, names.whole)
        return {} if new is None else {names.after + new: tensor}
    number, _, part = name.removeprefix(names.blocks).partition(".")
    layer = f"{names.after}{names.layers}{number}."
    if part.startswith(names.packed):
        kind = part.removeprefix(names.packed)
        thirds = zip(names.split, tensor.chunk(3), strict=True)
        return {f"{layer}{new}.{kind}": third.clone() for new, third in thirds}
    new = _looked_up(part, names.parts)
    return {} if new is None else {layer + new: tensor}


def _looked_up(name: str, names: Mapping[str, str]) -> str | None:
    """Return the new name of a tensor, or of a module whose ``weight`` or ``bias`` it is."""
    if name in names:
        return names[name]
    stem, _, kind = name.rpartition(".")
    return f"{names[stem]}.{kind}" if stem in names else None
