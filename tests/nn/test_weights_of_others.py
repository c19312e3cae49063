"""Weights as the field publishes them: each architecture in the files of its own package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from asfusion.exceptions import ConfigurationError
from asfusion.nn._hub import quiet_transformers, read_json
from asfusion.nn._image_source import ARCHITECTURES
from asfusion.nn._transformers_image import _start_well
from asfusion.nn._weights import canonical_name, normalisation_of
from asfusion.nn.image import ImageBackbone, build_image_backbone, describe_image_backbone
from asfusion.nn.pretrained_text import (
    TEXT_ARCHITECTURES,
    PretrainedTextBackbone,
    build_text_model,
    load_text_model,
    read_pooling,
    read_text_config,
)

SIZE = 32
_VIT = {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "image_size": SIZE, "patch_size": 8,
}  # fmt: skip
_TEXT = {
    "vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 20,
}  # fmt: skip
_ENDS = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
_PAIR = {"vision_config": _VIT, "text_config": _TEXT | _ENDS, "projection_dim": 4}
_SWIN = {
    "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "image_size": SIZE, "patch_size": 4,
    "window_size": 4,
}  # fmt: skip
_NEXT = {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2}
_MAE = {
    "decoder_hidden_size": 8, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 8,
}  # fmt: skip
Answer = Callable[[Any, torch.Tensor], torch.Tensor]


def _hidden(model: Any, images: torch.Tensor) -> torch.Tensor:
    base = getattr(model, model.base_model_prefix, model)
    hidden: torch.Tensor = base(pixel_values=images).last_hidden_state
    return hidden.flatten(2).transpose(1, 2) if hidden.dim() == 4 else hidden


def _mean(model: Any, images: torch.Tensor) -> torch.Tensor:
    return _hidden(model, images).mean(dim=1)


def _mean_behind(n: int) -> Answer:
    return lambda model, images: _hidden(model, images)[:, n:].mean(dim=1)


def _pooled(model: Any, images: torch.Tensor) -> torch.Tensor:
    tower = getattr(model, "vision_model", model)
    vector: torch.Tensor = tower(pixel_values=images).pooler_output
    return vector


def _unmasked(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Return what a masked autoencoder sees where nothing is hidden, in order."""
    model.vit.config.mask_ratio = 0.0
    noise = torch.arange(16.0).expand(len(images), -1)
    hidden: torch.Tensor = model.vit(pixel_values=images, noise=noise).last_hidden_state
    return hidden[:, 1:].mean(dim=1)


_POSITIONS = {"resnet": 16, "swin": 16, "swinv2": 16, "efficientnet": 1, "mobilenet_v2": 1}
# type: class that writes the files, configuration, a name in the file, vector of an image
IMAGES: dict[str, tuple[str, dict[str, Any], str, Answer]] = {
    "clip": ("CLIPModel", _PAIR, "vision_model.encoder.layers.0.self_attn.q_proj.bias", _pooled),
    "clip_vision_model": (
        "CLIPVisionModelWithProjection", _VIT, "vision_model.pre_layrnorm.bias", _pooled,
    ),
    "convnext": ("ConvNextForImageClassification", _NEXT, "classifier.bias", _mean),
    "convnextv2": ("ConvNextV2Model", _NEXT, "encoder.stages.1.layers.0.grn.bias", _mean),
    "deit": (
        "DeiTForImageClassification", _VIT, "deit.embeddings.distillation_token", _mean_behind(2),
    ),
    "dinov2": (
        "Dinov2Model", _VIT, "encoder.layer.0.attention.attention.query.bias", _pooled,
    ),
    "dinov2_with_registers": (
        "Dinov2WithRegistersModel", _VIT, "embeddings.register_tokens", _pooled,
    ),
    "dinov3_vit": ("DINOv3ViTModel", _VIT, "layer.0.attention.q_proj.bias", _pooled),
    "efficientnet": (
        "EfficientNetForImageClassification",
        {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128, "image_size": SIZE},
        "classifier.bias", _mean,
    ),
    "mobilenet_v2": (
        "MobileNetV2ForImageClassification",
        {"depth_multiplier": 0.1, "finegrained_output": False, "image_size": SIZE},
        "classifier.bias", _mean,
    ),
    "resnet": (
        "ResNetForImageClassification",
        {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"},
        "classifier.1.bias", _mean,
    ),
    "siglip": ("SiglipModel", _PAIR, "vision_model.head.probe", _pooled),
    "siglip_vision_model": ("SiglipVisionModel", _VIT, "head.probe", _pooled),
    "swin": ("SwinForImageClassification", _SWIN, "classifier.bias", _mean),
    "swinv2": ("Swinv2Model", _SWIN, "layernorm.bias", _mean),
    "vit": ("ViTForImageClassification", _VIT, "vit.embeddings.cls_token", _mean_behind(1)),
    "vit_mae": (
        "ViTMAEForPreTraining", _VIT | _MAE, "vit.encoder.layer.0.attention.attention.query.bias",
        _unmasked,
    ),
}  # fmt: skip


def make(folder: Path, kind: str, network: str, config: dict[str, Any]) -> Any:
    """Write a model of random weights by its own class, and return it."""
    torch.manual_seed(1)
    with quiet_transformers():
        model = getattr(transformers, network)(transformers.AutoConfig.for_model(kind, **config))
        if kind in ("efficientnet", "mobilenet_v2"):
            model.apply(_start_well)  # else nothing of an image is left at their end
        model.save_pretrained(folder)
    return model.eval()


def ask(backbone: ImageBackbone, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return backbone.eval()({"pixels": pixels}).values


def grey(n: int = 2, size: int = SIZE) -> torch.Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))


def test_every_image_architecture_is_tried_here() -> None:
    assert {kind.removesuffix("_vision_model") for kind in IMAGES} == set(ARCHITECTURES)


@pytest.mark.parametrize("kind", IMAGES)
def test_images_are_read_as_the_network_was_trained_to(tmp_path: Path, kind: str) -> None:
    network, config, name, vector = IMAGES[kind]
    model = make(tmp_path, kind, network, config)
    assert name in load_file(tmp_path / "model.safetensors")  # in the layout of the hub
    normal = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(normal))

    plan = describe_image_backbone(str(tmp_path), size=SIZE)
    pooled = build_image_backbone(plan, source=str(tmp_path))
    every = build_image_backbone(plan, source=str(tmp_path), pool=False)
    images = grey().expand(-1, 3, -1, -1)  # one channel is repeated
    mean, std = (torch.tensor(normal[key]).reshape(3, 1, 1) for key in normal)
    with torch.no_grad():
        expected = vector(model, (images - mean) / std)
    how = {"rtol": 1e-3, "atol": 1e-4 * float(expected.std())}
    torch.testing.assert_close(ask(pooled, grey())[:, 0], expected, **how)
    torch.testing.assert_close(ask(pooled, images)[:, 0], expected, **how)
    positions = ask(every, grey())
    assert positions.shape == (2, _POSITIONS.get(kind, 16), expected.shape[1])
    assert 0 < len([*pooled.last_block().parameters()]) < len([*pooled.parameters()])
    assert str(tmp_path) not in json.dumps(plan)
    again = build_image_backbone(json.loads(json.dumps(plan)))
    again.load_state_dict(pooled.state_dict(), strict=True)
    torch.testing.assert_close(ask(again, grey())[:, 0], expected, **how)


@pytest.mark.parametrize("kind", ["clip_vision_model", "siglip_vision_model"])
def test_towers_by_their_older_names(tmp_path: Path, kind: str) -> None:
    """Before version 5, transformers wrote a tower with a prefix before each name."""
    model = make(tmp_path, kind, "CLIPVisionModel" if "clip" in kind[:4] else IMAGES[kind][0], _VIT)
    found = load_file(tmp_path / "model.safetensors")
    older = {f"vision_model.{name.removeprefix('vision_model.')}": t for name, t in found.items()}
    save_file(older, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    plan = describe_image_backbone(str(tmp_path))
    backbone = build_image_backbone(plan, source=str(tmp_path))
    with torch.no_grad():
        expected = _pooled(model, grey().expand(-1, 3, -1, -1))
    torch.testing.assert_close(ask(backbone, grey())[:, 0], expected)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_every_weight_of_a_tower_learns(tmp_path: Path, kind: str) -> None:
    make(tmp_path, kind, *IMAGES[kind][:2])
    plan = describe_image_backbone(str(tmp_path))
    for pool in (True, False):
        backbone = build_image_backbone(plan, source=str(tmp_path), pool=pool)
        backbone({"pixels": grey()}).values.square().sum().backward()
        still = [n for n, p in backbone.named_parameters() if p.grad is None]
        assert still == []


def test_vit_and_mae_of_another_size(tmp_path: Path) -> None:
    make(tmp_path, "vit_mae", *IMAGES["vit_mae"][:2])
    plan = describe_image_backbone(str(tmp_path), size=48)
    backbone = build_image_backbone(plan, source=str(tmp_path), pool=False)
    assert ask(backbone, grey(1, 48)).shape == (1, 36, 8)


@pytest.mark.parametrize("config", [{"model_type": "detr"}, {"model_type": "bert"}])
def test_other_networks_are_refused_by_name(tmp_path: Path, config: dict[str, str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    match = f"got the model type '{config['model_type']}'. Types that are read: clip, convnext"
    with pytest.raises(ConfigurationError, match=match):
        describe_image_backbone(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "black", "white"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, -1.0, 1.0),
        ({"image_mean": [127.5] * 3, "image_std": [127.5] * 3, "do_rescale": False}, -1.0, 1.0),
        ({"image_mean": [1.0], "image_std": [1.0], "rescale_factor": 2 / 255}, -1.0, 1.0),
        ({"do_normalize": False, "do_rescale": False}, 0.0, 255.0),
        ({"do_normalize": False, "rescale_factor": "a"}, 0.0, 1.0),
    ],
)
def test_pixels_arrive_as_the_preprocessor_says(
    tmp_path: Path, content: dict[str, Any], black: float, white: float
) -> None:
    make(tmp_path, "resnet", *IMAGES["resnet"][:2])
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    plan = describe_image_backbone(str(tmp_path))
    ends = [(value - plan["mean"][0]) / plan["std"][0] for value in (0.0, 1.0)]
    assert ends == pytest.approx([black, white])


# -- the layout of open_clip ---------------------------------------------------------------


class _Block(nn.Module):
    """A layer of timm's vision transformer, written down from its description."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, width = x.shape
        packed = self.attn["qkv"](self.norm1(x)).reshape(rows, length, 3, self.heads, -1)
        attended = functional.scaled_dot_product_attention(*packed.permute(2, 0, 3, 1, 4))
        x = x + self.attn["proj"](attended.transpose(1, 2).reshape(rows, length, width))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class _Trunk(nn.Module):
    """Timm's ``vit_tiny``, of which the first position says what the image shows."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 192))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, 192))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 192, 16, stride=16)})
        self.blocks = nn.ModuleList(_Block(192, 3) for _ in range(12))
        self.norm = nn.LayerNorm(192, eps=1e-6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]  # type: ignore[no-any-return]


class _Own(nn.Module):
    """A tower of open_clip itself, written down from its description."""

    def __init__(self, width: int = 16, heads: int = 2, layers: int = 2) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(5, width))
        self.conv1 = nn.Conv2d(3, width, 16, stride=16, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = [
            nn.ModuleDict(
                {
                    "ln_1": nn.LayerNorm(width),
                    "attn": nn.MultiheadAttention(width, heads, batch_first=True),
                    "ln_2": nn.LayerNorm(width),
                    "mlp": nn.ModuleDict(
                        {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
                    ),
                }
            )
            for _ in range(layers)
        ]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.proj = nn.Parameter(torch.randn(width, 4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        for block in self.transformer["resblocks"]:  # type: ignore[union-attr]
            seen = block["ln_1"](x)
            x = x + block["attn"](seen, seen, seen, need_weights=False)[0]
            x = x + block["mlp"]["c_proj"](functional.gelu(block["mlp"]["c_fc"](block["ln_2"](x))))
        return self.ln_post(x[:, 0])  # type: ignore[no-any-return]


_TIMM_TOWER = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear"}
_OWN_TOWER = {"layers": 2, "width": 16, "head_width": 8, "patch_size": 16}


def _write_open_clip(
    folder: Path, tower: dict[str, Any], weights: dict[str, torch.Tensor] | None
) -> None:
    mean_std = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    model = {"embed_dim": 4, "vision_cfg": tower | {"image_size": SIZE}, "text_cfg": {}}
    content = {"model_cfg": model, "preprocess_cfg": mean_std}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    if weights is not None:
        save_file(weights, folder / "open_clip_model.safetensors")


@pytest.mark.parametrize("own", [False, True])
def test_towers_of_open_clip(tmp_path: Path, own: bool) -> None:
    torch.manual_seed(2)
    reference = (_Own() if own else _Trunk()).eval()
    prefix = "visual." if own else "visual.trunk."
    weights = {prefix + name: tensor for name, tensor in reference.state_dict().items()}
    others = {"visual.head.proj.weight": torch.ones(4, 4), "text.x": torch.ones(2)}
    _write_open_clip(tmp_path, _OWN_TOWER if own else _TIMM_TOWER, weights | others)
    plan = describe_image_backbone(str(tmp_path))
    assert (plan["size"], plan["mean"], plan["std"]) == (SIZE, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
    backbone = build_image_backbone(plan, source=str(tmp_path))
    mean, std = (torch.tensor(plan[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = reference((grey().expand(-1, 3, -1, -1) - mean) / std)
    torch.testing.assert_close(ask(backbone, grey())[:, 0], expected, atol=1e-4, rtol=1e-4)
    again = build_image_backbone(json.loads(json.dumps(plan)))
    again.load_state_dict(backbone.state_dict(), strict=True)
    positions = build_image_backbone(plan, source=str(tmp_path), pool=False)
    assert ask(positions, grey()).shape == (2, 4, 16 if own else 192)


def test_open_clip_weights_with_gaps_or_as_pickle_are_refused(tmp_path: Path) -> None:
    _write_open_clip(tmp_path, _OWN_TOWER, None)
    torch.save({}, tmp_path / "open_clip_pytorch_model.bin")
    plan = describe_image_backbone(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"open_clip_model\.safetensors .* how to convert"):
        build_image_backbone(plan, source=str(tmp_path))
    weights = {f"visual.{name}": tensor for name, tensor in _Own().state_dict().items()}
    del weights["visual.ln_pre.bias"], weights["visual.transformer.resblocks.1.attn.in_proj_bias"]
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ConfigurationError, match="lacks 4 of its tensors"):
        build_image_backbone(plan, source=str(tmp_path))


@pytest.mark.parametrize(
    "tower",
    [
        {"timm_model_name": "swin_base_patch4_window7_224"},
        _TIMM_TOWER | {"timm_pool": "avg"},
        {"layers": [3, 4, 6, 3], "width": 64},
        {},
    ],
)
def test_other_towers_of_open_clip_are_refused(tmp_path: Path, tower: dict[str, Any]) -> None:
    _write_open_clip(tmp_path, tower, None)
    with pytest.raises(ConfigurationError, match="open_clip that is a vision transformer"):
        describe_image_backbone(str(tmp_path))


# -- TorchXRayVision ----------------------------------------------------------------------


def test_densenets_of_torchxrayvision(tmp_path: Path) -> None:
    pytest.importorskip("monai")
    torch.manual_seed(4)
    plan = describe_image_backbone("densenet121", size=SIZE)
    learned = build_image_backbone(plan).body.eval()
    theirs = {f"features.{canonical_name(k)}": v for k, v in learned.state_dict().items()}
    assert theirs["features.conv0.weight"].shape == (64, 1, 7, 7)
    assert "features.denseblock4.denselayer16.conv2.weight" in theirs
    file = tmp_path / "xrv.safetensors"
    save_file(theirs | {"classifier.weight": torch.zeros(18, 1024)}, file)
    plan = describe_image_backbone("densenet121", size=SIZE, weights=str(file))
    backbone = build_image_backbone(plan, weights=str(file))
    with torch.no_grad():
        expected = learned((2 * grey() - 1) * 1024).mean(dim=(2, 3))
    torch.testing.assert_close(ask(backbone, grey())[:, 0], expected)


def test_what_weights_expect_is_read_beside_them(tmp_path: Path) -> None:
    conv = {"features.conv0.weight": torch.zeros(4, 1, 7, 7)}
    file = tmp_path / "model.safetensors"
    save_file(conv | {"op_threshs": torch.zeros(18)}, file)
    assert normalisation_of(str(file)) == normalisation_of(str(tmp_path)) == ([0.5], [1 / 2048])
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.3], "image_std": [0.1]}')
    assert normalisation_of(str(file)) == normalisation_of(str(tmp_path)) == ([0.3], [0.1])
    (tmp_path / "preprocessor_config.json").unlink()
    resnet = {"model.conv1.weight": torch.zeros(4, 1, 7, 7), "model.fc.weight": torch.zeros(18, 4)}
    save_file(resnet, file)
    assert normalisation_of(str(file)) == ([0.5], [1 / 2048])
    for other in (conv, {"conv0.weight": torch.zeros(4)}, {"op_threshs": torch.zeros(18)}):
        save_file(other, file)
        assert normalisation_of(str(file))[0] == [0.485, 0.456, 0.406]
    assert describe_image_backbone("resnet18", weights=str(file))["mean"] == pytest.approx(
        [0.449], abs=1e-3
    )


def test_the_hub_is_asked_for_what_belongs_to_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never fetched would be taken for what is not there."""
    asked: list[bool] = []

    def cached_file(source: str, name: str, *, local_files_only: bool, **_: Any) -> None:
        asked.append(local_files_only)

    monkeypatch.setattr(transformers.utils, "cached_file", cached_file)
    assert read_json("some/model", "preprocessor_config.json", download=True) is None
    assert read_json("some/model", "preprocessor_config.json") is None
    assert asked == [True, False, True]


# -- text ---------------------------------------------------------------------------------

_DISTIL = {"vocab_size": 40, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
TEXTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "albert": ("AlbertForMaskedLM", _TEXT | {"embedding_size": 8}, "albert.embeddings."),
    "bert": ("BertForPreTraining", _TEXT, "bert.encoder.layer.0.attention.self.query."),
    "clip": ("CLIPModel", _PAIR, "text_model.encoder.layers.0.self_attn.q_proj."),
    "clip_text_model": ("CLIPTextModelWithProjection", _TEXT | _ENDS, "text_model.final_layer"),
    "deberta": ("DebertaForMaskedLM", _TEXT, "deberta.encoder.layer.0."),
    "deberta-v2": ("DebertaV2ForMaskedLM", _TEXT, "deberta.encoder.layer.0."),
    "distilbert": ("DistilBertForMaskedLM", _DISTIL, "distilbert.transformer.layer.0."),
    "electra": ("ElectraForPreTraining", _TEXT | {"embedding_size": 8}, "electra.encoder."),
    "modernbert": (
        "ModernBertForMaskedLM", _TEXT | _ENDS | {"cls_token_id": 2, "sep_token_id": 3},
        "model.layers.0.attn.Wqkv.",
    ),
    "mpnet": ("MPNetForMaskedLM", _TEXT, "mpnet.encoder.layer.0."),
    "roberta": ("RobertaForMaskedLM", _TEXT, "roberta.encoder.layer.0."),
    "xlm-roberta": ("XLMRobertaForMaskedLM", _TEXT, "roberta.encoder.layer.0."),
}  # fmt: skip


def test_every_text_architecture_is_tried_here() -> None:
    assert {kind.removesuffix("_text_model") for kind in TEXTS} == set(TEXT_ARCHITECTURES)


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_are_read_by_the_weights_of_the_file(tmp_path: Path, kind: str) -> None:
    network, config, name = TEXTS[kind]
    model = make(tmp_path, kind, network, config)
    assert any(key.startswith(name) for key in load_file(tmp_path / "model.safetensors"))
    ids = torch.tensor([[2, 17, 9, 11, 3]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    base = getattr(model, "text_model", getattr(model, model.base_model_prefix, model))
    loaded = load_text_model(str(tmp_path)).eval()
    pooling = read_pooling(str(tmp_path)).pooling
    backbone = PretrainedTextBackbone(loaded, pooling=pooling)
    with torch.no_grad():
        hidden = base(input_ids=ids, attention_mask=mask.to(torch.int64)).last_hidden_state
        found = backbone({"ids": ids, "mask": mask}).values[:, 0]
    expected = hidden[:, -1] if kind.startswith("clip") else hidden.mean(dim=1)
    torch.testing.assert_close(found, expected)
    rebuilt = build_text_model(json.loads(json.dumps(read_text_config(str(tmp_path)))))
    rebuilt.load_state_dict(loaded.state_dict(), strict=True)


@pytest.mark.parametrize("kind", ["siglip", "gpt2"])
def test_what_is_no_text_encoder_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(
        ConfigurationError, match=f"got the model type '{kind}'. Types that are read: albert, bert"
    ):
        read_text_config(str(tmp_path))


# -- sentence encoders -----------------------------------------------------------------------


def write_sentence(
    folder: Path, pooling: dict[str, Any], *, then: tuple[str, ...] = (), longest: int = 9
) -> None:
    """Write what sentence-transformers puts beside a transformer."""
    kinds = ("Transformer", "Pooling", *then)
    modules = [
        {"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{kind}",
         "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    limits = {"max_seq_length": longest, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(limits))


@pytest.mark.parametrize(
    ("pooling", "then", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, (), ("mean", False)),
        ({"pooling_mode_cls_token": True, "include_prompt": True}, ("Normalize",), ("cls", True)),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 8}, (), ("last", False)),
        ({"pooling_mode": "mean", "include_prompt": True}, ("Normalize",), ("mean", True)),
    ],
)
def test_sentence_encoders_say_how_they_pool(
    tmp_path: Path, pooling: dict[str, Any], then: tuple[str, ...], expected: tuple[str, bool]
) -> None:
    write_sentence(tmp_path, pooling, then=then)
    assert read_pooling(str(tmp_path)) == (*expected, 9)


@pytest.mark.parametrize(
    ("pooling", "then", "got"),
    [
        ({"pooling_mode_max_tokens": True}, (), "the pooling max_tokens"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, (),
            "the pooling mean_tokens with cls_token",
        ),
        ({}, (), "the pooling of an unreadable file"),
        ({"pooling_mode": "mean"}, ("Dense",), "the steps Transformer, Pooling, Dense"),
    ],
)  # fmt: skip
def test_other_sentence_encoders_are_refused(
    tmp_path: Path, pooling: dict[str, Any], then: tuple[str, ...], got: str
) -> None:
    write_sentence(tmp_path, pooling, then=then)
    with pytest.raises(ConfigurationError, match=f"got {got}. Name one, such as pooling='mean'"):
        read_pooling(str(tmp_path))


@pytest.mark.parametrize(("step", "path"), [(0, "0_Transformer"), (1, "../elsewhere")])
def test_steps_in_other_folders_are_refused(tmp_path: Path, step: int, path: str) -> None:
    write_sentence(tmp_path, {"pooling_mode": "mean"})
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules[step]["path"] = path
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigurationError, match="got them in other folders"):
        read_pooling(str(tmp_path))
