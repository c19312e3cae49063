"""Volume backbones: 3-D networks, slices with attention, and weights of others."""

from __future__ import annotations

import builtins
import copy
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError, MissingDependencyError
from asfusion.extend._promises import check_export
from asfusion.nn import _monai
from asfusion.nn._norms import is_batch_norm, resolve_norm, use_group_norm
from asfusion.nn._weights import canonical_name, load_weights, read_weights
from asfusion.nn.image import build_image_backbone, describe_image_backbone
from asfusion.nn.network import EncoderNetwork
from asfusion.nn.volume import (
    CompactCNN3d,
    GatedAttentionPool,
    SliceBackbone,
    VolumeBackbone,
    build_volume_backbone,
    describe_volume_backbone,
)

TINY_RESNET = {"family": "resnet", "block": "bottleneck", "layers": [1, 1, 1, 1],
               "widths": [4, 8, 8, 8]}  # fmt: skip
TINY_DENSENET = {"family": "densenet", "init_features": 8, "growth_rate": 4,
                 "block_config": [1, 1, 1, 1]}  # fmt: skip
TINY = {"compact_3d": None, "resnet": TINY_RESNET, "densenet": TINY_DENSENET}
MASK = torch.tensor([[True, True], [True, False], [False, True]])


@pytest.fixture(scope="module", autouse=True)
def monai() -> Any:
    """Import MONAI once: it takes seconds."""
    return pytest.importorskip("monai.networks.nets")


def voxels(n: int = 3, s: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, s, 16, 32, 32), dtype=torch.uint8, generator=generator)


def build(name: str, n_sequences: int = 2, **options: Any) -> VolumeBackbone:
    torch.manual_seed(0)
    plan = describe_volume_backbone("compact_3d", n_sequences=n_sequences)
    if TINY[name] is not None:
        plan |= {"kind": f"{name}_3d", "model": TINY[name]}
    return build_volume_backbone(plan, **options)


every_network = pytest.mark.parametrize("name", TINY)


@every_network
def test_contract(name: str) -> None:
    backbone = build(name).eval()
    inputs = {"voxels": voxels(), "mask": MASK}
    with torch.no_grad():
        tokens = backbone(inputs)
        alone = backbone({k: v[1:2] for k, v in inputs.items()})
        backbone.pool = False
        positions = backbone(inputs)
    assert tokens.values.shape == (3, 2, backbone.d_out)
    assert torch.equal(tokens.mask, MASK)
    scale = float(tokens.values.abs().max())
    assert torch.allclose(alone.values[0], tokens.values[1], atol=1e-5 * scale)
    n_positions = positions.values.shape[1] // 2
    assert torch.equal(positions.mask[:, ::n_positions], MASK)
    mean = positions.values.unflatten(1, (2, -1)).mean(dim=2)
    assert torch.allclose(mean, tokens.values, atol=1e-5 * scale)


@every_network
def test_gradient_reaches_every_weight(name: str) -> None:
    backbone = build(name).train()
    tokens = backbone({"voxels": voxels(), "mask": MASK})
    (tokens.clean_values() * torch.randn_like(tokens.values)).sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


@every_network
def test_absent_sequences_move_no_statistics(name: str) -> None:
    left, right = build(name).train(), build(name).train()
    given = voxels()
    left({"voxels": given, "mask": MASK})
    right({"voxels": torch.where(MASK[..., None, None, None], given, 255), "mask": MASK})
    for (key, a), b in zip(left.state_dict().items(), right.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@every_network
def test_exports(name: str) -> None:
    network = EncoderNetwork(build(name), d_out=4).eval()
    given, mask = voxels(7, seed=1), MASK.repeat(3, 1)
    check_export(network, lambda n: ({"voxels": given[:n], "mask": mask[:n]},))


@pytest.mark.parametrize("name", ["resnet18_3d", "resnet50_3d", "resnet101_3d", "densenet121_3d"])
def test_named_architectures_are_those_of_the_papers(name: str) -> None:
    """Counted without memory for the weights, on the meta device."""
    with torch.device("meta"):
        backbone = build_volume_backbone(describe_volume_backbone(name))
    n = sum(p.numel() for p in backbone.body.parameters()) / 1e6
    assert backbone.d_out == {"resnet18_3d": 512, "densenet121_3d": 1024}.get(name, 2048)
    published = {"resnet18_3d": 33.2, "resnet50_3d": 46.2, "resnet101_3d": 85.2,
                 "densenet121_3d": 11.2}  # fmt: skip
    assert n == pytest.approx(published[name], rel=0.02)


def test_unknown_backbones_and_a_missing_package_are_named(monkeypatch: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"backbone: expected one of .*compact_3d"):
        describe_volume_backbone("resnet18")
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("monai"):
            raise ModuleNotFoundError(name="monai")
        return real(name, *args, **kwargs)

    import importlib

    def import_module(name: str) -> Any:
        return without(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(MissingDependencyError, match=r"asfusion\[monai\]"):
        build("resnet")


# -- norms -----------------------------------------------------------------------------


def test_group_norm_makes_volumes_independent_of_their_batch() -> None:
    plan = describe_volume_backbone("compact_3d", n_sequences=2, norm="group")
    backbone = build_volume_backbone(plan).train()
    assert not any(map(is_batch_norm, backbone.modules()))
    inputs = {"voxels": voxels(), "mask": torch.ones(3, 2, dtype=torch.bool)}
    together = backbone(inputs).values
    alone = backbone({k: v[:1] for k, v in inputs.items()}).values
    assert torch.allclose(together[:1], alone, atol=1e-5)


def test_statistics_that_are_held_do_not_move_while_weights_learn() -> None:
    network = EncoderNetwork(build("compact_3d"), d_out=4, hold_statistics=True).train()
    before = copy.deepcopy(network.state_dict())
    network({"voxels": voxels(), "mask": MASK}).pool().sum().backward()
    for name, value in network.state_dict().items():
        if "running" in name:
            assert torch.equal(value, before[name]), name
    assert all(p.grad is not None for p in network.backbone.body.parameters())


def test_what_norms_are_possible_depends_on_the_weights() -> None:
    assert resolve_norm("auto", pretrained=True) == "frozen"
    assert resolve_norm("auto", pretrained=False) == "batch"
    with pytest.raises(ConfigurationError, match="expected 'frozen' or 'batch' with pretrained"):
        resolve_norm("group", pretrained=True)
    with pytest.raises(ConfigurationError, match="expected 'batch' or 'group' for a network"):
        resolve_norm("frozen", pretrained=False)


# -- weights of others -----------------------------------------------------------------


def flat_resnet(channels: int = 3) -> nn.Module:
    torch.manual_seed(1)
    net = _monai.build_body(TINY_RESNET, dims=2, channels=channels).eval()
    for module in net.modules():  # statistics as if it had been trained
        if is_batch_norm(module):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return net


def test_inflated_networks_see_in_equal_slices_what_their_sister_saw(tmp_path: Any) -> None:
    flat = flat_resnet()
    save_file({f"module.{k}": v for k, v in flat.state_dict().items()}, tmp_path / "w.safetensors")
    deep = build("resnet", weights=str(tmp_path / "w.safetensors")).body.eval()
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        grey = flat(image.expand(-1, 3, -1, -1))
        # Long enough that the black beyond the ends does not reach the middle.
        maps = deep(image.unsqueeze(2).expand(-1, -1, 129, -1, -1))
        middle = maps[:, :, maps.shape[2] // 2]
    assert torch.allclose(middle, grey, atol=1e-4 * float(grey.abs().max()) + 1e-5)


def test_the_first_convolution_is_summed_for_grey() -> None:
    colour, grey = flat_resnet(3), flat_resnet(1)
    load_weights(grey, colour.state_dict())
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(grey(image), colour(image.expand(-1, 3, -1, -1)), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_safetensors_file_fills_a_named_architecture(tmp_path: Any, channels: int) -> None:
    """As transformers names its tensors, and as others do."""
    torch.manual_seed(3)
    plan = describe_image_backbone("resnet18", size=32, channels=3)
    learned = build_image_backbone(plan).body.eval()
    theirs = {canonical_name(k): v for k, v in learned.state_dict().items()}
    assert {"conv1.weight", "layer4.1.bn2.running_var", "layer2.0.downsample.0.weight"} <= set(
        theirs
    )
    save_file({**theirs, "fc.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    plan = describe_image_backbone("resnet18", size=32, channels=channels, weights=str(tmp_path))
    body = build_image_backbone(plan, weights=str(tmp_path)).body.eval()
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        expected = learned(image.expand(-1, 3, -1, -1))
        assert torch.allclose(body(image.expand(-1, channels, -1, -1)), expected, atol=1e-4)


def test_dense_names_of_all_packages_are_one() -> None:
    names = [
        "features.denseblock1.denselayer2.norm.1.weight",
        "features.denseblock1.denselayer2.norm1.weight",
        "stages.stage1.denseblock1.denselayer2.layers.norm1.weight",
    ]
    assert {canonical_name(name) for name in names} == {"denseblock1.denselayer2.norm1.weight"}


def test_wrong_weights_are_refused(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a readable safetensors file"):
        read_weights(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigurationError, match=r"missing or damaged"):
        read_weights(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"backbone='nobody/nothing': expected a known"):
        read_weights("nobody/nothing")
    with pytest.raises(ConfigurationError, match=r"are missing or of another shape"):
        load_weights(flat_resnet(), {"conv1.weight": torch.zeros(2, 2, 2, 2)})
    with pytest.raises(ConfigurationError, match=r"weights: expected None with backbone"):
        describe_image_backbone("efficientnet_lite0", weights="w.safetensors")


# -- slices ----------------------------------------------------------------------------


def slices() -> tuple[SliceBackbone, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    images = build_image_backbone(describe_image_backbone("compact", size=32))
    mask = torch.ones(3, 2, 5, dtype=torch.bool)
    mask[0, 0, 3:] = False
    mask[1, 1] = False
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 2, 5, 32, 32), dtype=torch.uint8, generator=generator)
    return SliceBackbone(images), {"voxels": pixels, "mask": mask}


def test_slices_become_tokens_and_absent_ones_do_not_count() -> None:
    backbone, inputs = slices()
    tokens = backbone.eval()(inputs)
    assert tokens.values.shape == (3, 10, 128)
    assert torch.equal(tokens.mask, inputs["mask"].flatten(1))
    pool = GatedAttentionPool(128, n_sequences=2, n_slices=5)
    weights = pool.weights(tokens)
    assert torch.allclose(weights.sum(dim=2), inputs["mask"].any(dim=2).float(), atol=1e-6)
    assert not weights[~inputs["mask"]].any()
    pooled = pool(tokens)
    assert pooled.mask.tolist() == [[True, True], [True, False], [True, True]]
    poisoned = tokens.values.detach().masked_fill(~tokens.mask[..., None], float("nan"))
    poisoned.requires_grad_()
    again = pool(Tokens(poisoned, tokens.mask))
    assert torch.equal(again.clean_values(), pooled.clean_values())
    again.clean_values().sum().backward()
    assert torch.isfinite(poisoned.grad).all()


def test_attention_reads_short_rows_and_ignores_the_order_of_slices() -> None:
    backbone, inputs = slices()
    tokens = backbone.eval()(inputs)
    pool = GatedAttentionPool(128, n_sequences=2, n_slices=5)
    cut = Tokens(tokens.values[1:2, :5], tokens.mask[1:2, :5])  # the second sequence is absent
    assert torch.allclose(pool(cut).values, pool(tokens).values[1:2], atol=1e-6)
    backwards = Tokens(tokens.values[2:, :5].flip(1), tokens.mask[2:, :5])
    straight = Tokens(tokens.values[2:, :5], tokens.mask[2:, :5])
    assert torch.allclose(pool(backwards).values, pool(straight).values, atol=1e-6)


def test_attention_finds_the_one_slice_that_matters() -> None:
    """A bag is positive if one of its twelve slices is marked; the bag's label is all it gets."""
    torch.manual_seed(0)
    pool = GatedAttentionPool(8, n_sequences=1, n_slices=12)
    head = nn.Linear(8, 1)
    values = torch.randn(64, 12, 8)
    y = torch.arange(64) % 2
    values[y == 1, 4, 0] += 6.0
    tokens = Tokens(values, torch.ones(64, 12, dtype=torch.bool))
    optimizer = torch.optim.Adam([*pool.parameters(), *head.parameters()], lr=0.01)
    for _ in range(150):
        outputs = head(pool(tokens).values[:, 0])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(outputs, y.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = pool.weights(tokens).detach()[y == 1, 0]
    assert float((weights.argmax(dim=1) == 4).float().mean()) > 0.9
    assert float(weights[:, 4].mean()) > 3 / 12


def test_slices_train_and_export() -> None:
    backbone, inputs = slices()
    pool = GatedAttentionPool(4, n_sequences=2, n_slices=5)
    network = EncoderNetwork(backbone, d_out=4, pooling=pool)
    network.train()(inputs).pool().square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
    many = {k: torch.cat([v] * 4) for k, v in inputs.items()}
    check_export(network.eval(), lambda n: ({k: v[:n] for k, v in many.items()},))


def test_compact_network_and_group_norm_keep_shapes() -> None:
    network = use_group_norm(CompactCNN3d())
    assert network(torch.zeros(1, 1, 16, 64, 64)).shape == (1, 64, 4, 4, 4)
