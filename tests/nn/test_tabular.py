"""Tabular backbones: one token per row, and masks that say what TabNet looked at."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asfusion.nn.network import Backbone
from asfusion.nn.tabular import MLPBackbone, TabNetBackbone

N, F = 6, 5


def _inputs(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.randn(N, F, generator=generator, dtype=torch.float64).to(dtype)}


def _make(name: str, **parameters: float) -> Backbone:
    torch.manual_seed(0)
    if name == "mlp":
        return MLPBackbone(F, d_hidden=8, **parameters)  # type: ignore[arg-type]
    return TabNetBackbone(F, d_hidden=8, **parameters)  # type: ignore[arg-type]


@pytest.fixture(params=["mlp", "tabnet"])
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
    other = MLPBackbone(F, d_hidden=8) if name == "mlp" else TabNetBackbone(F, d_hidden=8)
    inputs = _inputs(seed=1)
    assert not torch.equal(other.eval()(inputs).values, backbone.eval()(inputs).values)
    other.load_state_dict(backbone.state_dict(), strict=True)
    torch.testing.assert_close(other(inputs).values, backbone(inputs).values, rtol=0, atol=0)


def test_mlp_drops_out_in_training_only() -> None:
    backbone, inputs = _make("mlp", dropout=0.5), _inputs()
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
