"""Image backbones: one contract for every name, and what is special about some."""

from __future__ import annotations

import builtins
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError, MissingDependencyError
from asfusion.imaging.augment import RadiographAugment
from asfusion.nn.image import (
    IMAGE_BACKBONES,
    SCRATCH_BACKBONES,
    CompactCNN,
    ImageBackbone,
    build_image_backbone,
    describe_image_backbone,
    is_pretrained,
)
from asfusion.nn.network import EncoderNetwork

SIZE = 64
POSITIONS = {"compact": 16, "vit_tiny": 16}  # the others have (64 / 32) ** 2
TINY: dict[str, dict[str, Any]] = {
    "resnet": {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
    },
    "vit": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "image_size": 64, "patch_size": 16,
    },
}  # fmt: skip


def pixels(n: int = 3, channels: int = 1, size: int = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (n, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def build(
    name: str, *, channels: int = 1, pretrained: bool = False, **options: Any
) -> ImageBackbone:
    if name == "densenet121":
        pytest.importorskip("monai")
    torch.manual_seed(0)
    plan = describe_image_backbone(name, size=SIZE, channels=channels)
    return build_image_backbone(plan, source=name if pretrained else None, **options)


def save_model(folder: Path, kind: str, **config: Any) -> str:
    """Save a tiny untrained model of `transformers` as a folder."""
    from transformers import AutoConfig, AutoModel

    from asfusion.nn._hub import quiet_transformers

    torch.manual_seed(1)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **{**TINY[kind], **config}))
    with quiet_transformers():
        model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("resnet")
    path = save_model(folder, "resnet")
    normal = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (folder / "preprocessor_config.json").write_text(json.dumps(normal))
    return path


# -- every backbone --------------------------------------------------------------------


@pytest.mark.parametrize("name", IMAGE_BACKBONES)
def test_contract(name: str) -> None:
    backbone = build(name, pretrained=is_pretrained(name)).eval()
    images = pixels()
    with torch.no_grad():
        tokens = backbone({"pixels": images})
        alone = backbone({"pixels": images[1:2]})
        backbone.pool = False
        positions = backbone({"pixels": images})
    assert tokens.values.shape == (3, 1, backbone.d_out)
    assert tokens.mask.all()
    assert tokens.values.dtype == torch.float32
    assert torch.isfinite(tokens.values).all()
    scale = float(tokens.values.abs().max())  # untrained networks have any
    assert torch.allclose(alone.values[0], tokens.values[1], atol=1e-5 * scale)
    assert positions.values.shape == (3, POSITIONS.get(name, 4), backbone.d_out)
    assert torch.allclose(positions.pool(), tokens.values[:, 0], atol=1e-5 * scale)
    assert float((tokens.values[0] - tokens.values[1]).abs().max()) > 1e-3 * scale


@pytest.mark.parametrize("name", ["compact", "resnet18", "efficientnet_lite0"])
@pytest.mark.parametrize("mode", ["full", "last_block"])
def test_images_are_moved_while_learning_and_never_in_prediction(name: str, mode: Any) -> None:
    backbone = build(name, augment=RadiographAugment())
    network = EncoderNetwork(backbone, d_out=4, training_mode=mode)
    inputs = {"pixels": pixels()}
    network.train()
    assert not torch.equal(backbone(inputs).values, backbone(inputs).values)
    network.eval()
    assert torch.equal(backbone(inputs).values, backbone(inputs).values)


@pytest.mark.parametrize("name", IMAGE_BACKBONES)
def test_gradient_reaches_every_weight(name: str) -> None:
    backbone = build(name).train()
    values = backbone({"pixels": pixels(4)}).values
    (values * torch.randn_like(values)).sum().backward()
    dead = [n for n, p in backbone.named_parameters() if p.grad is None]
    assert dead == []
    assert all(
        bool(torch.isfinite(p.grad).all()) for p in backbone.parameters() if p.grad is not None
    )


@pytest.mark.parametrize("name", IMAGE_BACKBONES)
def test_rebuilt_from_plain_values(name: str) -> None:
    plan = describe_image_backbone(name, size=SIZE)
    first = build(name).eval()
    again = build_image_backbone(json.loads(json.dumps(plan))).eval()
    again.load_state_dict(first.state_dict(), strict=True)
    with torch.no_grad():
        one, two = first({"pixels": pixels(2)}), again({"pixels": pixels(2)})
    assert torch.equal(one.values, two.values)


@pytest.mark.parametrize("name", ["compact", "resnet18", "vit_tiny", "efficientnet_lite0"])
def test_three_channels(name: str) -> None:
    backbone = build(name, channels=3).eval()
    assert backbone.channels == 3
    with torch.no_grad():
        colour = backbone({"pixels": pixels(2, 3)}).values
        grey = backbone({"pixels": pixels(2)}).values
        repeated = backbone({"pixels": pixels(2).expand(-1, 3, -1, -1)}).values
    assert colour.shape == grey.shape
    assert torch.allclose(grey, repeated, atol=1e-6)


@pytest.mark.parametrize("name", ["compact", "efficientnet_lite0", "resnet18"])
def test_last_block_is_a_part(name: str) -> None:
    backbone = build(name)
    own = {id(p) for p in backbone.parameters()}
    block = {id(p) for p in backbone.last_block().parameters()}
    assert block < own
    assert block


def test_floating_pixels_in_unit_range_are_the_same() -> None:
    backbone = build("compact").eval()
    images = pixels()
    with torch.no_grad():
        whole, unit = (backbone({"pixels": p}).values for p in (images, images / 255.0))
    assert torch.allclose(whole, unit, atol=1e-6)


def test_double_precision() -> None:
    backbone = build("compact").eval().double()
    assert backbone({"pixels": pixels()}).values.dtype == torch.float64


def test_three_channels_for_a_network_that_reads_one() -> None:
    backbone = build("compact").eval()
    with torch.no_grad():
        values = backbone({"pixels": pixels(2).expand(-1, 3, -1, -1)}).values
        assert torch.allclose(values, backbone({"pixels": pixels(2)}).values, atol=1e-5)


def test_sizes_are_those_that_suit_the_network() -> None:
    sizes = {name: describe_image_backbone(name)["size"] for name in ("compact", "resnet18")}
    assert sizes == {"compact": 128, "resnet18": 224}


def test_names() -> None:
    assert not is_pretrained("compact")
    assert is_pretrained("efficientnet_lite0")
    assert is_pretrained("some/folder")
    assert set(SCRATCH_BACKBONES) < set(IMAGE_BACKBONES)


# -- freezing --------------------------------------------------------------------------


def step(network: EncoderNetwork) -> None:
    """Train for three steps on noise."""
    network.train()
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        tokens: Tokens = network({"pixels": pixels(4)})
        (tokens.values * torch.randn_like(tokens.values)).sum().backward()
        optimizer.step()


class Count(nn.Module):
    """Count how often images were augmented."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert self.training
        self.n += 1
        return images


@pytest.mark.parametrize("mode", ["full", "last_block", "frozen"])
def test_what_is_frozen_never_changes(resnet: str, mode: Any) -> None:
    """Statistics of batch normalisation belong to what is frozen."""
    augment = Count()
    backbone = build(resnet, pretrained=True, augment=augment)
    before = copy.deepcopy(backbone.state_dict())
    network = EncoderNetwork(backbone, d_out=4, training_mode=mode)
    step(network)
    block = {f"body.model.encoder.stages.1.{n}" for n in backbone.last_block().state_dict()}
    changed = {n for n, t in backbone.state_dict().items() if not torch.equal(t, before[n])}
    if mode == "full":
        assert changed == set(before)
    else:
        assert changed == (block if mode == "last_block" else set())
    assert augment.n == (0 if mode == "frozen" else 3)
    network.eval()
    network({"pixels": pixels()})
    assert augment.n == (0 if mode == "frozen" else 3)


# -- the compact network ---------------------------------------------------------------


def test_compact_is_compact() -> None:
    n_weights = sum(p.numel() for p in CompactCNN().parameters())
    assert 200_000 < n_weights < 500_000


@pytest.mark.parametrize(("size", "side"), [(64, 4), (100, 7), (128, 8), (224, 14)])
def test_compact_takes_any_size(size: int, side: int) -> None:
    assert CompactCNN()(torch.zeros(1, 1, size, size)).shape == (1, 128, side, side)


def test_compact_learns_where_a_blob_is() -> None:
    """Left or right is lost if positions are not seen; a few steps have to find it."""
    torch.manual_seed(0)
    images = (torch.rand(48, 1, 32, 32) * 60).to(torch.uint8)
    targets = torch.arange(48) % 2
    images[targets == 0, :, 10:18, 4:10] = 220
    images[targets == 1, :, 10:18, 4:10] = 140
    network = nn.Sequential(CompactCNN(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images / 127.5 - 1), targets)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1


# -- EfficientNet-Lite0 ----------------------------------------------------------------


def test_lite0_equals_the_published_network() -> None:
    published = pytest.importorskip("efficientnet_lite_pytorch")
    from asfusion.nn.efficientnet_lite import _read_weights

    reference = published.EfficientNet.from_name("efficientnet-lite0").eval()
    shapes = {name: t.shape for name, t in reference.state_dict().items()}
    weights = {}
    for name, tensor in _read_weights().items():
        shape = shapes[name]
        if len(shape) == 4:  # numbers lie in the file as TensorFlow has them
            tensor = tensor.reshape(*shape[2:], shape[1], shape[0]).permute(3, 2, 0, 1)
        weights[name] = tensor.reshape(shape[::-1]).T if len(shape) == 2 else tensor.reshape(shape)
    reference.load_state_dict(weights)
    plan = describe_image_backbone("efficientnet_lite0", size=224)
    backbone = build_image_backbone(plan, source="efficientnet_lite0").eval()
    images = pixels(1, 3, 224)
    with torch.no_grad():
        expected = reference.extract_features((images.float() - 127.0) / 128.0).mean((2, 3))
        folded = backbone({"pixels": images}).values[:, 0]
    plain = backbone({"pixels": images}).values[:, 0].detach()
    assert torch.allclose(folded, expected, atol=1e-4)
    assert torch.allclose(plain, expected, atol=1e-4)
    assert float(expected.std()) > 0.1


def test_lite0_weights_of_another_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    monkeypatch.setattr(
        "asfusion.nn.efficientnet_lite.check_weights_installed", lambda: tmp_path / "other.pth"
    )
    with pytest.raises(ConfigurationError, match="got a file with other contents"):
        build("efficientnet_lite0", pretrained=True)


def test_lite0_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("efficientnet_lite0"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    import importlib

    monkeypatch.setattr(importlib, "import_module", lambda name: missing(name))
    with pytest.raises(MissingDependencyError, match=r"asfusion\[pretrained\]"):
        describe_image_backbone("efficientnet_lite0")


def test_lite0_rebuilds_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = describe_image_backbone("efficientnet_lite0", size=SIZE)
    monkeypatch.setattr("asfusion.nn.efficientnet_lite.check_weights_installed", None)
    assert build_image_backbone(plan).d_out == 1280


# -- models of transformers ------------------------------------------------------------


def test_folder_brings_its_weights_and_normalisation(resnet: str) -> None:
    from safetensors.torch import load_file

    plan = describe_image_backbone(resnet)
    assert plan["mean"] == [0.1, 0.2, 0.3]
    assert plan["std"] == [0.5, 0.6, 0.7]
    assert plan["size"] == 224
    backbone = build_image_backbone(plan, source=resnet)
    saved = load_file(Path(resnet) / "model.safetensors")
    own = backbone.body.state_dict()
    assert all(torch.equal(own[f"model.{name}"], tensor) for name, tensor in saved.items())
    assert own.keys() == {f"model.{name}" for name in saved}


@pytest.mark.parametrize(
    ("content", "mean"),
    [
        ("{}", [0.485, 0.456, 0.406]),
        ("not json", [0.485, 0.456, 0.406]),
        ('{"do_normalize": false}', [0.0]),
        ('{"image_mean": [0.5], "image_std": [0]}', [0.485, 0.456, 0.406]),
        ('{"image_mean": [0.5], "image_std": [0.2]}', [0.5]),
        ('{"image_mean": [0.5, 0.5], "image_std": [0.2, 0.2]}', [0.5]),
    ],
)
def test_normalisation_file(tmp_path: Path, content: str, mean: list[float]) -> None:
    folder = save_model(tmp_path, "resnet")
    (tmp_path / "preprocessor_config.json").write_text(content)
    assert describe_image_backbone(folder)["mean"] == mean


def test_other_size_than_a_transformer_was_trained_on(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "vit")
    plan = describe_image_backbone(folder, size=96)
    backbone = build_image_backbone(plan, source=folder, pool=False).eval()
    with torch.no_grad():
        assert backbone({"pixels": pixels(1, size=96)}).values.shape == (1, 36, 16)


def test_network_that_reads_grey_refuses_colours(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "resnet", num_channels=1)
    assert describe_image_backbone(folder)["channels"] == 1
    with pytest.raises(ConfigurationError, match="expected channels=1 for a network"):
        describe_image_backbone(folder, channels=3)


def test_misspelt_name_is_quick_and_helps() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'resnet18'") as caught:
        describe_image_backbone("resnet-18")
    assert "download=True" in str(caught.value)


def test_unreachable_download_is_said_in_our_words() -> None:
    with pytest.raises(ConfigurationError, match="could not download config.json"):
        describe_image_backbone("nobody/nothing", download=True)


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a folder with a readable config.json"):
        describe_image_backbone(str(tmp_path))


def test_folder_with_code_of_its_own_is_not_run(tmp_path: Path) -> None:
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ConfigurationError, match="bring their own code, are not loaded"):
        describe_image_backbone(str(tmp_path))


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "resnet")
    plan = describe_image_backbone(folder)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ConfigurationError, match=r"a readable model\.safetensors"):
        build_image_backbone(plan, source=folder)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_model(tmp_path, "resnet")
    weights = load_file(tmp_path / "model.safetensors")
    dropped = [name for name in weights if "stages.1" in name and name.endswith("weight")][:2]
    kept = {name: tensor for name, tensor in weights.items() if name not in dropped}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match="lacks 2 of its tensors"):
        build_image_backbone(describe_image_backbone(folder), source=folder)


def test_text_model_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="reads images alone, got the model type 'bert'"):
        describe_image_backbone(str(tmp_path))
