"""Tabular backbones: one token per row, and masks that say what TabNet looked at."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from asfusion.extend._promises import check_export
from asfusion.nn.ft_transformer import FTTransformerBackbone
from asfusion.nn.network import Backbone
from asfusion.nn.number_embeddings import NumberEmbedding
from asfusion.nn.tabm import TabMBackbone
from asfusion.nn.tabular import MLPBackbone, TabNetBackbone
from asfusion.nn.tabular_resnet import TabularResNetBackbone

N, F = 6, 5
KINDS = {
    "mlp": MLPBackbone,
    "tabnet": TabNetBackbone,
    "ft_transformer": FTTransformerBackbone,
    "tabm": TabMBackbone,
    "resnet": TabularResNetBackbone,
}
NAMES = [*KINDS, "mlp piecewise_linear", "ft_transformer piecewise_linear", "tabm periodic"]
# Feature 2 has one bin only, and feature 3 is not a number.
BINS = {0: [-1.0, 0.0, 2.0], 1: [-2.0, -1.0, 0.0, 1.0], 2: [0.0, 1.0], 4: [-0.5, 0.0, 0.5]}


def _inputs(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.randn(N, F, generator=generator, dtype=torch.float64).to(dtype)}


def _make(name: str, **parameters: Any) -> Backbone:
    torch.manual_seed(0)
    name, _, embedding = name.partition(" ")
    if embedding:
        width = 8 if name == "ft_transformer" else 3
        parameters["numbers"] = NumberEmbedding(F, BINS, kind=embedding, d_embedding=width)  # type: ignore[arg-type]
    elif name not in ("mlp", "tabnet"):
        parameters = {"dropout": 0.0} | parameters
    return KINDS[name](F, d_hidden=8, **parameters)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_token_per_row(name: str) -> None:
    backbone = _make(name)
    tokens = backbone(_inputs())
    assert tokens.values.shape == (N, 1, backbone.d_out) == (N, 1, 8)
    assert tokens.mask.all()


def test_a_row_is_the_same_alone_and_among_many(name: str) -> None:
    backbone, inputs = _make(name).eval(), _inputs()
    among = backbone(inputs).values
    for row in range(N):
        alone = backbone({"x": inputs["x"][row : row + 1]}).values
        torch.testing.assert_close(alone, among[row : row + 1], rtol=1e-4, atol=1e-4)


def test_every_weight_learns_from_every_feature(name: str) -> None:
    backbone, inputs = _make(name), _inputs()
    x = inputs["x"].requires_grad_()
    values = backbone({"x": x}).values
    (values * torch.arange(8.0)).square().sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (x.grad.abs().sum(dim=0) > 0).all()
    still = [k for k, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_inputs_take_the_type_of_the_weights(name: str) -> None:
    backbone = _make(name).eval()
    expected = backbone(_inputs(dtype=torch.float64)).values
    assert expected.dtype == torch.float32
    values = backbone.double()(_inputs()).values
    assert values.dtype == torch.float64
    torch.testing.assert_close(values.float(), expected, rtol=1e-4, atol=1e-4)


def test_weights_are_stored_and_loaded(name: str) -> None:
    backbone = _make(name)
    backbone(_inputs())  # moves batch statistics, which are stored, too
    torch.manual_seed(1)
    other = _make(name)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    inputs = _inputs(seed=1)
    assert not torch.equal(other.eval()(inputs).values, backbone.eval()(inputs).values)
    other.load_state_dict(backbone.state_dict(), strict=True)
    torch.testing.assert_close(other(inputs).values, backbone(inputs).values, rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "tabnet"])
def test_dropout_is_in_training_only(name: str) -> None:
    backbone, inputs = _make(name, dropout=0.5), _inputs()
    assert not torch.equal(backbone(inputs).values, backbone(inputs).values)
    backbone.eval()
    assert torch.equal(backbone(inputs).values, backbone(inputs).values)
    assert backbone.auxiliary_loss() is None


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_mlp_has_the_blocks_asked_for(n_layers: int) -> None:
    backbone = MLPBackbone(F, d_hidden=8, n_layers=n_layers)
    assert len(backbone.blocks) == n_layers
    assert backbone(_inputs()).values.shape == (N, 1, 8)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_tabnet_masks_share_out_attention(n_steps: int) -> None:
    backbone = TabNetBackbone(F, d_hidden=8, n_steps=n_steps).eval()
    masks = backbone.feature_masks(_inputs())
    assert masks.shape == (n_steps, N, F)
    assert (masks >= 0).all()
    torch.testing.assert_close(masks.sum(dim=2), torch.ones(n_steps, N))


def test_tabnet_masks_are_those_that_its_own_explanation_uses() -> None:
    backbone = _make("tabnet").eval()
    for _ in range(3):
        backbone.train()(_inputs())
    _, masks = backbone.eval().steps.forward_masks(_inputs()["x"])
    ours = backbone.feature_masks(_inputs())
    for step, mask in masks.items():
        torch.testing.assert_close(ours[step], mask)


def test_tabnet_asks_for_sparse_masks_while_it_trains() -> None:
    inputs = _inputs()
    losses = []
    for sparsity in (1.0, 0.5):
        backbone = _make("tabnet", sparsity=sparsity)
        assert backbone.auxiliary_loss() is None
        backbone(inputs)
        loss = backbone.auxiliary_loss()
        assert loss is not None and loss.requires_grad
        losses.append(loss.item())
        backbone.eval()(inputs)
        assert backbone.auxiliary_loss() is None
    # An entropy: positive, and in proportion to its weight.
    assert losses[0] > 0
    assert losses[1] == pytest.approx(losses[0] / 2)


def test_a_tabnet_that_has_learned_can_be_copied() -> None:
    backbone = _make("tabnet")
    backbone(_inputs())
    assert copy.deepcopy(backbone.eval()).auxiliary_loss() is None


def test_tabnet_loss_is_the_entropy_of_its_masks() -> None:
    backbone, inputs = _make("tabnet", sparsity=1.0), _inputs()
    backbone(inputs)
    loss = backbone.auxiliary_loss()
    masks = backbone.feature_masks(inputs)  # still in training: the same batch statistics
    entropy = -(masks * torch.log(masks + backbone.steps.epsilon)).sum(dim=2).mean()
    torch.testing.assert_close(loss, entropy)


def test_training_on_the_sparsity_loss_makes_masks_sparser() -> None:
    backbone, inputs = _make("tabnet", sparsity=1.0), _inputs()
    optimizer = torch.optim.Adam(backbone.parameters(), lr=0.02)
    losses = []
    for _ in range(20):
        backbone(inputs)
        loss = backbone.auxiliary_loss()
        assert loss is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


# ------------------------------------------------------------------ export


def test_networks_are_exported_for_any_number_of_rows(name: str) -> None:
    check_export(_make(name).eval(), lambda n: ({"x": _inputs(seed=2)["x"][:n]},))


# ------------------------------------------------------------------ number embeddings


def test_a_number_of_one_bin_passes_as_it_is() -> None:
    embed = NumberEmbedding(F, BINS, d_embedding=3)
    x = _inputs()["x"]
    embedded, others = embed(x)
    assert embedded.shape == (N, 3, 3)
    torch.testing.assert_close(others, x[:, [2, 3]])
    assert embed.flat(x).shape == (N, sum(embed.widths)) == (N, 3 * 3 + 2)
    assert NumberEmbedding(F, BINS, kind="periodic", d_embedding=3)(x)[0].shape == (N, 4, 3)


def test_a_table_without_numbers_has_nothing_to_embed() -> None:
    embed = NumberEmbedding(F, {}, d_embedding=8)
    x = _inputs()["x"]
    torch.testing.assert_close(embed.flat(x), x)
    backbone = FTTransformerBackbone(F, d_hidden=8, numbers=embed).eval()
    assert backbone(_inputs()).values.shape == (N, 1, 8)


def test_piecewise_linear_embeddings_bend_at_the_edges_only() -> None:
    torch.manual_seed(0)
    embed = NumberEmbedding(1, {0: [-1.0, 0.0, 2.0]}, d_embedding=3)
    for parameter in embed.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.linspace(-0.9, 1.9, 57).unsqueeze(1)  # steps of 0.05
    bends = embed.flat(x).diff(n=2, dim=0).abs().amax(dim=1) > 1e-4
    assert bends.nonzero().flatten().tolist() == [17]  # at -0.9 + 18 * 0.05 = 0


# ------------------------------------------------------------------ the other networks


def test_transformer_compresses_the_keys_of_a_wide_table() -> None:
    narrow = FTTransformerBackbone(64, d_hidden=8)
    wide = FTTransformerBackbone(600, d_hidden=8)
    assert not [name for name, _ in narrow.named_parameters() if "shorten" in name]
    shapes = {p.shape for name, p in wide.named_parameters() if "shorten" in name}
    assert shapes == {(64, 601)}
    assert wide({"x": torch.zeros(2, 600)}).values.shape == (2, 1, 8)


def test_transformer_does_not_mind_the_order_of_its_tokens() -> None:
    """Features are told apart by their embeddings, which move with them."""
    backbone, inputs = _make("ft_transformer").eval(), _inputs()
    expected = backbone(inputs).values
    assert isinstance(backbone, FTTransformerBackbone) and backbone.linear is not None
    order = torch.tensor([3, 1, 4, 0, 2])
    for parameter in backbone.linear.parameters():
        parameter.data = parameter.data[order]
    moved = backbone({"x": inputs["x"][:, order]}).values
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)


def test_members_of_tabm_differ_and_their_mean_is_the_token() -> None:
    backbone, inputs = _make("tabm", n_members=5).eval(), _inputs()
    assert isinstance(backbone, TabMBackbone)
    members = backbone.members(inputs)
    assert members.shape == (N, 5, 8)
    assert (members.std(dim=1) > 0).any(dim=1).all()
    torch.testing.assert_close(backbone(inputs).values[:, 0], members.mean(dim=1))
